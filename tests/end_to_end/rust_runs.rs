//! Fits of the Rust API with a run folder: ended and gone on with, here and by the command line, with the bits of one that nothing
//! interrupted.

use std::ops::ControlFlow;
use std::path::Path;

use lockstep::prelude::*;
use serde_json::Value;

use crate::folder::{Folder, edited, parity};
use crate::rust_and_cli::{JOB, folder_of, network, table_of};

/// The job of fits in memory, under a name, and with a rule that ends it early.
fn job() -> String {
    let named = format!("name = \"diamonds\"{JOB}");
    edited(&named, "epochs = 4", "epochs = 6\nearly_stopping = { patience = 100 }")
}

fn folder() -> Folder {
    folder_of(&job())
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
    let (wanted, table) = (folder.hash_of("whole"), table_of(&folder));
    let whole = network().fit_table(&table, &fit(&folder.path().join("same"), 6, 2)).unwrap();
    assert_eq!(folder.hash_of("same"), wanted);
    for (name, resumed_here) in [("here", true), ("there", false)] {
        let run = folder.path().join(name);
        let mut first = network();
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
                let again = network().fit_table(&table, &fit(&run, 6, 1).resume(true)).unwrap();
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
    folder.write("job.toml", &edited(&job(), "epochs = 6", "epochs = 4"));
    folder.train_into("run");
    let mut here = network();
    let run = folder.path().join("run");
    let history = here.fit_table(&table_of(&folder), &fit(&run, 6, 2).resume(true)).unwrap();
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
    let (run, table) = (folder.path().join("run"), table_of(&folder));
    network().fit_table(&table, &fit(&run, 1, 1)).unwrap();
    let refused = |fit: Fit<'_>| network().fit_table(&table, &fit).unwrap_err().to_string();
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
