//! A learning rate that is reduced on a plateau: the same rates and one hash whatever computes, dies or goes on; what is written down of
//! it; and jobs that cannot be.

use crate::bad_job;
use crate::chaos;
use crate::folder::{Folder, edited, metrics, of_kind};
use crate::resume::killed_after;

/// Epochs of 8 steps.
const JOB: &str = r#"
name = "plateau"
seed = 5
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
optimizer = { type = "adam", learning_rate = { schedule = "plateau", initial_learning_rate = 0.05, metric = "validation_mae", factor = 0.5, patience = 2, cooldown = 1, min_learning_rate = 0.001 } }
epochs = 40
batch_size = 10
[checkpoint]
every_steps = 7
keep = 5
"#;

const HASH: &str = "39d828361b08f0ae0ac2e1600a7ba3f6d47b72e455b76da03509c8275eceeee6";

fn folder_of(job: &str) -> Folder {
    Folder::with_table(job, "boston-relu-adam-mse", 100)
}

#[test]
fn workers_and_threads_do_not_matter() {
    folder_of(JOB).expect_one_hash(HASH);
}

#[test]
fn chaos_does_not_matter() {
    let job = edited(JOB, "epochs = 40", "epochs = 200");
    chaos::changes_nothing("5,kill=120,stop=60,slow=30,coordinator=120", || folder_of(&job));
}

#[test]
fn killed_and_resumed() {
    let job = edited(JOB, "epochs = 40", "epochs = 150");
    killed_after(&[30, 500], || folder_of(&job));
}

/// By Keras' rules from the values that the run wrote down itself.
#[test]
fn rates_follow_from_the_measures() {
    let folder = folder_of(JOB);
    folder.train_into("run");
    folder.run(&["verify", "run"]).expect(0);
    folder.run(&["verify", "run", "--steps", "300.."]).expect(0);
    let lines = metrics(&folder.read("run/metrics.jsonl"));
    let number = |value: &serde_json::Value| value.as_f64().unwrap();
    let values = of_kind(&lines, "epoch").into_iter().map(|epoch| number(&epoch["validation_mae"]));
    let (mut rate, mut best, mut wait, mut cooldown) = (0.05f32, f64::INFINITY, 0, 0);
    let mut wanted = Vec::new();
    for value in values {
        wanted.extend([rate; 8]);
        if cooldown > 0 {
            (cooldown, wait) = (cooldown - 1, 0);
        }
        if value + 1e-4 < best {
            (best, wait) = (value, 0);
        } else if cooldown == 0 {
            wait += 1;
            if wait >= 2 && rate > 0.001 {
                rate = (f64::from(rate) * 0.5).max(0.001) as f32;
                (cooldown, wait) = (1, 0);
            }
        }
    }
    let rates =
        of_kind(&lines, "step").into_iter().map(|step| number(&step["learning_rate"]) as f32);
    assert_eq!(rates.collect::<Vec<_>>(), wanted);
    assert!(rate < 0.05, "it was reduced");
    let written = "{ schedule = \"plateau\", initial_learning_rate = 0.05, metric = \"validation_mae\", factor = 0.5, \
                   patience = 2, min_delta = 0.0001, cooldown = 1, min_learning_rate = 0.001 }";
    assert!(folder.read("run/job.toml").contains(written));
}

#[test]
fn check_says_when_it_is_reduced() {
    let ended = folder_of(JOB).run(&["check", "job.toml"]);
    ended.expect(0);
    let says = "learning rate plateau: 0.05 at step 1, times 0.5 when validation_mae has got no better for 2 epochs\n";
    assert!(ended.stdout.contains(says), "{ended}");
}

#[test]
fn jobs_that_cannot_be() {
    let key = "`train.optimizer.learning_rate";
    for (from, to, message) in [
        ("validation_mae", "mae", format!("{key}.metric`: found \"mae\"")),
        (
            "factor = 0.5",
            "factor = 1",
            format!("{key}.factor`: found 1, wanted a number above 0 and below 1"),
        ),
        (
            "min_learning_rate = 0.001",
            "min_learning_rate = 0.1",
            format!("{key}.min_learning_rate`: found 0.1, wanted at most the first rate, 0.05"),
        ),
        (
            "validation = { fraction = 0.2 }\n",
            "",
            format!("{key}`: there is no validation table to watch"),
        ),
    ] {
        bad_job::refused(&folder_of(&edited(JOB, from, to)), &message);
    }
}
