//! What is said of what cannot be: in the words of a Rust program, with no key of a job file and no argument of the command line.

use lockstep::prelude::*;
use ndarray::{Array2, array};

use crate::tables::flights;

/// That a message is for whoever wrote the program.
#[track_caller]
fn is_in_rust(message: &str) {
    let keys = ["data.", "train.", "model.", "cluster.", "checkpoint.", "journal."];
    for theirs in keys.map(|key| format!("`{key}")).into_iter().chain(
        ["--", "[data]", "[train]", "[model]", "job.toml", "job file", "lockstep "]
            .map(String::from),
    ) {
        assert!(!message.contains(&theirs), "{theirs:?} in {message}");
    }
    let begins = keys.iter().find(|key| message.starts_with(**key));
    assert!(begins.is_none() && !message.starts_with("job:"), "{message}");
}

fn regression() -> Sequential {
    let mut model = Sequential::new();
    model.add(Dense::new(1));
    model.compile(adam(), Loss::Mse, &[]);
    model
}

/// Measures the rows of a microbatch.
fn normalized() -> Sequential {
    let mut model = Sequential::new();
    model.add(Residual::new().layer(BatchNorm::new()));
    model.add(Dense::new(1));
    model.compile(adam(), Loss::Mse, &[]);
    model
}

#[test]
fn of_arrays() {
    let x = Array2::from_shape_fn((20, 2), |(row, column)| (row + column) as f32);
    let y = Array2::from_shape_fn((20, 1), |(row, _)| (row % 2) as f32);
    let hole = |value| {
        let mut x = x.clone();
        x[[3, 1]] = value;
        x
    };
    let fit = || Fit::new().batch_size(5);
    let balanced = || fit().class_weights(ClassWeights::Balanced);
    let with = |optimizer: Optimizer| {
        let mut model = regression();
        model.compile(optimizer, Loss::Mse, &[]);
        model
    };
    let mut of_images = regression();
    of_images.take_images([3, 3, 1]);
    for (mut model, x, y, fit, wanted) in [
        (Sequential::new(), x.clone(), y.clone(), fit(), "fit before compile"),
        (regression(), hole(f32::NAN), y.clone(), fit(), "x[[3, 1]] is NaN, wanted finite numbers"),
        (
            regression(),
            x.clone(),
            array![[1.0]],
            fit(),
            "x is [20, 2] and y is [1, 1], wanted as many",
        ),
        (regression(), x.clone(), y.clone(), Fit::new(), "batch_size is 32, but x has 20 rows"),
        (regression(), x.clone(), y.clone(), fit().epochs(0), "epochs, batch_size and shards"),
        (
            normalized(),
            x.clone(),
            y.clone(),
            fit().batch_size(20),
            "`batch_size`: found 20, which leaves 1 row of a batch to some of the 16 shards, wanted at least 8, since \
             `batch_norm` measures those of each shard by themselves: set `batch_size` to at least 128, or `shards` to at most 2",
        ),
        (normalized(), x.clone(), y.clone(), fit().shards(1), "set `batch_size` to at least 8"),
        (
            regression(),
            x.clone(),
            y.clone(),
            fit().resume(true),
            "resume is for a fit with a run_folder",
        ),
        (
            regression(),
            x.clone(),
            y.clone(),
            fit().gradient_clip_norm(0.0),
            "gradient_clip_norm is",
        ),
        (regression(), x.clone(), y.clone(), fit().validation_split(1.0), "validation_split is 1,"),
        (
            regression(),
            x.clone(),
            y.clone(),
            Fit::new().batch_size(20).validation_split(0.2),
            "batch_size, as set or by default, is 20, wanted at most the rows of the table: 16 rows",
        ),
        (
            regression(),
            x.clone(),
            y.clone(),
            fit().validation_split(0.99),
            "validation_split: a fraction of 0.99 takes 20 of 20 rows",
        ),
        (
            regression(),
            x.clone(),
            y.clone(),
            fit().sample_weights([1.0]),
            "sample_weights: found 1 number for 20 rows",
        ),
        (
            regression(),
            x.clone(),
            y.clone(),
            fit().sample_weights([-1.0; 20]),
            "sample_weights[0] is -1",
        ),
        (
            regression(),
            x.clone(),
            y.clone(),
            balanced(),
            "`class_weights`: found the loss `mse`, which has no classes",
        ),
        (of_images, x.clone(), y.clone(), fit(), "`take_images`: found [3, 3, 1]"),
        (
            with(adam().gradient_accumulation_steps(50)),
            x.clone(),
            y.clone(),
            fit(),
            "`gradient_accumulation_steps`: found 50, but the run has 4 steps",
        ),
        (
            with(adam().gradient_accumulation_steps(0)),
            x.clone(),
            y.clone(),
            fit(),
            "gradient_accumulation_steps of the optimizer: found 0",
        ),
        (
            with(adam().average_weights(1.5)),
            x.clone(),
            y.clone(),
            fit(),
            "ema_momentum of the optimizer: found 1.5",
        ),
        (
            with(adamw().exclude_from_weight_decay(&["gamma"])),
            x.clone(),
            y.clone(),
            fit(),
            "`exclude_from_weight_decay`: found \"gamma\"",
        ),
        (
            regression(),
            x.clone(),
            y.clone(),
            fit().early_stopping(EarlyStopping::new("validation_loss")),
            "set validation_split, validation_data or validation_table",
        ),
        (with(sgd(1e30)), x.clone(), y.clone(), fit().epochs(50), "is not finite"),
    ] {
        let error = model.fit(x.view(), y.view(), &fit).unwrap_err().to_string();
        assert!(error.contains(wanted), "no {wanted:?} in {error}");
        is_in_rust(&error);
    }
    let model = regression();
    let untrained = model.predict(x.view()).unwrap_err().to_string();
    assert_eq!(untrained, "predict before fit");
    let mut model = regression();
    model.fit(x.view(), y.view(), &fit()).unwrap();
    for (found, wanted) in [
        (
            model.predict(array![[1.0]].view()).map(drop),
            "x has 1 column, the model was fitted on 2",
        ),
        (model.predict(hole(f32::INFINITY).view()).map(drop), "x[[3, 1]] is inf"),
        (model.predict_classes(x.view()).map(drop), "loss is `mse`, which has no classes"),
        (
            model.evaluate(x.view(), hole(1.0).view()).map(drop),
            "y has 2 columns, the network wants 1",
        ),
    ] {
        let error = found.unwrap_err().to_string();
        assert!(error.contains(wanted), "no {wanted:?} in {error}");
        is_in_rust(&error);
    }
}

#[test]
fn of_tables() {
    let (folder, table) = flights();
    let error = Table::read(folder.path().join("none.csv")).unwrap_err();
    assert_eq!(error.kind(), lockstep::ErrorKind::Table);
    is_in_rust(&error.to_string());
    let delays = table.clone().target("delay").missing(Missing::Mean);
    let fit = || Fit::new().batch_size(10);
    for (table, fit, wanted) in [
        (table.clone(), fit(), "the table has no target: say with target"),
        (
            table.clone().target("dela"),
            fit(),
            "found no column \"dela\", wanted by `target`; the nearest is",
        ),
        (delays.clone().features(&["distanc"]), fit(), "wanted by `features`"),
        (delays.clone().sample_weight("weight"), fit(), "wanted by `sample_weight`"),
        (delays.clone().column("none", Column::number()), fit(), "none"),
        (delays.clone().column("carrier", Column::number()), fit(), "carrier"),
        (delays.clone().column("distance", Column::embedding(0)), fit(), "distance"),
        (
            delays.clone().column("carrier", Column::inferred().missing(Missing::Mean)),
            fit(),
            "column \"carrier\": ",
        ),
        (delays.clone().missing(Missing::Error), fit(), "set `missing` to \"mean\" or \"drop\""),
        (
            delays.clone(),
            Fit::new().batch_size(100),
            "is 100, wanted at most the rows of the table: 90 rows",
        ),
        (
            delays.clone(),
            fit().validation_split(0.001).sample_weights([1.0]),
            "sample_weights is for arrays",
        ),
        (
            delays.clone(),
            fit().validation_split(0.999),
            "validation_split: a fraction of 0.999 takes",
        ),
        (
            delays.clone().missing(Missing::Drop).targets(&["delay", "distance"]),
            fit(),
            "the last layer has 1 unit, but there are 2 target columns",
        ),
    ] {
        let Err(error) = regression().fit_table(&table, &fit) else { panic!("no {wanted:?}") };
        let error = error.to_string();
        assert!(error.contains(wanted), "no {wanted:?} in {error}");
        is_in_rust(&error);
    }
    let mut model = regression();
    model.fit_table(&delays, &fit()).unwrap();
    let path = folder.path().join("less.csv");
    std::fs::write(&path, "carrier,late\nAA,yes\n").unwrap();
    let lacks = model.predict_table(&Table::read(&path).unwrap()).unwrap_err().to_string();
    assert!(lacks.contains("found no column \"distance\""), "{lacks}");
    is_in_rust(&lacks);
    let of_texts = model.predict(array![[1.0, 2.0, 3.0]].view()).unwrap_err().to_string();
    assert!(of_texts.contains("column \"carrier\" is not of numbers"), "{of_texts}");
}
