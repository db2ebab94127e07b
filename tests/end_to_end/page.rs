//! The status page in a real browser: alive, readable, and of no danger.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::browser::{Browser, is_there};
use crate::crews::LONG_STEPS;
use crate::folder::Folder;
use crate::process::{lockstep, run};
use crate::status::{endless, once, page};
use crate::tools::skip;

/// By which a copy of axe-core is found, which finds what people cannot read or reach.
const AXE: &str = "LOCKSTEP_AXE";

/// What axe finds that keeps people out, if it is there.
#[track_caller]
pub(crate) fn expect_accessible(browser: &Browser, what: &str) {
    let Some(path) = std::env::var_os(AXE) else { return skip(AXE) };
    browser.value(&format!("{}; 0", std::fs::read_to_string(path).unwrap()));
    let found = browser.value(
        "axe.run().then((found) => JSON.stringify(found.violations
            .filter((one) => ['serious', 'critical'].includes(one.impact))
            .map((one) => [one.id, one.help, one.nodes.map((node) => node.html).slice(0, 3)])))",
    );
    assert_eq!(found, "[]", "{what}");
}

/// Stops a process most of the time, until it is dropped.
struct Slowed {
    over: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Slowed {
    fn new(pid: u32) -> Slowed {
        let over = Arc::new(AtomicBool::new(false));
        let is_over = over.clone();
        let pid = nix::unistd::Pid::from_raw(pid as i32);
        let thread = std::thread::spawn(move || {
            while !is_over.load(Ordering::Relaxed) {
                for (signal, milliseconds) in [(Signal::SIGSTOP, 45), (Signal::SIGCONT, 5)] {
                    let _ = nix::sys::signal::kill(pid, signal);
                    std::thread::sleep(Duration::from_millis(milliseconds));
                }
            }
        });
        Slowed { over, thread: Some(thread) }
    }
}

impl Drop for Slowed {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap();
    }
}

#[test]
fn a_run_is_watched_with_a_worker_that_is_killed_and_one_that_is_slow() {
    if !is_there() {
        return skip("chromium");
    }
    let folder = endless();
    let coordinator = folder.coordinator_with(LONG_STEPS, &["--workers-start", "4"]);
    let (page, address) = (page(&coordinator), coordinator.address());
    let workers = [(); 4].map(|()| folder.worker(&address, &[]));
    once(&page, |status| status["run"]["state"] == "training");
    let browser = Browser::start();
    browser.size(1200, 900);
    browser.open(&format!("http://{page}/"));
    browser.wait("document.querySelectorAll('#workers tbody tr').length === 4");
    browser.wait("document.querySelector('#loss canvas')");
    // Without a reload it goes on.
    let step = "document.querySelector('#loss .plot').getAttribute('aria-label')";
    let before = browser.value(step);
    assert!(before.as_str().unwrap().contains("Loss by step. each step: "), "{before}");
    browser.wait(&format!("{step} !== {before}"));
    let pid = workers[0].pid();
    workers[0].signal(Signal::SIGKILL);
    browser.wait(&format!(
        "[...document.querySelectorAll('#workers tr')].some((row) => row.innerText.includes('gone') && row.innerText.includes('its process ended or was killed'))
         && ![...document.querySelectorAll('#workers tr')].some((row) => row.cells[10].innerText === '{pid}')"
    ));
    let slow = workers[1].pid();
    let slowed = Slowed::new(slow);
    browser.wait(&format!(
        "[...document.querySelectorAll('#workers tr')].some((row) => row.cells[10].innerText === '{slow}' && ['slow', 'late'].includes(row.cells[2].innerText))"
    ));
    browser.wait("document.querySelector('#strip td.slow, #strip td.open')");
    for (name, is_dark, width) in
        [("light", false, 1200), ("dark", true, 1200), ("phone", false, 390)]
    {
        browser.is_dark(is_dark);
        browser.size(width, 900);
        browser.picture(name);
        expect_accessible(&browser, name);
        let wide = browser.value("document.documentElement.scrollWidth <= innerWidth");
        assert_eq!(wide, true, "{name}: the page is wider than its window");
    }
    drop(slowed);
    // What is plotted can be had as numbers.
    browser.value("document.querySelector('#loss details').open = true; 0");
    browser.wait("document.querySelectorAll('#loss details tbody tr').length > 1");
    assert_eq!(browser.said(), [""; 0]);
    let elsewhere =
        |url: &String| !url.starts_with(&format!("http://{page}/")) && url != "about:blank";
    let asked = browser.asked();
    assert!(asked.len() > 5 && !asked.iter().any(elsewhere), "{asked:?}");
}

/// Names of columns, of the job and of hosts come from elsewhere.
#[test]
fn nothing_that_comes_from_elsewhere_runs_as_script() {
    if !is_there() {
        return skip("chromium");
    }
    let hostile = "<img src=x onerror=alert(1)><script>document.title='taken'</script>";
    let job = r#"
name = "hostile"
seed = 1
[data]
train = "train.csv"
target = "y"
[model]
loss = "mse"
layers = [{ type = "dense", units = 1 }]
[train]
optimizer = "adam"
epochs = 2
batch_size = 4
shards = 2
"#;
    let rows: String = (0..8).map(|row| format!("{row},{row}\n")).collect();
    let folder =
        Folder::new(&[("job.toml", job), ("train.csv", &format!("\"{hostile}\",y\n{rows}"))]);
    run(lockstep(folder.path(), &["--quiet", "local", "job.toml", "--out", "run"])).expect(0);
    // And what a later status may have had written into it.
    let path = "run/status.json";
    let mut status: Value = serde_json::from_str(&folder.read(path)).unwrap();
    for place in ["/run/name", "/run/reason", "/run/host", "/events/0/text", "/events/0/kind"] {
        *status.pointer_mut(place).unwrap() = hostile.into();
    }
    status["members"] =
        serde_json::json!([{ "host": hostile, "state": hostile, "reason": hostile }]);
    status["waits"] = serde_json::json!([{ "what": hostile, "stage": hostile, "remedy": hostile }]);
    folder.write(path, &status.to_string());
    folder.run(&["report", "run"]).expect(0);
    let browser = Browser::start();
    browser.size(1200, 900);
    browser.open(&format!("file://{}/report.html", folder.path().display()));
    browser.wait("document.querySelectorAll('#workers tbody tr').length === 1");
    browser.wait("document.querySelector('#loss canvas')");
    browser.picture("report");
    assert_eq!(browser.value("document.querySelectorAll('img, main script').length"), 0);
    assert_eq!(browser.value("document.title.endsWith('– Lockstep')"), true);
    assert!(browser.value("document.body.innerText").as_str().unwrap().contains(hostile));
    expect_accessible(&browser, "report");
    assert_eq!(browser.said(), [""; 0]);
    assert_eq!(browser.asked().len(), 1, "{:?}", browser.asked());
}

/// The key is in the address that the run folder has, and does not stay there.
#[test]
fn a_page_with_a_key_opens_by_its_whole_address() {
    if !is_there() {
        return skip("chromium");
    }
    let folder = endless();
    let command = ["--log-format", "json", "coordinator", "job.toml", "--out", "run"];
    let listen = ["--listen", "127.0.0.1:0", "--http", "0.0.0.0:0"];
    let coordinator = folder.start(&[&command[..], &listen].concat());
    coordinator.report("listening", |_| true);
    let whole = folder.read("run/http");
    let (address, _) = whole.trim().split_once('#').unwrap();
    let browser = Browser::start();
    browser.open(address);
    browser.wait("document.getElementById('login') && !document.getElementById('login').hidden");
    let text = browser.value("document.body.innerText");
    assert!(!text.as_str().unwrap().contains("faults"), "{text}");
    expect_accessible(&browser, "locked");
    browser.open("about:blank");
    browser.open(whole.trim());
    browser.wait("document.getElementById('name')?.textContent === 'faults'");
    browser.wait("document.getElementById('wait-list').innerText.includes('waiting for workers')");
    assert_eq!(browser.value("location.hash + document.cookie"), "");
    assert_eq!(browser.said(), [""; 0]);
}
