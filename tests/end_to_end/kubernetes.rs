//! The manifests in deploy/kubernetes: that they are what Kubernetes takes, that they say of each exit code what it means,
//! and that a run goes through with their own containers, whatever is evicted.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::faults::{LONG_HASH, long_folder};
use crate::folder::Folder;
use crate::pods::Node;
use crate::process::{Process, poll};
use crate::tools::skip;

/// The oldest version that the manifests are for.
const VERSION: &str = "1.31";

/// The jobs, and the containers in them.
const JOBS: [(&str, &str); 2] =
    [("lockstep-coordinator", "coordinator"), ("lockstep-workers", "worker")];

/// Reads YAML, has every document validated strictly, and writes them as JSON.
const VALIDATE: &str = "
import json, sys, yaml, kubernetes_validate
documents = [d for d in yaml.safe_load_all(sys.stdin) if d]
for document in documents:
    kubernetes_validate.validate(document, sys.argv[1], strict=True)
json.dump(documents, sys.stdout)
";

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/kubernetes")
}

/// What a kustomization comes to, validated; `None`, and why, if the tools for that are missing.
fn rendered(overlay: &Path) -> Option<Vec<Value>> {
    let has_kubectl = Command::new("kubectl").args(["version", "--client"]).output().is_ok();
    if !has_kubectl {
        skip("kubectl 1.22 or newer (kubernetes-client)");
        return None;
    }
    let mut kustomize = Command::new("kubectl");
    let kustomized = kustomize.arg("kustomize").arg(overlay).output().unwrap();
    let said = String::from_utf8_lossy(&kustomized.stderr);
    assert!(kustomized.status.success() && said.is_empty(), "{}: {said}", overlay.display());
    validated(&kustomized.stdout)
}

fn validated(yaml: &[u8]) -> Option<Vec<Value>> {
    let mut validator = Command::new(python());
    let has_validator = validator.args(["-c", "import kubernetes_validate"]).output();
    if !has_validator.is_ok_and(|output| output.status.success()) {
        skip("a Python with kubernetes-validate, from PyPI (set LOCKSTEP_PYTHON to one)");
        return None;
    }
    let mut validator = Command::new(python());
    validator.args(["-c", VALIDATE, VERSION]).stdin(Stdio::piped());
    let mut validator = validator.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    std::io::Write::write_all(&mut validator.stdin.take().unwrap(), yaml).unwrap();
    let output = validator.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(serde_json::from_slice(&output.stdout).unwrap())
}

#[track_caller]
fn resource<'a>(all: &'a [Value], kind: &str, name: &str) -> &'a Value {
    let is_it = |one: &&Value| one["kind"] == kind && one["metadata"]["name"] == name;
    all.iter().find(is_it).unwrap_or_else(|| panic!("no {kind} {name}"))
}

fn pod(job: &Value) -> &Value {
    &job["spec"]["template"]["spec"]
}

/// What a job makes of a container that ended like this: a rule's action, or that it is counted.
fn action(job: &Value, code: i64, is_disrupted: bool) -> &str {
    let rules = job["spec"]["podFailurePolicy"]["rules"].as_array().unwrap();
    let fits = |rule: &&Value| {
        let codes = rule["onExitCodes"]["values"].as_array();
        let has_code = codes.is_some_and(|codes| codes.contains(&code.into()));
        has_code || is_disrupted && rule["onPodConditions"][0]["type"] == "DisruptionTarget"
    };
    rules.iter().find(fits).map_or("Count", |rule| rule["action"].as_str().unwrap())
}

/// The one that has what tests need.
fn python() -> String {
    std::env::var("LOCKSTEP_PYTHON").unwrap_or_else(|_| "python3".to_string())
}

#[test]
fn every_kustomization_is_what_kubernetes_takes() {
    for name in ["base", "overlays/preemptible", "overlays/tables"] {
        let Some(all) = rendered(&folder().join(name)) else { return };
        assert!(all.len() >= 7, "{name}");
        for (job, container) in JOBS {
            let pod = pod(resource(&all, "Job", job));
            assert_eq!(pod["containers"][0]["name"], container, "{name}");
            assert_eq!(pod["securityContext"]["runAsNonRoot"], true, "{name}");
            let context = &pod["containers"][0]["securityContext"];
            assert_eq!(context["readOnlyRootFilesystem"], true, "{name}");
            assert_eq!(context["capabilities"]["drop"][0], "ALL", "{name}");
        }
        let (coordinator, workers) = (
            resource(&all, "Job", "lockstep-coordinator"),
            resource(&all, "Job", "lockstep-workers"),
        );
        // Where a pod finds what it needs, and who may reach whom, follows from these labels.
        for (kind, name, of) in [
            ("Service", "lockstep-coordinator", coordinator),
            ("PodDisruptionBudget", "lockstep-workers", workers),
            ("NetworkPolicy", "lockstep-coordinator", coordinator),
            ("NetworkPolicy", "lockstep-workers", workers),
        ] {
            let spec = &resource(&all, kind, name)["spec"];
            let selector = match kind {
                "Service" => &spec["selector"],
                "NetworkPolicy" => &spec["podSelector"]["matchLabels"],
                _ => &spec["selector"]["matchLabels"],
            };
            assert_eq!(selector, &of["spec"]["template"]["metadata"]["labels"], "{kind} {name}");
        }
    }
    validated(&std::fs::read(folder().join("files.yaml")).unwrap());
}

/// The overlay that docs/deploy.md prints.
#[test]
fn the_printed_overlay_names_image_and_namespace() {
    let text = std::fs::read_to_string(folder().join("../../docs/deploy.md")).unwrap();
    let block = text.split("```yaml\n").nth(1).unwrap().split("   ```").next().unwrap();
    let overlay: Vec<&str> = block.lines().map(str::trim_start).collect();
    let clone = Folder::new(&[]);
    for part in ["deploy/kubernetes/base", "first"] {
        std::fs::create_dir_all(clone.path().join(part)).unwrap();
    }
    for entry in std::fs::read_dir(folder().join("base")).unwrap() {
        let from = entry.unwrap().path();
        let to = clone.path().join("deploy/kubernetes/base").join(from.file_name().unwrap());
        std::fs::copy(from, to).unwrap();
    }
    clone.write("first/kustomization.yaml", &overlay.join("\n"));
    let Some(all) = rendered(&clone.path().join("first")) else { return };
    for (job, _) in JOBS {
        let job = resource(&all, "Job", job);
        assert_eq!(job["metadata"]["namespace"], "first");
        let image = &pod(job)["containers"][0]["image"];
        assert_eq!(image, "registry.example/lockstep:0.1.0");
    }
}

/// As docs/output.md has the exit codes.
#[test]
fn every_exit_code_has_its_consequence() {
    let Some(all) = rendered(&folder().join("base")) else { return };
    let coordinator = resource(&all, "Job", "lockstep-coordinator");
    let workers = resource(&all, "Job", "lockstep-workers");
    for (code, of_coordinator, of_worker) in [
        (1, "FailJob", "Count"),
        (2, "FailJob", "FailJob"),
        (3, "FailJob", "Count"),
        (4, "FailJob", "Count"),
        (5, "Count", "Count"),
        (6, "Count", "FailIndex"),
        (7, "Count", "FailJob"),
        (130, "Ignore", "Ignore"),
        // Killed, for want of memory or by the kernel.
        (137, "Count", "Count"),
    ] {
        assert_eq!(action(coordinator, code, false), of_coordinator, "coordinator, {code}");
        assert_eq!(action(workers, code, false), of_worker, "worker, {code}");
    }
    assert_eq!(action(coordinator, 137, true), "Ignore");
    assert_eq!(action(workers, 137, true), "Ignore");
}

/// The coordinator's pod is killed, then evicted, and a worker's is evicted: with every container as the manifests have it.
#[test]
fn a_run_goes_through_whatever_is_evicted() {
    let Some(all) = rendered(&folder().join("base")) else { return };
    let folder = long_folder();
    let Some(mut node) = Node::new(folder.path(), "lockstep-coordinator") else { return };
    let coordinator = resource(&all, "Job", "lockstep-coordinator");
    let workers = resource(&all, "Job", "lockstep-workers");
    let group = pod(coordinator)["securityContext"]["fsGroup"].as_u64().unwrap() as u32;
    let token = ["token", "secrets", "--new", "--address", "lockstep-coordinator:7070"];
    folder.run(&token).expect_with(0, "made secrets/identity, for the coordinator's --identity");
    let (job, table) = (folder.read("job.toml"), folder.read("train.csv"));
    let job_files = [("job.toml", job.as_bytes()), ("train.csv", table.as_bytes())];
    node.project("lockstep-job", &job_files, group, 0o644);
    for name in ["identity", "join"] {
        let content = folder.read(&format!("secrets/{name}"));
        node.project(&format!("lockstep-{name}"), &[(name, content.as_bytes())], group, 0o400);
    }
    let run = node.claim("lockstep-runs", group).join("run");
    node.claim("emptyDir", group);
    let is_on = |process: &Process| process.report("progress", |at| at["step"].as_u64() > Some(9));

    let first = node.start(pod(coordinator));
    let ready = || node.probe(pod(coordinator), "startupProbe").code() == Some(0);
    assert!(poll(ready));
    node.probe(pod(coordinator), "readinessProbe").expect(0);
    let worker = node.start(pod(workers));
    let evicted = node.start(pod(workers));
    is_on(&first);
    // Its node is gone.
    first.signal(Signal::SIGKILL);
    first.end();
    node.probe(pod(coordinator), "livenessProbe").expect_with(5, "no coordinator answers at");
    let second = node.start(pod(coordinator));
    second.report("note", |note| note["message"].as_str().unwrap().starts_with("continuing after"));
    is_on(&second);
    evicted.signal(Signal::SIGTERM);
    let code = evicted.end().code().unwrap();
    assert_eq!((code, action(workers, code.into(), false)), (130, "Ignore"));
    let replacement = node.start(pod(workers));
    replacement.report("note", |note| note["message"].to_string().contains("joined run"));
    second.signal(Signal::SIGTERM);
    let code = second.end().code().unwrap();
    assert_eq!((code, action(coordinator, code.into(), false)), (130, "Ignore"));
    let third = node.start(pod(coordinator));
    let ended = third.end();
    ended.expect(0);
    assert!(!ended.stderr.contains("others on this machine can read it"), "{ended}");
    for worker in [worker, replacement] {
        worker.end().expect(0);
    }
    let manifest: Value =
        serde_json::from_slice(&std::fs::read(run.join("manifest.json")).unwrap()).unwrap();
    assert_eq!(manifest["weights_blake3"], LONG_HASH);
    // A pod that was scheduled once more finds that there is nothing to do.
    node.start(pod(coordinator)).end().expect_with(0, "the run is already finished");
}
