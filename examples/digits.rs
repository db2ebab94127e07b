//! Handwritten digits: validation, early stopping, a callback, classes and what is taken for what.
//!
//! Run with: `cargo run --release --example digits`

#![allow(clippy::print_stdout)]

use lockstep::prelude::*;

const TABLE: &str = "examples/digits/digits.csv";

fn main() -> lockstep::Result<()> {
    let (model, test) = train(TABLE, 100)?;
    println!("accuracy on rows that were never learned from: {:.3}", test["accuracy"]);
    println!("rows of each digit by what they were taken for:");
    for row in &test.classes[0].confusion {
        let cells: Vec<String> = row.iter().map(|count| format!("{count:4}")).collect();
        println!("{}", cells.join(""));
    }
    let (x, y) = load_csv(TABLE, "target")?;
    let digits = model.predict_classes(x.view())?;
    println!("the first image is a {}, and was taken for a {}", y[[0, 0]], digits[[0, 0]]);
    Ok(())
}

/// A model of a table of digits, and what a fifth of its rows say of it, which were held back.
pub(crate) fn train(table: &str, epochs: u32) -> lockstep::Result<(Sequential, Evaluation)> {
    let (x, y) = load_csv(table, "target")?;
    let [x_train, x_test, y_train, y_test] = train_test_split(x.view(), y.view(), 0.2, 1)?;

    let mut model = Sequential::new();
    model.add(Dense::new(64).activation(Activation::Relu));
    model.add(Dropout::new(0.2));
    model.add(Dense::new(10).activation(Activation::Softmax));
    model.compile(adam(), Loss::CROSS_ENTROPY, &[Metric::Accuracy]);

    let fit = Fit::new()
        .epochs(epochs)
        .workers(2)
        .validation_split(0.1)
        .early_stopping(EarlyStopping::new("validation_loss").patience(5))
        .on_epoch_end(|epoch| {
            let accuracy = epoch["validation_accuracy"];
            println!("epoch {}: validation accuracy {accuracy:.3}", epoch.number);
        });
    model.fit(x_train.view(), y_train.view(), &fit)?;
    let test = model.evaluate(x_test.view(), y_test.view())?;
    Ok((model, test))
}
