//! Callbacks: what is called at the end of every epoch, and may end the fit.
//!
//! A callback is a closure; the thread that called `fit` calls it, so that it may change what that thread has. The training waits
//! until it returns, as in Keras: what it decides does not depend on how fast anything was, and the weights are those of the epoch after
//! which it said stop, to the bit.
//!
//! ```
//! use std::ops::ControlFlow;
//! use lockstep::prelude::*;
//! use lockstep::ndarray::Array2;
//!
//! let x = Array2::from_shape_fn((32, 2), |(row, column)| ((row + column) % 5) as f32);
//! let y = Array2::from_shape_fn((32, 1), |(row, _)| (row % 3) as f32);
//! let mut model = Sequential::new();
//! model.add(Dense::new(1));
//! model.compile(sgd(0.01), Loss::Mse, &[]);
//! let mut losses = Vec::new();
//! let fit = Fit::new().epochs(50).on_epoch_end(|epoch| {
//!     losses.push(epoch["loss"]);
//!     match epoch.number == 3 {
//!         true => ControlFlow::Break(()),
//!         false => ControlFlow::Continue(()),
//!     }
//! });
//! let history = model.fit(x.view(), y.view(), &fit)?;
//! assert_eq!(history.epochs.len(), 3);
//! drop(fit);
//! assert_eq!(losses.len(), 3);
//! # Ok::<(), lockstep::Error>(())
//! ```
//!
//! With a [run folder](crate::training::Fit::run_folder), a fit that is ended so is a run that was stopped, which can be resumed.
//!
//! A panic in a callback ends the training first, and then goes on in the thread that called `fit`; the model is as it was before.

use std::ops::{ControlFlow, Index};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use lockstep_run::epoch_end::EpochEnd;
use lockstep_run::report::Values;

/// An epoch that has ended.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Epoch<'a> {
    /// Which, from 1.
    pub number: u32,
    /// Of how many.
    pub epochs: u32,
    /// Loss and metrics by name: `loss`, `mae`, `validation_loss` and so on.
    pub values: &'a Values,
}

impl Index<&str> for Epoch<'_> {
    type Output = f64;

    /// The value of this name.
    ///
    /// # Panics
    /// If there is none.
    fn index(&self, name: &str) -> &f64 {
        let known = || self.values.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
        self.values
            .get(name)
            .unwrap_or_else(|| panic!("no {name:?} in this epoch: it has {}", known()))
    }
}

/// What a callback says: nothing, and the fit goes on; or whether it does.
pub trait Answer {
    /// Whether the fit goes on.
    fn flow(self) -> ControlFlow<()>;
}

impl Answer for () {
    fn flow(self) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }
}

impl Answer for ControlFlow<()> {
    fn flow(self) -> ControlFlow<()> {
        self
    }
}

type Callback<'a> = dyn FnMut(&Epoch<'_>) -> ControlFlow<()> + Send + 'a;

/// The callbacks of a fit, in the order in which they are called.
#[derive(Clone, Default)]
pub(crate) struct Callbacks<'a>(Vec<Arc<Mutex<Callback<'a>>>>);

impl<'a> Callbacks<'a> {
    pub(crate) fn add<A: Answer>(&mut self, mut callback: impl FnMut(&Epoch<'_>) -> A + Send + 'a) {
        self.0.push(Arc::new(Mutex::new(move |epoch: &Epoch<'_>| callback(epoch).flow())));
    }

    /// All are called, whatever the first ones say.
    fn call(&self, epoch: &Epoch<'_>) -> ControlFlow<()> {
        let mut flow = ControlFlow::Continue(());
        for callback in &self.0 {
            if callback.lock().unwrap_or_else(PoisonError::into_inner)(epoch).is_break() {
                flow = ControlFlow::Break(());
            }
        }
        flow
    }

    /// Trains, on a thread of its own if there is anything to call, and calls it from this one: one epoch at a time.
    pub(crate) fn around<T: Send>(
        &self,
        epochs: u32,
        train: impl FnOnce(Option<EpochEnd>) -> T + Send,
    ) -> T {
        if self.0.is_empty() {
            return train(None);
        }
        let (told_tx, told) = sync_channel::<(u32, Values)>(1);
        let (answer_tx, answers) = sync_channel(1);
        let end = EpochEnd::new(move |epoch, values| {
            // Nobody is there only if this thread has panicked.
            match told_tx.send((epoch, values.clone())) {
                Ok(()) => answers.recv().unwrap_or(ControlFlow::Break(())),
                Err(_) => ControlFlow::Break(()),
            }
        });
        thread::scope(|scope| {
            let training = scope.spawn(move || train(Some(end)));
            let mut panic = None;
            // Over when the training is, which has the other end.
            for (number, values) in told {
                let epoch = Epoch { number, epochs, values: &values };
                let called = catch_unwind(AssertUnwindSafe(|| self.call(&epoch)));
                let answer = called.unwrap_or_else(|what| {
                    panic = Some(what);
                    ControlFlow::Break(())
                });
                if answer_tx.send(answer).is_err() {
                    break;
                }
            }
            let trained = training.join();
            match (panic, trained) {
                (Some(panic), _) | (None, Err(panic)) => resume_unwind(panic),
                (None, Ok(trained)) => trained,
            }
        })
    }
}
