//! A headless Chromium, told what to do over its DevTools protocol on a pair of pipes.

use std::cell::{Cell, RefCell};
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::process::{WAIT_MAX, poll};

/// Its name where Debian has it.
const PROGRAM: &str = "chromium";

pub(crate) fn is_there() -> bool {
    Command::new(PROGRAM).arg("--version").output().is_ok_and(|found| found.status.success())
}

/// A browser with one page; killed when dropped.
pub(crate) struct Browser {
    child: Child,
    to: RefCell<ChildStdin>,
    from: Receiver<Value>,
    next: Cell<u64>,
    session: RefCell<Option<String>>,
    /// What was said in consoles, with what was thrown and what could not be loaded.
    said: RefCell<Vec<String>>,
    /// Which addresses were asked for.
    asked: RefCell<Vec<String>>,
    _profile: TempDir,
}

impl Browser {
    pub(crate) fn start() -> Browser {
        let profile = tempfile::tempdir().unwrap();
        // It reads from descriptor 3 and writes to 4.
        let mut child = Command::new("sh")
            .args(["-c", "exec \"$@\" 3<&0 4>&1 2>/dev/null", "sh", PROGRAM])
            .args(["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"])
            .args(["--remote-debugging-pipe", "--no-first-run", "--ignore-certificate-errors"])
            .args(["--disable-background-networking", "--disable-component-update"])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .arg("about:blank")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let to = RefCell::new(child.stdin.take().unwrap());
        let mut lines = BufReader::new(child.stdout.take().unwrap());
        let (tx, from) = channel();
        std::thread::spawn(move || {
            let mut message = Vec::new();
            while matches!(lines.read_until(0, &mut message), Ok(1..)) {
                message.pop();
                let Ok(value) = serde_json::from_slice(&message) else { break };
                message.clear();
                if tx.send(value).is_err() {
                    break;
                }
            }
        });
        let browser = Browser {
            child,
            to,
            from,
            next: Cell::new(1),
            session: RefCell::default(),
            said: RefCell::default(),
            asked: RefCell::default(),
            _profile: profile,
        };
        let target = browser.call("Target.createTarget", json!({ "url": "about:blank" }));
        let attach = json!({ "targetId": target["targetId"], "flatten": true });
        let session = browser.call("Target.attachToTarget", attach);
        *browser.session.borrow_mut() = Some(session["sessionId"].as_str().unwrap().to_string());
        for domain in ["Page", "Runtime", "Log", "Network"] {
            browser.call(&format!("{domain}.enable"), json!({}));
        }
        browser
    }

    /// Has the browser do something; what it answers.
    #[track_caller]
    pub(crate) fn call(&self, method: &str, params: Value) -> Value {
        let id = self.next.replace(self.next.get() + 1);
        let mut message = json!({ "id": id, "method": method, "params": params });
        if let Some(session) = &*self.session.borrow() {
            message["sessionId"] = session.as_str().into();
        }
        let mut bytes = serde_json::to_vec(&message).unwrap();
        bytes.push(0);
        self.to.borrow_mut().write_all(&bytes).unwrap();
        loop {
            let answer = self.from.recv_timeout(WAIT_MAX).expect("the browser answers");
            if answer["id"] == id {
                assert!(answer["error"].is_null(), "{method}: {}", answer["error"]);
                return answer["result"].clone();
            }
            self.note(&answer);
        }
    }

    fn note(&self, event: &Value) {
        let params = &event["params"];
        match event["method"].as_str().unwrap_or_default() {
            "Runtime.consoleAPICalled" => self.said.borrow_mut().push(params["args"].to_string()),
            "Runtime.exceptionThrown" => {
                self.said.borrow_mut().push(params["exceptionDetails"].to_string());
            }
            "Log.entryAdded" => self.said.borrow_mut().push(params["entry"].to_string()),
            "Network.requestWillBeSent" => {
                let url = params["request"]["url"].as_str().unwrap_or_default().to_string();
                self.asked.borrow_mut().push(url);
            }
            _ => {}
        }
    }

    pub(crate) fn open(&self, url: &str) {
        self.call("Page.navigate", json!({ "url": url }));
    }

    /// The value of an expression in the page.
    #[track_caller]
    pub(crate) fn value(&self, expression: &str) -> Value {
        let params =
            json!({ "expression": expression, "returnByValue": true, "awaitPromise": true });
        let found = self.call("Runtime.evaluate", params);
        assert!(found["exceptionDetails"].is_null(), "{found:#}");
        found["result"]["value"].clone()
    }

    /// Waits until an expression is true.
    #[track_caller]
    pub(crate) fn wait(&self, expression: &str) {
        let is_so = || self.value(&format!("Boolean({expression})")) == true;
        assert!(poll(is_so), "never: {expression}\n{}", self.value("document.body.innerText"));
    }

    pub(crate) fn is_dark(&self, is_dark: bool) {
        let value = if is_dark { "dark" } else { "light" };
        let feature = json!({ "name": "prefers-color-scheme", "value": value });
        self.call("Emulation.setEmulatedMedia", json!({ "features": [feature] }));
    }

    pub(crate) fn size(&self, width: u32, height: u32) {
        let size = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600 });
        self.call("Emulation.setDeviceMetricsOverride", size);
    }

    /// Keeps a picture of the page where somebody wants to look at it.
    pub(crate) fn picture(&self, name: &str) {
        let Some(folder) = std::env::var_os("LOCKSTEP_PICTURES") else { return };
        let params = json!({ "captureBeyondViewport": true });
        let picture = self.call("Page.captureScreenshot", params);
        let bytes = data_encoding::BASE64.decode(picture["data"].as_str().unwrap().as_bytes());
        let path = std::path::Path::new(&folder).join(format!("{name}.png"));
        std::fs::write(path, bytes.unwrap()).unwrap();
    }

    /// What consoles were told so far.
    pub(crate) fn said(&self) -> Vec<String> {
        self.value("0");
        self.said.borrow().clone()
    }

    /// What was asked for so far.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.value("0");
        self.asked.borrow().clone()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
