//! What the validation table says of a model besides loss and metrics, after an epoch: the threshold that is best there, and
//! whether a guess is as good. Part of every checkpoint, since the execution that ends a run may not have measured the table.

use lockstep_data::Schema;
use lockstep_model::{Network, Threshold};
use serde::{Deserialize, Serialize};

use crate::constant_guess::Guess;
use crate::report::Chosen;

/// See the module's text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Validated {
    /// Where there is one output with two classes, and rows of both.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threshold: Option<Chosen>,
    /// The guess that is as good.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guess: Option<Guess>,
}

impl Validated {
    /// By the sums of a measured table over so many rows.
    pub fn of(network: &Network, sums: &[f64], rows: u64) -> Validated {
        let scores = network.scores(sums);
        let threshold = scores.and_then(|scores| {
            let value = scores.best()?;
            Some(Chosen { value, validation_f1: scores.counts(value).f1() })
        });
        let guess = Guess::found(network, sums, rows, value(threshold));
        Validated { threshold, guess }
    }

    /// The threshold of the model: Keras' where none was chosen.
    pub fn value(&self) -> Threshold {
        value(self.threshold)
    }
}

fn value(threshold: Option<Chosen>) -> Threshold {
    threshold.map_or(Threshold::HALF, |chosen| chosen.value)
}

/// What there is to warn of at the end of a run that measured the tables of these names.
pub(crate) fn warning<'a>(
    tables: impl IntoIterator<Item = (&'a str, Option<Guess>)>,
    schema: &Schema,
) -> Option<String> {
    // One line is enough: the tables tell the same.
    tables.into_iter().find_map(|(table, guess)| Some(guess?.text(table, schema)))
}
