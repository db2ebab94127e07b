//! `local --chaos`: whatever happens to the processes, the same model, and nothing left behind.

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::failpoints::SLOW;
use crate::folder::Folder;
use crate::lifecycle::{children_of, kill_cluster, no_children_of};
use crate::process::{Ended, Process, lockstep, run};

const JOB: &str = r#"
name = "disturbed"
[data]
train = "train.csv"
target = "y"
validation = { fraction = 0.2 }
scale = "standard"
[model]
loss = "mse"
metrics = ["mae"]
layers = [{ type = "dense", units = 8, activation = "relu" }, { type = "dense", units = 1 }]
[train]
optimizer = "adam"
epochs = 300
batch_size = 10
"#;

fn folder() -> Folder {
    Folder::with_table(JOB, "boston-relu-adam-mse", 200)
}

/// Runs to the end, not too fast for faults.
pub(crate) fn run_slowly(folder: &Folder, arguments: &[&str]) -> Ended {
    let mut command = lockstep(folder.path(), arguments);
    command.env("FAILPOINTS", SLOW);
    run(command)
}

fn chaos(spec: &str) -> Vec<&str> {
    let fixed = ["--log-format", "json", "local", "job.toml", "--workers", "3", "--out", "run"];
    [&fixed[..], &["--chaos", spec]].concat()
}

/// That a job ends in the bits of its undisturbed run whatever `--chaos` does to it, and verifies.
#[track_caller]
pub(crate) fn changes_nothing(spec: &str, folder_of_job: impl Fn() -> Folder) {
    let wanted = folder_of_job().train(1, 1);
    let folder = folder_of_job();
    let ended = run_slowly(&folder, &chaos(spec));
    ended.expect_with(0, "\"event\":\"chaos\"");
    assert_eq!(folder.hash(), wanted, "{ended}");
    folder.run(&["verify", "run"]).expect(0);
}

/// The counts of faults by kind.
#[track_caller]
fn faults(ended: &Ended) -> [u64; 4] {
    let reports = ended.stderr.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let reports: Vec<Value> = reports.collect();
    let over = reports.iter().find(|report| report["event"] == "chaos_over").unwrap();
    ["kill", "stop", "slow", "coordinator"].map(|kind| {
        let is_such = |report: &&Value| report["event"] == "chaos" && report["fault"] == kind;
        let told = reports.iter().filter(is_such).count() as u64;
        assert_eq!(over["faults"][kind], told, "{ended}");
        told
    })
}

/// That runs with these faults, one for each seed, end well and in the undisturbed run's bits; returns the faults. (Seeds
/// are chosen for faults that come early.)
#[track_caller]
fn disturbed(rates: &str, seeds: &[u32]) -> [u64; 4] {
    disturbed_in(run_slowly, rates, seeds)
}

/// The same in runs of another pace.
#[track_caller]
fn disturbed_in(run: fn(&Folder, &[&str]) -> Ended, rates: &str, seeds: &[u32]) -> [u64; 4] {
    let wanted = folder().train(1, 1);
    let mut all = [0; 4];
    for seed in seeds {
        let folder = folder();
        let ended = run(&folder, &chaos(&format!("{seed}{rates}")));
        ended.expect(0);
        assert!(ended.stdout.contains(&wanted), "{ended}");
        assert_eq!(folder.hash(), wanted, "{ended}");
        let left = children_of(ended.pid);
        assert!(left.is_empty(), "{left:?} are left\n{ended}");
        for (all, here) in all.iter_mut().zip(faults(&ended)) {
            *all += here;
        }
    }
    all
}

#[test]
fn workers_are_killed() {
    let faults = disturbed(",kill=200,stop=0,slow=0,coordinator=0", &[4, 28]);
    assert!(faults[0] > 0 && faults[1..] == [0; 3], "{faults:?}");
}

#[test]
fn workers_are_stopped() {
    let faults = disturbed(",kill=0,stop=120,slow=0,coordinator=0", &[12, 18]);
    assert!(faults[1] > 0 && faults[0] + faults[2] + faults[3] == 0, "{faults:?}");
}

#[test]
fn workers_are_slowed_down() {
    let faults = disturbed(",kill=0,stop=0,slow=60,coordinator=0", &[0, 42]);
    assert!(faults[2] > 0 && faults[0] + faults[1] + faults[3] == 0, "{faults:?}");
}

/// As often as can be: as soon as there is a new checkpoint, so that a slow run would take long to end.
#[test]
fn the_coordinator_is_killed() {
    let faults = disturbed_in(Folder::run, ",kill=0,stop=0,slow=0,coordinator=6000", &[0, 1]);
    assert!(faults[3] > 0 && faults[..3] == [0; 3], "{faults:?}");
}

#[test]
fn everything_happens() {
    let faults = disturbed(",kill=120,stop=90,slow=40,coordinator=120", &[0, 33, 42]);
    assert!(faults.iter().all(|&count| count > 0), "{faults:?}");
}

/// The rates of an option that names none; and no faults at all.
#[test]
fn rates_can_be_left_out_or_be_0() {
    disturbed("", &[1]);
    let faults = disturbed(",kill=0,stop=0,slow=0,coordinator=0", &[1]);
    assert_eq!(faults, [0; 4]);
}

/// A run that was begun, and goes on, with faults.
#[test]
fn a_disturbed_run_is_resumed() {
    let folder = folder();
    let mut command = lockstep(folder.path(), &chaos("1,coordinator=600"));
    command.env("FAILPOINTS", SLOW);
    let launcher = Process::start(command);
    launcher.report("chaos", |fault| fault["fault"] == "coordinator");
    kill_cluster(launcher);
    let ended = folder.run(&[&chaos("2")[..], &["--resume"]].concat());
    ended.expect(0);
    assert_eq!(folder.hash(), self::folder().train(1, 1));
}

#[test]
fn a_signal_in_mid_chaos() {
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGKILL] {
        for kind in ["kill", "stop", "slow", "coordinator"] {
            let folder = folder();
            folder.write("job.toml", &JOB.replace("epochs = 300", "epochs = 100000000"));
            let launcher = folder.start(&chaos("3,kill=200,stop=300,slow=300,coordinator=200"));
            launcher.report("chaos", |fault| fault["fault"] == kind);
            launcher.signal(signal);
            let ended = launcher.end();
            if signal == Signal::SIGKILL {
                no_children_of(ended.pid);
                continue;
            }
            // By a coordinator that was there and said where the run goes on, or by the launcher.
            ended.expect_with(130, "stopped ");
            assert!(children_of(ended.pid).is_empty(), "{signal}, {kind}");
        }
    }
}

/// What is wrong with the job itself is told as ever, and nobody is started again for it.
#[test]
fn a_run_that_diverges() {
    let folder = folder();
    let job = JOB.replace("\"adam\"", "{ type = \"sgd\", learning_rate = 1e30 }");
    folder.write("job.toml", &job);
    let ended = folder.run(&chaos("5"));
    ended.expect_with(4, "is not finite");
    assert!(children_of(ended.pid).is_empty());
    assert_eq!(ended.stderr.matches("\"event\":\"listening\"").count(), 1, "{ended}");
}

#[test]
fn what_cannot_be_asked_for() {
    for (spec, found) in [
        ("x", "found seed \"x\", wanted a whole number"),
        ("7,kill=-1", "found \"kill=-1\", wanted a RATE from 0 to 6000"),
        ("7,foo=1", "found the name \"foo\", wanted one of"),
        ("7,kill=1,kill=2", "found kill twice"),
    ] {
        let folder = folder();
        let before = folder.files();
        let ended = folder.run(&chaos(spec));
        ended.expect_with(2, found);
        ended.expect_with(2, "kill, stop, slow, coordinator");
        assert_eq!(folder.files(), before);
    }
}
