//! What Prometheus is told of a run, judged by its own tools.

use std::io::Write as _;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::status::{endless, get, once, page};
use crate::tools::skip;

#[test]
fn prometheus_takes_the_metrics_and_the_rules() {
    let folder = endless();
    let coordinator = folder.coordinator(&[]);
    let page = page(&coordinator);
    let worker = folder.worker(&coordinator.address(), &["--run-id", "another"]);
    once(&page, |status| status["counts"]["refused"] == 1);
    // Names without a value are not there: one is waited for.
    let _trains = folder.worker(&coordinator.address(), &[]);
    once(&page, |status| {
        let has_lag = status["members"][0]["lag"].is_number();
        has_lag && !status["epochs"].as_array().unwrap().is_empty()
    });
    let metrics = get(&page, "/metrics");
    assert!(metrics.contains("lockstep_refusals_total 1\n"), "{metrics}");
    worker.end();
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let dashboard = std::fs::read_to_string(root.join("deploy/grafana/dashboard.json")).unwrap();
    let dashboard: Value = serde_json::from_str(&dashboard).unwrap();
    let rules = std::fs::read_to_string(root.join("deploy/grafana/alerts.yml")).unwrap();
    // Each name that they ask for is one that there is.
    for text in [dashboard.to_string(), rules] {
        for name in text.split("lockstep_").skip(1) {
            let end =
                name.find(|c: char| !c.is_ascii_lowercase() && c != '_').unwrap_or(name.len());
            let name = format!("# TYPE lockstep_{} ", &name[..end]);
            let is_optional = ["wait_seconds", "learning_rate", "rows_per_second", "left_seconds"];
            let is_optional =
                is_optional.iter().any(|optional| name.contains(&format!("lockstep_{optional} ")));
            assert!(metrics.contains(&name) || is_optional, "no {name} in\n{metrics}");
        }
    }
    if Command::new("promtool").arg("--version").output().is_err() {
        return skip("promtool");
    }
    let mut check = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    check.stdin.take().unwrap().write_all(metrics.as_bytes()).unwrap();
    let checked = check.wait_with_output().unwrap();
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
    let alerts = root.join("deploy/grafana/alerts.yml");
    let checked = Command::new("promtool").args(["check", "rules"]).arg(alerts).output().unwrap();
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
}
