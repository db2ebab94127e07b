//! What is called at the end of every epoch: when, with what, and how the fit ends if it says so, or panics.

use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};

use lockstep::prelude::*;
use ndarray::Array2;

fn rows() -> (Array2<f32>, Array2<f32>) {
    let x = Array2::from_shape_fn((40, 3), |(row, column)| {
        ((5 * row + 3 * column + row * column) % 13) as f32 / 13.0
    });
    let y = Array2::from_shape_fn((40, 1), |(row, _)| ((row * row) % 7) as f32 / 7.0);
    (x, y)
}

fn model(optimizer: Optimizer) -> Sequential {
    let mut model = Sequential::new();
    model.add(Dense::new(8).activation(Activation::Tanh));
    model.add(Dense::new(1));
    model.compile(optimizer, Loss::Mse, &[Metric::Mae]);
    model
}

/// What is fitted, and how.
#[derive(Clone)]
struct Asked {
    optimizer: Optimizer,
    epochs: u32,
    workers: usize,
    validation_split: Option<f64>,
    early_stopping: Option<EarlyStopping>,
}

impl Asked {
    fn new(optimizer: Optimizer, epochs: u32) -> Asked {
        Asked { optimizer, epochs, workers: 1, validation_split: None, early_stopping: None }
    }

    /// The history, the weights and the epochs of which a callback was told, which ends the fit after the last of these, if it
    /// does.
    fn ended_after(&self, last: Option<u32>) -> (History, Vec<f32>, Vec<u32>) {
        let (x, y) = rows();
        let mut model = model(self.optimizer.clone());
        let mut called = Vec::new();
        let mut fit = Fit::new().epochs(self.epochs).workers(self.workers).batch_size(10);
        if let Some(share) = self.validation_split {
            fit = fit.validation_split(share);
        }
        if let Some(rule) = &self.early_stopping {
            fit = fit.early_stopping(rule.clone());
        }
        let fit = fit.on_epoch_end(|epoch| {
            called.push(epoch.number);
            assert!(epoch["loss"].is_finite() && epoch.values.contains_key("mae"));
            match Some(epoch.number) == last {
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue(()),
            }
        });
        let history = model.fit(x.view(), y.view(), &fit).unwrap();
        drop(fit);
        (history, model.weights().unwrap().to_vec(), called)
    }
}

/// A fit that is ended after an epoch is one of so many epochs, to the bit, on any number of workers.
#[test]
fn a_callback_ends_a_fit() {
    for optimizer in [adam(), adam().average_weights(0.9)] {
        for validation_split in [None, Some(0.25)] {
            let three = Asked { validation_split, ..Asked::new(optimizer.clone(), 3) };
            let wanted = three.ended_after(None);
            for workers in [1, 3] {
                let more = Asked { epochs: 500, workers, ..three.clone() };
                assert_eq!(more.ended_after(Some(3)), wanted);
            }
        }
    }
}

/// The weights of the best epoch come back, as at the end of a fit that nothing ended.
#[test]
fn the_best_weights_are_restored_when_a_callback_ends_a_fit() {
    let asked = Asked {
        validation_split: Some(0.4),
        early_stopping: Some(EarlyStopping::new("validation_loss").patience(400)),
        ..Asked::new(adam().learning_rate(0.1), 60)
    };
    let wanted = asked.ended_after(None);
    assert!(wanted.0.best_epoch.is_some_and(|best| best < 60), "the last epoch is the best");
    let more = Asked { epochs: 390, ..asked };
    assert_eq!(more.ended_after(Some(60)), wanted);
}

#[test]
fn what_a_callback_says_after_the_last_epoch_does_not_matter() {
    let asked = Asked::new(sgd(0.1), 4);
    assert_eq!(asked.ended_after(Some(4)), asked.ended_after(None));
}

/// All callbacks are called, in their order; one that says nothing goes on.
#[test]
fn callbacks_are_called_in_order() {
    let (x, y) = rows();
    let (tx, rx) = std::sync::mpsc::channel();
    let other = tx.clone();
    let fit = Fit::new()
        .epochs(2)
        .on_epoch_end(move |epoch| tx.send((1, epoch.number, epoch.epochs)).unwrap())
        .on_epoch_end(move |epoch| other.send((2, epoch.number, epoch.epochs)).unwrap());
    model(adam()).fit(x.view(), y.view(), &fit).unwrap();
    drop(fit);
    assert_eq!(rx.iter().collect::<Vec<_>>(), [(1, 1, 2), (2, 1, 2), (1, 2, 2), (2, 2, 2)]);
}

/// Whoever called `fit` gets the panic, after the training has ended; the model is as it was, and may be fitted again.
#[test]
fn a_panic_in_a_callback_ends_the_fit() {
    let (x, y) = rows();
    let mut model = model(adam());
    for workers in [1, 2] {
        let fit = Fit::new().epochs(1_000_000).workers(workers).on_epoch_end(|epoch| {
            assert!(epoch.number < 2, "in the callback");
        });
        let ended = catch_unwind(AssertUnwindSafe(|| model.fit(x.view(), y.view(), &fit)));
        let panic = ended.unwrap_err();
        let text = panic.downcast_ref::<String>().map(String::as_str);
        assert_eq!(text.or(panic.downcast_ref::<&str>().copied()), Some("in the callback"));
        assert!(model.weights().is_none());
    }
    model.fit(x.view(), y.view(), &Fit::new()).unwrap();
}
