//! What the program prints, and where.

use serde_json::Value;

use crate::bad_job::{JOB, small};
use crate::folder::{Folder, edited, parity};
use crate::process::{lockstep, run};

#[test]
fn help_has_examples() {
    let folder = small();
    let help = folder.run(&["--help"]);
    help.expect(0);
    for part in [
        "Examples:\n  lockstep check examples/boston/job.toml\n",
        "Exit codes: 0 done, 1 internal error, 2 wrong arguments, 3 mend the job",
        "local",
        "coordinator",
        "worker",
        "check",
        "evaluate",
        "predict",
        "completions",
    ] {
        assert!(help.stdout.contains(part), "no {part:?} in\n{help}");
    }
    for command in ["local", "coordinator", "worker", "check", "evaluate", "predict", "completions"]
    {
        let help = folder.run(&[command, "--help"]);
        help.expect(0);
        assert!(help.stdout.contains("Example:\n  lockstep "), "{help}");
        assert!(!help.stdout.contains("--child-of"), "{help}");
    }
    let version = folder.run(&["--version"]);
    assert_eq!(version.stdout, format!("lockstep {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn completions_are_there() {
    let folder = small();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = folder.run(&["completions", shell]);
        script.expect(0);
        for word in ["local", "coordinator", "workers-start", "log-format"] {
            assert!(script.stdout.contains(word), "{shell}: no {word} in\n{script}");
        }
        assert_eq!(script.stderr, "", "{shell}");
    }
}

#[test]
fn check_says_what_a_job_would_do() {
    let ended = small().run(&["check", "job.toml", "--workers", "2"]);
    ended.expect(0);
    for part in [
        "job.toml: fine\n",
        "\nnetwork: 2 inputs, loss mse\n",
        "  layer       output  parameters activation\n",
        "  0 dense  [rows, 4]          12 relu\n",
        "  1 dense  [rows, 1]           5 linear\n",
        "                              17 in all\n",
        "\ntrain table: 8 rows, train.csv\n",
        "\ntest table: 2 rows, test.csv\n",
        "\ntraining: 2 epochs of 2 steps, 4 in all; batches of 4 rows\n",
        "  3 shards: up to 2 rows of a batch each, work for at most 3 workers\n",
        "\nwith 2 workers, a step moves for each: 68 B up (1 tree nodes), 68 B down, in f32\n",
    ] {
        assert!(ended.stdout.contains(part), "no {part:?} in\n{ended}");
    }
    assert_eq!(ended.stderr, "");
}

/// The result is all that goes to standard output.
#[test]
fn local_prints_its_result() {
    let folder = small();
    let ended = folder.run(&["local", "job.toml", "--workers", "2", "--out", "run"]);
    ended.expect(0);
    let lines: Vec<&str> = ended.stdout.lines().collect();
    let hash = folder.hash();
    assert_eq!(lines.len(), 4, "{ended}");
    assert!(lines[0].starts_with("small: 2 epochs, 4 steps in "), "{ended}");
    assert!(lines[1].starts_with("test loss ") && lines[1].contains(", test mse "), "{ended}");
    assert_eq!(lines[2..], [format!("weights_blake3 {hash}"), "run folder run".to_string()]);
    for part in [": listening on 127.0.0.1:", "worker 1 joined: ", "epoch 2/2: loss "] {
        assert!(ended.stderr.contains(part), "no {part:?} in\n{ended}");
    }
}

#[test]
fn a_quiet_success_says_nothing() {
    let folder = small();
    for (log_format, out) in [("text", "run"), ("json", "again")] {
        let arguments = [
            "--quiet",
            "--log-format",
            log_format,
            "local",
            "job.toml",
            "--workers",
            "2",
            "--out",
            out,
        ];
        let ended = folder.run(&arguments);
        ended.expect(0);
        assert_eq!((&ended.stdout[..], &ended.stderr[..]), ("", ""));
    }
}

#[test]
fn json_lines_are_json() {
    let folder = small();
    for log_format in [&["--log-format", "json"][..], &[]] {
        let mut command = lockstep(folder.path(), log_format);
        command.args(["local", "job.toml", "--workers", "2", "--out"]);
        command.arg(if log_format.is_empty() { "env" } else { "flag" });
        command.env("LOCKSTEP_LOG_FORMAT", "json");
        let ended = run(command);
        ended.expect(0);
        assert_eq!(ended.stdout, "");
        let reports: Vec<Value> =
            ended.stderr.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let count = |kind: &str| reports.iter().filter(|report| report["event"] == kind).count();
        assert_eq!(count("listening"), 1, "{ended}");
        assert_eq!(count("worker_joined"), 2, "{ended}");
        assert_eq!(count("epoch"), 2, "{ended}");
        assert_eq!(count("finished"), 1, "{ended}");
        assert!(count("progress") >= 1, "{ended}");
        for joined in reports.iter().filter(|report| report["event"] == "worker_joined") {
            let name = format!("process {}", joined["pid"]);
            assert!(reports.iter().any(|report| report["from"] == *name), "{ended}");
        }
    }
}

#[test]
fn an_error_is_json_too() {
    let folder = small();
    folder.write("job.toml", &edited(JOB, "epochs = 2", "epochs = 0"));
    let ended = folder.run(&["--log-format", "json", "check", "job.toml"]);
    ended.expect(3);
    let report: Value = serde_json::from_str(&ended.stderr).unwrap();
    assert_eq!((report["event"].as_str(), report["exit_code"].as_i64()), (Some("error"), Some(3)));
    assert!(report["message"].as_str().unwrap().starts_with("job.toml:19:10: "), "{ended}");
}

#[test]
fn no_color_where_none_is_wanted() {
    let folder = small();
    for arguments in [
        &["--help"][..],
        &["check", "job.toml"],
        &["local", "job.toml", "--out", "run"],
        &["local", "--nonsense"],
    ] {
        let mut command = lockstep(folder.path(), arguments);
        command.env("NO_COLOR", "1").env("TERM", "xterm-256color");
        let ended = run(command);
        assert!(!ended.stdout.contains('\x1b') && !ended.stderr.contains('\x1b'), "{ended}");
    }
}

/// Without `--out` the folder is `runs/NAME`, below where the program was started.
#[test]
fn the_run_folder_is_named_after_the_job() {
    let folder = Folder::new(&[]);
    let job = parity("cancer-sigmoid-nesterov-binary").join("job.toml");
    folder.run(&["--quiet", "local", job.to_str().unwrap()]).expect(0);
    folder.read("runs/cancer-sigmoid-nesterov-binary/manifest.json");
}
