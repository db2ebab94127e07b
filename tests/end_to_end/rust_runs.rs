//! Fits of the Rust API with a run folder: ended and gone on with, here and by the command line, with the bits of one that nothing
//! interrupted.

use std::ops::ControlFlow;
use std::path::Path;

use lockstep::prelude::*;
use serde_json::Value;

use crate::folder::{Folder, edited, parity};

const JOB: &str = r#"
name = "diamonds"
seed = 3
[data]
train = "train.csv"
target = "price"
validation = { fraction = 0.2 }
scale = "standard"
[data.columns]
cut = { encoder = "embedding", dimension = 2 }
price = { scale = "standard" }
[model]
loss = "mse"
metrics = ["mae"]
layers = [{ type = "dense", units = 8, activation = "relu" }, { type = "dropout", rate = 0.1 }, { type = "dense", units = 1 }]
[train]
optimizer = { type = "adam", learning_rate = 0.01, use_ema = true, ema_momentum = 0.9 }
epochs = 6
early_stopping = { patience = 100 }
batch_size = 20
"#;

/// Numbers and three columns of texts, one of them embedded.
fn folder() -> Folder {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/end_to_end/diamonds.csv");
    let text = std::fs::read_to_string(path).unwrap();
    let lines: Vec<&str> = text.lines().take(201).collect();
    Folder::new(&[("job.toml", JOB), ("train.csv", &lines.join("\n"))])
}

fn model() -> Sequential {
    let mut model = Sequential::new();
    model.add(Dense::new(8).activation(Activation::Relu));
    model.add(Dropout::new(0.1));
    model.add(Dense::new(1));
    model.compile(adam().learning_rate(0.01).average_weights(0.9), Loss::Mse, &[Metric::Mae]);
    model
}

fn table(folder: &Folder) -> Table {
    let standard = Scale::named("standard").unwrap();
    let table = Table::read(folder.path().join("train.csv")).unwrap();
    let table = table.target("price").scale(standard).column("cut", Column::embedding(2));
    table.column("price", Column::inferred().scale(standard))
}

/// The job's words in Rust, kept in a folder.
fn fit<'a>(run: &Path, epochs: u32, workers: usize) -> Fit<'a> {
    let fit = Fit::new().name("diamonds").epochs(epochs).batch_size(20).seed(3);
    let fit = fit.validation_split(0.2).workers(workers).run_folder(run);
    fit.early_stopping(EarlyStopping::new("validation_loss").patience(100))
}

/// A callback that ends the fit after this epoch.
fn until(last: u32) -> impl FnMut(&Epoch<'_>) -> ControlFlow<()> + Send {
    move |epoch| match epoch.number == last {
        true => ControlFlow::Break(()),
        false => ControlFlow::Continue(()),
    }
}

fn status(folder: &Folder, run: &str) -> Value {
    let manifest = folder.read(&format!("{run}/manifest.json"));
    serde_json::from_str::<Value>(&manifest).unwrap()["status"].clone()
}

#[test]
fn a_fit_that_was_ended_goes_on_here_and_there() {
    let folder = folder();
    folder.train_into("whole");
    let (wanted, table) = (folder.hash_of("whole"), table(&folder));
    let whole = model().fit_table(&table, &fit(&folder.path().join("same"), 6, 2)).unwrap();
    assert_eq!(folder.hash_of("same"), wanted);
    for (name, resumed_here) in [("here", true), ("there", false)] {
        let run = folder.path().join(name);
        let mut first = model();
        let ended = first.fit_table(&table, &fit(&run, 6, 1).on_epoch_end(until(2))).unwrap();
        assert_eq!(ended.epochs, whole.epochs[..2]);
        assert_eq!(status(&folder, name), "stopped");
        match resumed_here {
            true => {
                let mut called = Vec::new();
                let resumed = fit(&run, 6, 3).resume(true);
                let resumed = resumed.on_epoch_end(|epoch| called.push(epoch.number));
                let history = first.fit_table(&table, &resumed).unwrap();
                drop(resumed);
                assert_eq!(called, [3, 4, 5, 6]);
                assert_eq!(history, whole);
                assert_eq!(first.weights_hash().unwrap(), wanted);
                // What is finished is told again.
                let again = model().fit_table(&table, &fit(&run, 6, 1).resume(true)).unwrap();
                assert_eq!(again, whole);
            }
            false => {
                let job = format!("{name}/job.toml");
                let local = ["--quiet", "local", &job, "--out", name, "--resume", "--workers", "2"];
                folder.run(&local).expect(0);
            }
        }
        assert_eq!(folder.hash_of(name), wanted);
        folder.run(&["verify", name]).expect(0);
    }
}

/// Begun from the command line, with fewer epochs.
#[test]
fn a_run_of_the_command_line_goes_on_here() {
    let folder = folder();
    folder.train_into("whole");
    folder.write("job.toml", &edited(JOB, "epochs = 6", "epochs = 4"));
    folder.train_into("run");
    let mut here = model();
    let run = folder.path().join("run");
    let history = here.fit_table(&table(&folder), &fit(&run, 6, 2).resume(true)).unwrap();
    assert_eq!(history.epochs.len(), 6);
    assert_eq!(here.weights_hash().unwrap(), folder.hash_of("whole"));
    folder.run(&["verify", "run"]).expect(0);
}

#[test]
fn arrays_go_on_too() {
    let folder = Folder::new(&[]);
    let run = folder.path().join("run");
    let (x, y) = load_csv(parity("boston-relu-adam-mse").join("train.csv"), "y").unwrap();
    let mut model = Sequential::new();
    model.add(Dense::new(4).activation(Activation::Relu));
    model.add(Dense::new(1));
    model.scale_targets(Scale::named("standard").unwrap());
    model.compile(adam(), Loss::Mse, &[]);
    let mut alone = model.clone();
    let fit = |epochs| Fit::new().epochs(epochs).checkpoint_every(Every::Epochs(1));
    let wanted = alone.fit(x.view(), y.view(), &fit(5)).unwrap();
    let ended = fit(5).run_folder(&run).on_epoch_end(until(3));
    model.fit(x.view(), y.view(), &ended).unwrap();
    let resumed = fit(5).run_folder(&run).resume(true).keep_checkpoints(1);
    assert_eq!(model.fit(x.view(), y.view(), &resumed).unwrap(), wanted);
    assert_eq!(model.weights_hash(), alone.weights_hash());
    let table = parity("boston-relu-adam-mse").join("train.csv");
    folder.run(&["predict", "run", "--data", table.to_str().unwrap()]).expect(0);
}

#[test]
fn what_does_not_fit_the_folder_is_told() {
    let folder = folder();
    let (run, table) = (folder.path().join("run"), table(&folder));
    model().fit_table(&table, &fit(&run, 1, 1)).unwrap();
    let refused = |fit: Fit<'_>| model().fit_table(&table, &fit).unwrap_err().to_string();
    for (fit, wanted) in [
        (fit(&run, 1, 1), "the run folder exists and is not empty"),
        (
            fit(&run, 1, 1).resume(true).seed(4),
            "cannot resume: the job has changed: it was `seed(3)`, it is `seed(4)`",
        ),
        (Fit::new().resume(true), "resume is for a fit with a run_folder: set one"),
        (fit(&run, 1, 1).keep_checkpoints(0), "keep_checkpoints is 0, wanted at least 1"),
        (
            fit(&run, 1, 1).checkpoint_every(Every::Steps(0)),
            "checkpoint_every(Steps(0)), wanted more than 0",
        ),
        (fit(&run, 1, 1).name("a/b"), "name"),
    ] {
        let found = refused(fit);
        assert!(found.contains(wanted) && !found.contains("--"), "{found}");
    }
}
