//! The classic Keras tutorial on Boston housing prices, line by line, on an in-process cluster of two workers.
//!
//! Run with: `cargo run --release --example boston`

#![allow(clippy::print_stdout)]

use lockstep::prelude::*;

fn main() -> lockstep::Result<()> {
    // Load the table and split it.
    let (x, y) = load_csv("examples/boston/housing.csv", "medv")?;
    let [x_train, x_test, y_train, y_test] = train_test_split(x.view(), y.view(), 0.2, 42)?;

    // Make the model.
    let mut model = Sequential::new();
    model.add(Dense::new(10).activation(Activation::Relu));
    model.add(Dense::new(1));
    model.compile(adam(), Loss::Mse, &[Metric::Mae]);

    // Train it on the cluster.
    let fit = Fit::new().epochs(100).batch_size(10).workers(2).seed(1);
    let history = model.fit(x_train.view(), y_train.view(), &fit)?;
    let last = &history.epochs[99];
    println!("epoch 100: loss {:.2}, mae {:.2}", last["loss"], last["mae"]);

    // Measure it.
    let predictions = model.predict(x_test.view())?;
    println!("test MSE: {:.2}", mean_squared_error(y_test.view(), predictions.view()));
    Ok(())
}
