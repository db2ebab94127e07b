//! Exported models against what the program predicts itself: ONNX's own checker, and onnxruntime and tract on whole
//! tables.

#![cfg(test)] // So that clippy knows helpers for test code.

mod cases;
mod formats;
#[path = "../../../tests/end_to_end/tools.rs"]
#[allow(dead_code)] // Other tests need ports.
mod tools;

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use cases::CASES;

/// Farthest that a number may be from the prediction, over its size where that is above 1.
const DIFFERENCE_MAX: f64 = 1e-5;

/// The Python that has onnx, onnxruntime, pandas and tract.
fn python() -> Option<String> {
    let python = std::env::var("LOCKSTEP_PYTHON").unwrap_or_else(|_| "python3".to_string());
    let mut import = Command::new(&python);
    import.args(["-c", "import numpy, onnx, onnxruntime, pandas, tract"]);
    let has_all = import.output().is_ok_and(|ended| ended.status.success());
    if !has_all {
        tools::skip("Python with onnx, onnxruntime, pandas and tract (set LOCKSTEP_PYTHON to one)");
    }
    has_all.then_some(python)
}

#[test]
fn onnx_predicts_what_predict_does() {
    let Some(python) = python() else { return };
    let folder = tempfile::tempdir().unwrap();
    for case in CASES {
        case.write(&folder.path().join(case.name));
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/export/compare.py");
    let ended = Command::new(python).arg(script).arg(folder.path()).output().unwrap();
    let errors = String::from_utf8_lossy(&ended.stderr);
    assert!(ended.status.success(), "{errors}");
    let found: Value = serde_json::from_slice(&ended.stdout).unwrap();
    for case in CASES {
        for graph in ["onnxruntime, columns", "onnxruntime, encoded", "tract, encoded"] {
            let found = &found[case.name][graph];
            let number = found["number"].as_f64().unwrap();
            assert!(number <= DIFFERENCE_MAX && found["texts"] == 0, "{}: {found}", case.name);
            // Shown with `--nocapture`: the table of docs/export.md.
            println!("| {} | {graph} | {} | {number:.1e} |", case.name, found["rows"]);
        }
    }
}
