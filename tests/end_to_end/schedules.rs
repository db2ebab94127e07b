//! Learning-rate schedules: the same bits on every cluster and through every death, records that say the rate of each step, and
//! jobs whose schedules cannot be.

use serde_json::Value;

use crate::bad_job;
use crate::folder::{Folder, edited, metrics, of_kind};
use crate::resume::killed_after;

/// Ten epochs of 8 steps. The optimizer is to be filled in.
const JOB: &str = r#"
name = "scheduled"
seed = 5
[data]
train = "train.csv"
target = "y"
validation = { fraction = 0.2 }
scale = "standard"
[model]
loss = "mse"
layers = [{ type = "dense", units = 8, activation = "relu" }, { type = "dense", units = 1 }]
[train]
optimizer = OPTIMIZER
epochs = 10
batch_size = 10
[checkpoint]
every_steps = 7
keep = 1000
"#;

const STEPS: u64 = 80;

struct Case {
    optimizer: &'static str,
    hash: &'static str,
}

const CONSTANT: Case = Case {
    optimizer: "{ type = \"sgd\", momentum = 0.9, nesterov = true, learning_rate = \
                { schedule = \"constant\", learning_rate = 0.01, warmup_steps = 20 } }",
    hash: "2e26e08b59df1f5b13f9297e8efe2197384bfe1c09f73bd537b6effce834e337",
};

const PIECEWISE: Case = Case {
    optimizer: "{ type = \"adamw\", learning_rate = { schedule = \"piecewise\", boundaries = [12, 40], \
                values = [0.02, 0.01, 0.001], warmup_steps = 5 } }",
    hash: "689a2d5e1daf2c90112bb25287b9afc0c0793ee2efedfd3d8c138fe64e078b31",
};

const EXPONENTIAL: Case = Case {
    optimizer: "{ type = \"rmsprop\", momentum = 0.5, learning_rate = { schedule = \"exponential\", \
                initial_learning_rate = 0.01, decay_steps = 9, decay_rate = 0.8 } }",
    hash: "5cd263d48215cb53d90c12c03e9c6fce881682e044dced44f40fc6d13a497df4",
};

const COSINE: Case = Case {
    optimizer: "{ type = \"adam\", learning_rate = { schedule = \"cosine\", initial_learning_rate = 0.001, \
                decay_steps = 60, alpha = 0.05, warmup_target = 0.02, warmup_steps = 15 } }",
    hash: "1a92e3ae99cc8fd10089d5fe898163bd747d5214c6fb3b735311d967fa47068c",
};

fn folder(optimizer: &str) -> Folder {
    Folder::with_table(&edited(JOB, "OPTIMIZER", optimizer), "boston-relu-adam-mse", 100)
}

#[track_caller]
fn one_hash(case: &Case) {
    folder(case.optimizer).expect_one_hash(case.hash);
}

#[test]
fn constant_with_a_warm_up() {
    one_hash(&CONSTANT);
}

#[test]
fn piecewise() {
    one_hash(&PIECEWISE);
}

#[test]
fn exponential() {
    one_hash(&EXPONENTIAL);
}

#[test]
fn cosine() {
    one_hash(&COSINE);
}

/// A table that says what a number says is the same job.
#[test]
fn a_constant_without_a_warm_up_is_a_number() {
    let number = folder("{ type = \"adam\", learning_rate = 0.002 }");
    let table = folder(
        "{ type = \"adam\", learning_rate = { schedule = \"constant\", learning_rate = 0.002 } }",
    );
    for folder in [&number, &table] {
        folder.train_into("run");
    }
    assert_eq!(number.hash(), table.hash());
    let resolved = table.read("run/job.toml");
    assert!(resolved.contains("{ type = \"adam\", learning_rate = 0.002, beta_1"), "{resolved}");
}

/// The rates in the records of a run.
fn rates(folder: &Folder) -> Vec<f32> {
    let lines = metrics(&folder.read("run/metrics.jsonl"));
    let rate = |step: &&Value| step["learning_rate"].as_f64().unwrap() as f32;
    of_kind(&lines, "step").iter().map(rate).collect()
}

/// The records have the rate of each step, the run folder's job the schedule in full; verifying and measuring go as ever.
#[test]
fn what_a_run_writes_down() {
    let folder = folder(COSINE.optimizer);
    folder.train_into("run");
    let found = rates(&folder);
    assert_eq!(found.len() as u64, STEPS);
    for (step, found) in found.iter().enumerate() {
        let step = step as f64;
        let wanted = if step < 15.0 {
            0.001 + 0.019 * step / 15.0
        } else {
            let done = ((step - 15.0) / 60.0).min(1.0);
            0.02 * (0.95 * (0.5 + 0.5 * (std::f64::consts::PI * done).cos()) + 0.05)
        };
        assert!((f64::from(*found) - wanted).abs() < 1e-9, "step {step}: {found}, not {wanted}");
    }
    let resolved = folder.read("run/job.toml");
    let written = "learning_rate = { schedule = \"cosine\", initial_learning_rate = 0.001, decay_steps = 60, \
                   alpha = 0.05, warmup_target = 0.02, warmup_steps = 15 }, beta_1 = 0.9";
    assert!(resolved.contains(written), "{resolved}");
    // The job that was written out is the same job.
    let again = ["--quiet", "local", "run/job.toml", "--out", "again"];
    folder.run(&again).expect(0);
    assert_eq!(folder.read("again/job.toml"), resolved);
    folder.run(&["verify", "run"]).expect_with(0, "verifying steps 1 to 80, from the beginning");
    let late = folder.run(&["verify", "run", "--steps", "50.."]);
    late.expect_with(0, "from the checkpoint at step ");
    for command in [&["evaluate"][..], &["predict", "--output", "out.csv"]] {
        let arguments = [&command[..1], &["run", "--data", "train.csv"], &command[1..]].concat();
        folder.run(&arguments).expect(0);
    }
}

/// Killed in the warm-up, and again where the rate falls: the run that goes on knows at which step it is.
#[test]
fn killed_and_resumed() {
    // Of 2000 steps, so that there is time to be killed.
    for schedule in [
        "schedule = \"constant\", learning_rate = 0.001, warmup_steps = 900",
        "schedule = \"piecewise\", boundaries = [300, 600, 900], values = [0.01, 0.005, 0.002, 0.001], warmup_steps = 200",
        "schedule = \"exponential\", initial_learning_rate = 0.01, decay_steps = 100, decay_rate = 0.8, warmup_steps = 200",
        "schedule = \"cosine\", initial_learning_rate = 0.0, decay_steps = 1700, warmup_target = 0.01, warmup_steps = 200",
    ] {
        let optimizer = format!("{{ type = \"adam\", learning_rate = {{ {schedule} }} }}");
        let job = edited(JOB, "epochs = 10", "epochs = 250");
        let job = edited(&edited(&job, "OPTIMIZER", &optimizer), "keep = 1000", "keep = 5");
        let make = || Folder::with_table(&job, "boston-relu-adam-mse", 100);
        killed_after(&[30, 700], make);
    }
}

#[test]
fn check_says_what_the_rate_comes_to() {
    let folder = folder(COSINE.optimizer);
    let ended = folder.run(&["check", "job.toml"]);
    ended.expect(0);
    let says = "  learning rate cosine: 0.001 at step 1, 0.001 at step 80; the largest is 0.02, at step 16\n";
    assert!(ended.stdout.contains(says), "{ended}");
    let json = folder.run(&["--log-format", "json", "check", "job.toml"]);
    let checked: Value = serde_json::from_str(&json.stdout).unwrap();
    let wanted = serde_json::json!({
        "schedule": "cosine", "first": 0.001, "largest": 0.02, "largest_at_step": 16, "last": 0.001,
    });
    assert_eq!(checked["training"]["learning_rate"], wanted);
    let number = folder.run(&["check", "job.toml", "--set", "train.optimizer.learning_rate=0.25"]);
    assert!(number.stdout.contains("  learning rate 0.25\n"), "{number}");
}

/// The command line sets a number, a table, or a key of it.
#[test]
fn settings() {
    let wanted = {
        let folder = folder(EXPONENTIAL.optimizer);
        folder.train_into("run");
        folder.hash()
    };
    let table = "train.optimizer.learning_rate={ schedule = \"exponential\", initial_learning_rate = 0.01, \
                 decay_steps = 9, decay_rate = 0.8 }";
    let rmsprop = "{ type = \"rmsprop\", momentum = 0.5 }";
    let other_decay = edited(EXPONENTIAL.optimizer, "decay_steps = 9", "decay_steps = 5");
    for (optimizer, setting) in [
        (rmsprop, table),
        ("{ type = \"rmsprop\", momentum = 0.5, learning_rate = 1.0 }", table),
        (&other_decay, "train.optimizer.learning_rate.decay_steps=9"),
    ] {
        let folder = folder(optimizer);
        let set = ["--quiet", "local", "job.toml", "--out", "run", "--set", setting];
        folder.run(&set).expect(0);
        assert_eq!(folder.hash(), wanted, "{setting}");
    }
    let folder = folder(EXPONENTIAL.optimizer);
    let refused =
        folder.run(&["check", "job.toml", "--set", "train.optimizer.learning_rate.decay_rate=0"]);
    refused.expect_with(
        3,
        "error: --set train.optimizer.learning_rate.decay_rate=0: `train.optimizer.learning_rate.decay_rate`: found 0, \
         wanted a number above 0, as a 32-bit float\n",
    );
}

/// A job of four steps with this learning rate, in line 18 from column 45 on, is refused.
#[track_caller]
fn refused(learning_rate: &str, message: &str) {
    let folder = bad_job::small();
    folder.write("job.toml", &edited(bad_job::JOB, "= 0.001", &format!("= {learning_rate}")));
    bad_job::refused(&folder, message);
}

#[test]
fn learning_rates_that_are_none() {
    for (learning_rate, message) in [
        ("0", "job.toml:18:45: `train.optimizer.learning_rate`: found 0, wanted a number above 0"),
        (
            "\"cosine\"",
            "job.toml:18:45: `train.optimizer.learning_rate`: found \"cosine\", wanted a number above 0, or a table such as \
             { schedule = \"cosine\", initial_learning_rate = 0.001, decay_steps = 4000 }",
        ),
        ("[0.1]", "job.toml:18:45: `train.optimizer.learning_rate`: found a list, wanted a number"),
        (
            "{ decay_steps = 5 }",
            "job.toml:18:45: `train.optimizer.learning_rate`: `schedule` is missing, wanted one of: constant, piecewise, \
             exponential, cosine, plateau",
        ),
        (
            "{ schedule = \"cosin\" }",
            "job.toml:18:58: `train.optimizer.learning_rate.schedule`: found \"cosin\", did you mean `cosine`?",
        ),
        (
            "{ schedule = \"cosine\", initial_learning_rate = 0.1, decay_step = 5 }",
            "job.toml:18:97: unknown key `train.optimizer.learning_rate.decay_step`, did you mean `decay_steps`?",
        ),
        (
            "{ schedule = \"exponential\", initial_learning_rate = 0.1, decay_steps = 5, gamma = 0.5 }",
            "unknown key `train.optimizer.learning_rate.gamma`, did you mean `decay_rate`?",
        ),
        (
            "{ schedule = \"cosine\", initial_learning_rate = 0.1, decay_steps = 5, decay_rate = 0.5 }",
            "`train.optimizer.learning_rate.decay_rate`: cosine has no decay_rate, only exponential has",
        ),
        (
            "{ schedule = \"cosine\", initial_learning_rate = 0.1 }",
            "job.toml:18:45: `train.optimizer.learning_rate.decay_steps` is missing",
        ),
        (
            "0.1, warmup_steps = 5",
            "job.toml:18:50: unknown key `train.optimizer.warmup_steps`: wanted `warmup_steps` inside the learning rate, as in \
             [train] `optimizer = { type = \"adam\", learning_rate = { schedule = \"cosine\",",
        ),
    ] {
        refused(learning_rate, message);
    }
}

#[test]
fn parameters_that_cannot_be() {
    let exponential = |parameters: &str| {
        format!("{{ schedule = \"exponential\", initial_learning_rate = 0.1, {parameters} }}")
    };
    let piecewise = |parameters: &str| format!("{{ schedule = \"piecewise\", {parameters} }}");
    let cosine = |parameters: &str| format!("{{ schedule = \"cosine\", {parameters} }}");
    for (learning_rate, message) in [
        (
            exponential("decay_steps = 0, decay_rate = 0.5"),
            "learning_rate.decay_steps`: found 0, wanted a whole number from 1 to",
        ),
        (
            exponential("decay_steps = 1.5, decay_rate = 0.5"),
            "learning_rate.decay_steps`: found 1.5, wanted a whole number",
        ),
        (
            exponential("decay_steps = 5, decay_rate = -0.5"),
            "learning_rate.decay_rate`: found -0.5, wanted a number above 0, as a 32-bit float",
        ),
        (
            exponential("decay_steps = 5, decay_rate = nan"),
            "learning_rate.decay_rate`: found nan, wanted a number above 0",
        ),
        (
            exponential("decay_steps = 5, decay_rate = 0.5, staircase = 1"),
            "learning_rate.staircase`: found 1, wanted true or false",
        ),
        (
            exponential("decay_steps = 5, decay_rate = 0.5, warmup_steps = -1"),
            "learning_rate.warmup_steps`: found -1, wanted a whole number from 0",
        ),
        (
            exponential("decay_steps = 1, decay_rate = 1e20"),
            "job.toml:18:45: `train.optimizer.learning_rate`: it grows beyond all 32-bit floats by step 4: wanted one that",
        ),
        (
            piecewise("boundaries = [2], values = [0.1, -0.1]"),
            "job.toml:18:104: `train.optimizer.learning_rate.values.1`: found -0.1, wanted a number of at least 0",
        ),
        (
            piecewise("boundaries = [2, 2], values = [0.1, 0.2, 0.3]"),
            "learning_rate.boundaries`: found 2 after 2, wanted each above the one before it",
        ),
        (
            piecewise("boundaries = [2, 3], values = [0.1, 0.2]"),
            "learning_rate.values`: found 2 for 2 in boundaries, wanted 3: one for the steps up to each boundary",
        ),
        (
            piecewise("boundaries = [], values = [0.1]"),
            "learning_rate.boundaries`: found an empty list, wanted at least one step at which the rate changes",
        ),
        (
            piecewise("boundaries = 2, values = [0.1, 0.2]"),
            "learning_rate.boundaries`: found 2, wanted a list",
        ),
        (
            piecewise("boundaries = [2], values = [0, 0]"),
            "job.toml:18:45: `train.optimizer.learning_rate`: it is 0 at every step of the run, which would learn nothing",
        ),
        (
            cosine("initial_learning_rate = 0.1, decay_steps = 5, warmup_steps = 3"),
            "learning_rate.warmup_steps`: found 3 without warmup_target, so that there is nothing to warm up to: set",
        ),
        (
            cosine("initial_learning_rate = inf, decay_steps = 5"),
            "learning_rate.initial_learning_rate`: found inf, wanted a number of at least 0",
        ),
        (
            cosine("initial_learning_rate = 0.1, decay_steps = 5, alpha = -0.1"),
            "learning_rate.alpha`: found -0.1, wanted a number of at least 0",
        ),
        (
            cosine("initial_learning_rate = 0.0, decay_steps = 5"),
            "job.toml:18:45: `train.optimizer.learning_rate`: it is 0 at every step of the run",
        ),
    ] {
        refused(&learning_rate, message);
    }
}

/// Whoever is told to lower the learning rate finds the table as well.
#[test]
fn a_schedule_that_diverges() {
    let folder = bad_job::small();
    let schedule = "= { schedule = \"constant\", learning_rate = 1e30, warmup_steps = 2 }";
    folder.write("job.toml", &edited(bad_job::JOB, "= 0.001", schedule));
    let ended = folder.run(&["local", "job.toml", "--out", "run"]);
    assert_ne!(ended.code(), Some(0), "{ended}");
    assert!(ended.stderr.contains("lower train.optimizer's learning_rate"), "{ended}");
}
