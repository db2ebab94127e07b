//! What a fit tells people who asked for it: epochs and what is odd, a line each on standard error.

use std::io::Write as _;

use lockstep_run::report::escape::line;
use lockstep_run::report::words::line_of;
use lockstep_run::report::{EpochsShown, Report, Reporter};

use crate::words::in_rust;

#[derive(Debug, Default)]
pub(crate) struct Progress {
    epochs: EpochsShown,
}

impl Reporter for Progress {
    fn report(&mut self, report: &Report) {
        let is_told = match report {
            Report::Epoch { epoch, epochs, .. } => self.epochs.shows(*epoch, *epochs),
            Report::Warning { .. } | Report::WorkerLeft { .. } => true,
            _ => false,
        };
        if !is_told {
            return;
        }
        let text = in_rust(&line_of(report));
        // In one piece: others may write there too. Nobody is left to be told if standard error is gone.
        #[allow(clippy::disallowed_methods)]
        let _ = std::io::stderr().lock().write_all(format!("{}\n", line(&text)).as_bytes());
    }
}
