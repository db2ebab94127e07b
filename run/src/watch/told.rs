//! From reports to entries of the status.

use std::sync::Mutex;

use lockstep_status::book::{Book, Joined};
use lockstep_status::value::{Confusion, Outcome, State, Values as Shown, Wait, finite};

use super::Watch;
use crate::report::words::line_of;
use crate::report::{Report, Reporter, SharedReporter, Values, report};

/// Shows reports, and notes them in a status: those of files that a run writes while it goes on. A warning is that one cannot
/// be written, and a note that it can again.
pub struct Tee {
    to: SharedReporter,
    watch: Watch,
    is_of_files: bool,
}

impl Tee {
    /// Of what a run tells by itself.
    pub fn shared(to: &SharedReporter, watch: &Watch) -> SharedReporter {
        Tee::to(to, watch, false)
    }

    /// Of what is said of the files that it writes.
    pub fn of_files(to: &SharedReporter, watch: &Watch) -> SharedReporter {
        Tee::to(to, watch, true)
    }

    fn to(to: &SharedReporter, watch: &Watch, is_of_files: bool) -> SharedReporter {
        std::sync::Arc::new(Mutex::new(Tee { to: to.clone(), watch: watch.clone(), is_of_files }))
    }
}

impl Reporter for Tee {
    fn report(&mut self, told: &Report) {
        if self.is_of_files {
            let wait = match told {
                Report::Warning { message } => Some(Some(disk(message))),
                Report::Note { .. } => Some(None),
                _ => None,
            };
            if let Some(wait) = wait {
                self.watch.note(|book, at| book.disk(at, wait));
            }
        }
        self.watch.told(told);
        report(&*self.to, told);
    }
}

fn disk(message: &str) -> Wait {
    Wait {
        what: message.to_string(),
        stage: "disk".to_string(),
        peer: None,
        seconds: 0.0,
        limit_seconds: None,
        remedy: "make room on the disk of the run folder; the training goes on meanwhile"
            .to_string(),
    }
}

/// Writes a report into the book.
pub(super) fn tell(book: &mut Book, at: f64, told: &Report) {
    match told {
        Report::WorkerJoined { worker, host, address, was, pid, threads } => {
            let (worker, host, address) = (*worker, host.clone(), address.clone());
            let joined = Joined { worker, host, address, pid: *pid, threads: *threads, was: *was };
            book.joined(at, joined, line_of(told));
        }
        Report::WorkerLeft { worker, cause, reason, .. } => {
            book.left(at, *worker, cause, reason, line_of(told));
        }
        Report::Note { message } => book.event(at, "note", message.clone()),
        Report::Warning { message } => book.event(at, "warning", message.clone()),
        Report::Ending => book.state(State::Ending, None),
        Report::Finished { .. } => book.result(outcome_of(told)),
        _ => {}
    }
}

/// What a run has made, from the report of its end.
pub fn outcome_of(finished: &Report) -> Outcome {
    let Report::Finished {
        training,
        validation,
        test,
        early_stopping,
        threshold,
        classes,
        weights_blake3,
        ..
    } = finished
    else {
        return Outcome::default();
    };
    let named = |values: &Values, prefix: &str| -> Shown {
        let shown = |(name, &value): (&String, &f64)| (format!("{prefix}{name}"), finite(value));
        values.iter().map(shown).collect()
    };
    let tables = [(training, ""), (validation, "validation_"), (test, "test_")];
    let confusion = classes.iter().filter(|of| !of.confusion.is_empty()).map(|of| Confusion {
        target: of.target.clone(),
        labels: of.classes.iter().map(|class| class.label.clone()).collect(),
        rows: of.confusion.clone(),
    });
    Outcome {
        values: tables.into_iter().flat_map(|(values, prefix)| named(values, prefix)).collect(),
        best_epoch: early_stopping.as_ref().and_then(|found| found.best_epoch),
        threshold: threshold.map(|chosen| chosen.value.into()),
        weights_blake3: Some(weights_blake3.clone()),
        confusion: confusion.collect(),
    }
}
