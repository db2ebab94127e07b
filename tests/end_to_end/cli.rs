//! What the program prints, and where.

use serde_json::{Value, json};

use crate::bad_job::{JOB, small};
use crate::folder::{Folder, edited, parity};
use crate::process::{lockstep, run};

#[test]
fn help_has_examples() {
    let folder = small();
    let help = folder.run(&["--help"]);
    help.expect(0);
    for part in [
        "Examples:\n  lockstep init table.csv\n  lockstep check examples/boston/job.toml\n",
        "Exit codes: 0 done, 1 internal error, 2 wrong arguments, 3 fix the job",
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
    for command in [
        "init",
        "launch",
        "slurm",
        "local",
        "coordinator",
        "worker",
        "check",
        "evaluate",
        "predict",
        "import",
        "export",
        "verify",
        "status",
        "runs",
        "report",
        "plot",
        "token",
        "health",
        "completions",
    ] {
        let help = folder.run(&[command, "--help"]);
        help.expect(0);
        let example = help.stdout.split_once("Example").map_or("", |(_, example)| example);
        assert!(example.contains(&format!("lockstep {command} ")), "{help}");
        assert!(!help.stdout.contains("--child-of"), "{help}");
    }
}

/// The short one for programs, the long one for whoever compares two machines.
#[test]
fn the_version_names_what_the_bits_depend_on() {
    let folder = small();
    let name = concat!("lockstep ", env!("CARGO_PKG_VERSION"));
    assert_eq!(folder.run(&["-V"]).stdout, format!("{name}\n"));
    for arguments in [&["--version"][..], &["worker", "--version"]] {
        let version = folder.run(arguments);
        version.expect(0);
        let lines: Vec<&str> = version.stdout.lines().collect();
        // Where the build knows of no commit, there is none.
        let commit = lines[0].split_once(" (").map(|(_, commit)| commit);
        assert!(commit.is_none_or(|commit| commit.len() > 7 && commit.ends_with(')')), "{version}");
        assert!(lines[0].contains(env!("CARGO_PKG_VERSION")), "{version}");
        assert_eq!(lines[1], "numeric profile f32-fma-k256", "{version}");
        assert!(lines[2].starts_with("built for ") && lines[2].contains('-'), "{version}");
    }
}

/// A page for the program and one for each command that the help shows.
#[test]
fn manual_pages_say_what_the_help_says() {
    let folder = small();
    folder.run(&["manual", "man"]).expect(0);
    let page = folder.read("man/lockstep.1");
    assert!(
        page.contains("lockstep\\-coordinator") && !page.contains("lockstep\\-manual"),
        "{page}"
    );
    let page = folder.read("man/lockstep-coordinator.1");
    assert!(page.contains("workers\\-start") && !page.contains("child"), "{page}");
    for command in ["worker", "token", "health", "predict", "completions"] {
        assert!(folder.read(&format!("man/lockstep-{command}.1")).starts_with(".ie"), "{command}");
    }
    assert!(!folder.path().join("man/lockstep-manual.1").exists());
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
        // What the help does not show.
        for hidden in ["child-of", "checkpoint-seconds"] {
            assert!(!script.stdout.contains(hidden), "{shell}: {hidden} in\n{script}");
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
        "  layer       output  parameters  activation\n",
        "  0 dense  [rows, 4]          12  relu\n",
        "  1 dense  [rows, 1]           5  linear\n",
        "                              17  in all\n",
        "\ntrain table: 8 rows, train.csv\n",
        "\ntest table: 2 rows, test.csv\n",
        "\ntraining: 2 epochs of 2 steps, 4 in all; batches of 4 rows\n",
        "  3 shards: up to 2 rows of a batch each, work for at most 3 workers\n",
        "\nwith 2 workers, a step moves for each: 68 B up (1 tree node), 68 B down, in f32\n",
        "  gradients are added up by the coordinator: `cluster.homes` is off\n",
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
    assert_eq!(lines.len(), 6, "{ended}");
    assert!(lines[0].starts_with("small: 2 epochs, 4 steps in "), "{ended}");
    assert_eq!(lines[1].trim_start(), "loss", "{ended}");
    for (line, table) in lines[2..4].iter().zip(["training", "test"]) {
        let (name, loss) = line.split_once("  ").unwrap();
        assert!(name == table && loss.trim().parse::<f64>().is_ok(), "{ended}");
    }
    assert_eq!(lines[4..], [format!("weights_blake3 {hash}"), "run folder run".to_string()]);
    for part in [": listening on 127.0.0.1:", "worker 1 joined: ", "epoch 2/2: loss "] {
        assert!(ended.stderr.contains(part), "no {part:?} in\n{ended}");
    }
}

/// A worker of one thread is one worker of one thread.
#[test]
fn counts_go_with_their_nouns() {
    let folder = small();
    folder.write("job.toml", &edited(JOB, "epochs = 2", "epochs = 1"));
    let arguments = ["local", "job.toml", "--workers", "1", "--threads", "1", "--out", "run"];
    let ended = folder.run(&arguments);
    ended.expect(0);
    assert!(ended.stderr.lines().any(|line| line.ends_with(", 1 thread")), "{ended}");
    assert!(ended.stdout.starts_with("small: 1 epoch, 2 steps in "), "{ended}");
    folder.write("one.csv", "a,b,y\n1,2,3\n");
    let ended = folder.run(&["evaluate", "run", "--data", "one.csv"]);
    assert!(ended.stdout.starts_with("1 row\n"), "{ended}");
    let ended = folder.run(&["predict", "run", "--data", "one.csv", "--output", "p.csv"]);
    ended.expect_with(0, "1 prediction in p.csv");
}

/// What is left of a quiet success is its result.
#[test]
fn quiet_keeps_the_result() {
    let folder = small();
    for (log_format, out) in [("text", "run"), ("json", "again")] {
        let options = ["--quiet", "--log-format", log_format];
        let local = ["local", "job.toml", "--workers", "2", "--out", out];
        let ended = folder.run(&[&options[..], &local].concat());
        ended.expect(0);
        assert_eq!(ended.stderr, "");
        assert!(ended.stdout.contains(&folder.hash()), "{ended}");
        assert_eq!(ended.stdout.lines().count(), if log_format == "text" { 6 } else { 1 });
    }
}

/// Every line that is not for the one who waits for the result has its time.
#[test]
fn lines_have_times() {
    let folder = small();
    let is_time = |text: &str| {
        let form: String = text.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
        form == "0000-00-00T00:00:00.000Z"
    };
    let ended = folder.run(&["local", "job.toml", "--out", "run"]);
    ended.expect(0);
    assert!(ended.stderr.lines().count() >= 4, "{ended}");
    assert!(ended.stderr.lines().all(|line| is_time(line.split(' ').next().unwrap())), "{ended}");
    let ended = folder.run(&["--log-format", "json", "local", "job.toml", "--out", "again"]);
    for line in ended.stderr.lines().chain(ended.stdout.lines()) {
        let report: Value = serde_json::from_str(line).unwrap();
        assert!(is_time(report["time"].as_str().unwrap()), "{line}");
    }
}

#[test]
fn json_lines_are_json() {
    let folder = small();
    for log_format in [&["--log-format", "json"][..], &[]] {
        let mut command = lockstep(folder.path(), log_format);
        command.args(["local", "job.toml", "--workers", "2", "--out"]);
        let out = if log_format.is_empty() { "run" } else { "flag" };
        command.arg(out);
        command.env("LOCKSTEP_LOG_FORMAT", "json");
        let ended = run(command);
        ended.expect(0);
        let reports: Vec<Value> =
            ended.stderr.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let count = |kind: &str| reports.iter().filter(|report| report["event"] == kind).count();
        assert_eq!(count("listening"), 1, "{ended}");
        assert_eq!(count("worker_joined"), 2, "{ended}");
        assert_eq!(count("epoch"), 2, "{ended}");
        assert_eq!(count("finished"), 0, "{ended}");
        assert!(count("progress") >= 1, "{ended}");
        for joined in reports.iter().filter(|report| report["event"] == "worker_joined") {
            let name = format!("process {}", joined["pid"]);
            assert!(reports.iter().any(|report| report["from"] == *name), "{ended}");
        }
        let result: Value = serde_json::from_str(&ended.stdout).unwrap();
        let keys = ["event", "name", "epochs", "steps", "run_folder"].map(|key| &result[key]);
        assert_eq!(json!(keys), json!(["finished", "small", 2, 4, out]));
        for table in ["training", "test"] {
            assert!(result[table]["loss"].is_f64(), "{ended}");
        }
        assert_eq!(result["validation"], json!({}));
        assert_eq!(result["weights_blake3"].as_str().unwrap().len(), 64);
    }
}

/// One object on standard output, nothing else anywhere.
#[test]
fn every_command_has_its_result_as_json() {
    let folder = small();
    folder.train_into("run");
    let result = |arguments: &[&str]| {
        let ended = folder.run(&[&["--quiet", "--log-format", "json"], arguments].concat());
        ended.expect(0);
        assert_eq!((ended.stderr.as_str(), ended.stdout.lines().count()), ("", 1), "{ended}");
        serde_json::from_str::<Value>(&ended.stdout).unwrap()
    };
    let checked = result(&["check", "job.toml", "--workers", "2"]);
    assert_eq!(checked["event"], "checked");
    assert_eq!((&checked["job"], &checked["scale"]), (&json!("job.toml"), &json!("none")));
    let layers = json!([
        { "type": "dense", "units": 4, "activation": "relu", "parameters": 12 },
        { "type": "dense", "units": 1, "activation": "linear", "parameters": 5 },
    ]);
    assert_eq!(checked["network"]["layers"], layers);
    assert_eq!(checked["tables"][0]["features"][1]["name"], "b");
    assert_eq!(checked["tables"][1]["rows"], 2);
    assert_eq!((&checked["warnings"], &checked["hints"]), (&json!([]), &json!([])));
    assert_eq!(checked["training"]["steps"], 4);
    assert_eq!(checked["traffic"]["step_bytes_up"], 68);
    let evaluated = result(&["evaluate", "run", "--data", "test.csv"]);
    assert_eq!((&evaluated["event"], &evaluated["rows"]), (&json!("evaluated"), &json!(2)));
    assert!(evaluated["values"]["loss"].is_f64());
    let verified = result(&["verify", "run"]);
    let keys = ["event", "first", "last", "hashes"].map(|key| &verified[key]);
    assert_eq!(json!(keys), json!(["verified", 1, 4, 2]));
    let predicted = result(&["predict", "run", "--data", "test.csv", "--output", "p.csv"]);
    let keys = ["event", "rows", "output"].map(|key| &predicted[key]);
    assert_eq!(json!(keys), json!(["predicted", 2, "p.csv"]));
    let data = folder.run(&[
        "--log-format",
        "json",
        "predict",
        "run",
        "--data",
        "test.csv",
        "--output",
        "-",
    ]);
    assert_eq!(data.stdout, folder.read("p.csv"));
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
