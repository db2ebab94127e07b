//! Steps that are too short to share are made by fewer workers than there are: the others are called spare, not stuck or slow, and
//! take over.

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::process::Process;
use crate::status::{endless, once, page};

/// A failpoint that makes steps so long that all workers are dealt to.
pub(crate) const LONG_STEPS: &str = "pass=sleep(5)";

fn spare(status: &Value) -> Vec<&Value> {
    let members = status["members"].as_array().unwrap().iter();
    members.filter(|member| member["state"] == "spare").collect()
}

fn gone(status: &Value) -> Vec<&str> {
    let gone = status["gone"].as_array().unwrap().iter();
    gone.map(|gone| gone["cause"].as_str().unwrap()).collect()
}

fn step(status: &Value) -> u64 {
    status["position"]["step"].as_u64().unwrap()
}

fn with_pid(workers: &[Process], pid: &Value) -> usize {
    workers.iter().position(|worker| *pid == worker.pid()).unwrap()
}

#[test]
fn spare_workers_are_called_so_and_are_missed_and_take_over_like_others() {
    let folder = endless();
    let coordinator = folder.coordinator(&["--workers-start", "3"]);
    let (page, address) = (page(&coordinator), coordinator.address());
    let workers = [(); 3].map(|()| folder.worker(&address, &[]));
    let status = once(&page, |status| spare(status).len() == 2);
    let said = spare(&status)[0]["reason"].as_str().unwrap();
    assert!(said.starts_with("a step is too short to share"), "{said}");
    // Whoever computes is lost.
    let mut members = status["members"].as_array().unwrap().iter();
    let busy = members.find(|member| member["state"] != "spare").unwrap();
    workers[with_pid(&workers, &busy["pid"])].signal(Signal::SIGKILL);
    let status = once(&page, |status| gone(status) == ["vanished"] && spare(status).len() == 1);
    // Nobody waits for one that is spare and stands still.
    let stopped = with_pid(&workers, &spare(&status)[0]["pid"]);
    workers[stopped].signal(Signal::SIGSTOP);
    let status = once(&page, |status| gone(status) == ["vanished", "silent"]);
    let before = step(&status);
    once(&page, |status| step(status) > before);
    workers[stopped].signal(Signal::SIGCONT);
}

/// Where they are long, nobody is spare.
#[test]
fn longer_steps_are_shared_by_all() {
    let folder = endless();
    let coordinator = folder.coordinator_with(LONG_STEPS, &["--workers-start", "3"]);
    let (page, address) = (page(&coordinator), coordinator.address());
    let _workers = [(); 3].map(|()| folder.worker(&address, &[]));
    for steps in [20, 100] {
        let status = once(&page, |status| step(status) > steps);
        assert!(spare(&status).is_empty(), "{status:#}");
    }
}
