//! Whether a model is better than whoever says the same of every row: the mean of the targets, or the largest class. Decides from
//! what was counted of a table, and says in words what to try. Changes nothing in a run.

use lockstep_data::{ColumnKind, Scale, Schema, TargetKind};
use lockstep_model::{Counts, Network, Threshold};
use serde::{Deserialize, Serialize};

use crate::report::figures::figure;

/// Longest name of a column or class that is told.
const NAME_CHARS_MAX: usize = 60;

/// How far, in standard errors, the mean recall of a model that knows nothing is from that of a guess, at most.
const ERRORS_MAX: f64 = 3.0;

/// The guess that is as good as the model, or better.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "guess", rename_all = "snake_case")]
pub enum Guess {
    /// The mean of the targets.
    Mean {
        /// Of the model: at most 0.
        r2: f64,
    },
    /// The largest class of a target.
    Class {
        /// Which target, from 0.
        target: usize,
        /// Its class, from 0.
        class: usize,
        /// Of the model.
        accuracy: f64,
        /// The accuracy of the guess: the class's share of the rows.
        share: f64,
    },
}

impl Guess {
    /// What is no worse than the model on a table with these sums over so many rows, if anything is. A model of one output with two
    /// classes is held against it at `threshold`.
    pub fn found(
        network: &Network,
        sums: &[f64],
        rows: u64,
        threshold: Threshold,
    ) -> Option<Guess> {
        if let Some(r2) = network.explained(sums, rows) {
            return (r2 <= 0.0).then_some(Guess::Mean { r2 });
        }
        let tallies = network.class_tallies(sums, threshold);
        tallies.iter().enumerate().find_map(|(target, tally)| of_classes(target, &tally.counts))
    }

    /// In words, for the table of that name, with what to try.
    pub fn text(&self, table: &str, schema: &Schema) -> String {
        let mut names = schema.target_names().into_iter().map(|name| quoted(&name));
        let found = match *self {
            Guess::Mean { r2 } => {
                let names: Vec<_> = names.collect();
                format!("the mean of {} (r2 {})", names.join(", "), figure(r2))
            }
            Guess::Class { target, class, accuracy, share } => {
                let name = names.nth(target).unwrap_or_default();
                let label = match &schema.labels {
                    Some(labels) => quoted(&labels[target][class]),
                    None => format!("class {class}"),
                };
                let (accuracy, share) = (figure(accuracy), figure(share));
                format!(
                    "{label} for {name} (accuracy {accuracy}, a share of {share} of the rows are {label})"
                )
            }
        };
        format!(
            "on the {table} the model is no better than always guessing {found}: try {}",
            advice(schema).join(", ")
        )
    }
}

fn quoted(name: &str) -> String {
    let short: String = name.chars().take(NAME_CHARS_MAX).collect();
    format!("\"{short}{}\"", if short.len() < name.len() { "..." } else { "" })
}

/// The largest class, if always guessing it is right as often as the model is, unless the model tells classes apart all the same.
///
/// A model of rare classes, or one trained with class weights, may be right less often than that guess and yet find most rows of
/// the rare class. So its mean recall is looked at as well: of whoever guesses it is 1 over the number of classes, give or take
/// what chance does.
fn of_classes(target: usize, counts: &[Counts]) -> Option<Guess> {
    let rows: f64 = counts.iter().map(|class| class.actual).sum();
    let hits: f64 = counts.iter().map(|class| class.hits).sum();
    let mut largest = (0, 0.0);
    for (class, counts) in counts.iter().enumerate() {
        if counts.actual > largest.1 {
            largest = (class, counts.actual);
        }
    }
    let (class, most) = largest;
    let is_better = hits > most || hits >= rows || tells_apart(counts, rows);
    (!is_better).then(|| Guess::Class { target, class, accuracy: hits / rows, share: most / rows })
}

/// Whether the mean recall over the classes that have rows is beyond what chance gives whoever predicts each class as often.
fn tells_apart(counts: &[Counts], rows: f64) -> bool {
    let there: Vec<_> = counts.iter().filter(|class| class.actual > 0.0).collect();
    let classes = there.len() as f64;
    let guessed = |class: &Counts| class.predicted / rows;
    let beyond: f64 = there.iter().map(|class| class.recall() - guessed(class)).sum();
    let variance: f64 =
        there.iter().map(|class| guessed(class) * (1.0 - guessed(class)) / class.actual).sum();
    beyond / classes > ERRORS_MAX * variance.sqrt() / classes
}

/// What often helps, the likeliest first.
fn advice(schema: &Schema) -> Vec<String> {
    let is_plain = |column: &&lockstep_data::Column| {
        column.kind() == ColumnKind::Number && column.settings().scale == Scale::NONE
    };
    let mut all = Vec::new();
    if schema.features.iter().any(|column| is_plain(&column)) {
        let scale = if schema.image.is_some() { "{ divide = 255 }" } else { "\"standard\"" };
        all.push(format!("scaled features (`data.scale = {scale}`)"));
    }
    if schema.kind == TargetKind::Numbers && schema.targets.iter().any(|column| is_plain(&column)) {
        all.push("a scaled target (`scale = \"standard\"` in its `[data.columns]`)".to_string());
    }
    all.extend(["a lower learning rate", "more epochs"].map(str::to_string));
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two classes by rows of each (outer) and predicted class.
    fn two(matrix: [[f64; 2]; 2]) -> Option<Guess> {
        let of = |class: usize| Counts {
            hits: matrix[class][class],
            predicted: matrix[0][class] + matrix[1][class],
            actual: matrix[class].iter().sum(),
        };
        of_classes(0, &[of(0), of(1)])
    }

    fn guess(class: usize, accuracy: f64, share: f64) -> Option<Guess> {
        Some(Guess::Class { target: 0, class, accuracy, share })
    }

    #[test]
    fn a_model_that_always_says_the_same() {
        assert_eq!(two([[95.0, 0.0], [5.0, 0.0]]), guess(0, 0.95, 0.95));
        assert_eq!(two([[0.0, 95.0], [0.0, 5.0]]), guess(0, 0.05, 0.95));
        assert_eq!(two([[0.0, 4.0], [0.0, 6.0]]), guess(1, 0.6, 0.6));
        assert_eq!(two([[10.0, 0.0], [0.0, 0.0]]), None, "nothing could be better");
        assert_eq!(two([[9.0, 1.0], [0.0, 0.0]]), guess(0, 0.9, 1.0));
    }

    #[test]
    fn a_model_that_guesses() {
        // 60 to 40, predicted by a coin.
        assert_eq!(two([[310.0, 290.0], [200.0, 200.0]]), guess(0, 0.51, 0.6));
        // As often as each class is, and nearly so.
        assert_eq!(two([[36.0, 24.0], [24.0, 16.0]]), guess(0, 0.52, 0.6));
        assert_eq!(two([[91.0, 4.0], [5.0, 0.0]]), guess(0, 0.91, 0.95));
    }

    #[test]
    fn a_model_that_knows_something() {
        assert_eq!(two([[94.0, 1.0], [3.0, 2.0]]), None, "right more often");
        // Right less often, but most rows of the rare class are found.
        assert_eq!(two([[880.0, 70.0], [10.0, 40.0]]), None);
        assert_eq!(two([[50.0, 0.0], [0.0, 50.0]]), None);
        assert_eq!(two([[100.0, 0.0], [0.0, 0.0]]), None);
    }

    #[test]
    fn several_classes() {
        let class = |hits, predicted, actual| Counts { hits, predicted, actual };
        let stuck = [class(0.0, 0.0, 30.0), class(40.0, 100.0, 40.0), class(0.0, 0.0, 30.0)];
        let wanted = Guess::Class { target: 2, class: 1, accuracy: 0.4, share: 0.4 };
        assert_eq!(of_classes(2, &stuck), Some(wanted));
        let good = [class(25.0, 30.0, 30.0), class(35.0, 40.0, 40.0), class(25.0, 30.0, 30.0)];
        assert_eq!(of_classes(2, &good), None);
        // A class without rows counts for nothing.
        let absent = [class(5.0, 10.0, 10.0), class(0.0, 5.0, 0.0), class(0.0, 0.0, 5.0)];
        assert!(of_classes(0, &absent).is_some());
    }
}
