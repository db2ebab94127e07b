//! How well classes are told apart, as `evaluate` and the end of a run report it: numbers and, for people, tables. Computes nothing.

use lockstep_model::Threshold;
use lockstep_proto::words::count;
use serde::{Deserialize, Serialize};

use super::figures::{figure, side_by_side};

/// Most classes of a confusion matrix that is printed.
const SHOWN_MAX: usize = 20;

/// Of one target whose values are classes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TargetClasses {
    /// The target.
    pub target: String,
    /// Every class, in the order of the outputs.
    pub classes: Vec<Class>,
    /// Rows of each class (outer) by predicted class (inner); empty where there are too many classes.
    pub confusion: Vec<Vec<u64>>,
    /// Where there are two classes and one output: the score above which a row was predicted to be of class 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threshold: Option<Threshold>,
    /// Of class 1, where there are two: what it would be with another threshold.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub thresholds: Vec<AtThreshold>,
}

/// One class.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Class {
    /// Its label.
    pub label: String,
    /// Share of hits among what is predicted to be of it.
    pub precision: f64,
    /// Share of hits among its rows.
    pub recall: f64,
    /// Their harmonic mean.
    pub f1: f64,
    /// Its rows.
    pub support: u64,
}

/// What a threshold makes of class 1.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct AtThreshold {
    /// Rows with a larger probability are predicted to be of class 1.
    pub threshold: f64,
    /// As of a class.
    pub precision: f64,
    /// As of a class.
    pub recall: f64,
    /// As of a class.
    pub f1: f64,
}

/// The tables of a run's test table, a line each; only a word of those that are long.
pub(super) fn lines_at_end(all: &[TargetClasses]) -> Vec<String> {
    if all.is_empty() {
        return Vec::new();
    }
    let targets = all.len();
    let classes = all.iter().map(|of| of.classes.len()).max().unwrap_or(0);
    if targets.max(classes) > SHOWN_MAX {
        let what = match classes > SHOWN_MAX {
            true => count(classes as u64, "class"),
            false => count(targets as u64, "target"),
        };
        let text = format!(
            "{what} of the test table: lockstep evaluate shows precision and recall of each"
        );
        return vec![text];
    }
    let tables = all.iter().flat_map(lines);
    ["".to_string(), "test table:".to_string()]
        .into_iter()
        .chain(tables.skip(1))
        .chain([String::new()])
        .collect()
}

/// The tables of a target, a line each.
pub(super) fn lines(of: &TargetClasses) -> Vec<String> {
    let column = |name: &str, cell: &dyn Fn(&Class) -> String| {
        let cells = of.classes.iter().map(cell);
        std::iter::once(name.to_string()).chain(cells).collect::<Vec<_>>()
    };
    let classes = [
        column(&of.target, &|class| class.label.clone()),
        column("precision", &|class| figure(class.precision)),
        column("recall", &|class| figure(class.recall)),
        column("f1", &|class| figure(class.f1)),
        column("rows", &|class| class.support.to_string()),
    ];
    let mut lines = vec![String::new()];
    lines.extend(side_by_side(&classes, &[0]));
    if let Some(threshold) = of.threshold.filter(|&threshold| threshold != Threshold::HALF)
        && let Some(positive) = of.classes.get(1)
    {
        let (label, threshold) = (&positive.label, figure(threshold.into()));
        lines.push(format!("{label} is predicted where its probability is above {threshold}"));
    }
    lines.push(String::new());
    lines.extend(confusion(of));
    if let Some(positive) = of.classes.get(1).filter(|_| !of.thresholds.is_empty()) {
        let column = |name: &str, cell: &dyn Fn(&AtThreshold) -> String| {
            let cells = of.thresholds.iter().map(cell);
            std::iter::once(name.to_string()).chain(cells).collect::<Vec<_>>()
        };
        lines
            .extend([String::new(), format!("{} where its probability is above:", positive.label)]);
        let columns = [
            column("threshold", &|row| tenths(row.threshold)),
            column("precision", &|row| figure(row.precision)),
            column("recall", &|row| figure(row.recall)),
            column("f1", &|row| figure(row.f1)),
        ];
        lines.extend(side_by_side(&columns, &[]));
    }
    lines
}

/// A threshold of one that is chosen has more digits than those that are tried.
fn tenths(threshold: f64) -> String {
    match (threshold * 10.0).fract() == 0.0 {
        true => format!("{threshold:.1}"),
        false => figure(threshold),
    }
}

fn confusion(of: &TargetClasses) -> Vec<String> {
    if of.classes.len() > SHOWN_MAX {
        let classes = count(of.classes.len() as u64, "class");
        return vec![format!("a confusion matrix of {classes} is not shown: --output FILE has it")];
    }
    let labels = || of.classes.iter().map(|class| class.label.clone());
    let first = std::iter::once("true, predicted:".to_string()).chain(labels()).collect();
    let predicted = labels().enumerate().map(|(place, label)| {
        let cells = of.confusion.iter().map(|row| row[place].to_string());
        std::iter::once(label).chain(cells).collect()
    });
    side_by_side(&std::iter::once(first).chain(predicted).collect::<Vec<Vec<_>>>(), &[0])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_of_two_classes() {
        let class = |label: &str, support| Class {
            label: label.into(),
            precision: 0.5,
            recall: 1.0,
            f1: 2.0 / 3.0,
            support,
        };
        let of = TargetClasses {
            target: "ill".into(),
            classes: vec![class("no", 3), class("yes", 1)],
            confusion: vec![vec![2, 1], vec![0, 1]],
            threshold: Some(Threshold::HALF),
            thresholds: vec![AtThreshold { threshold: 0.1, precision: 0.5, recall: 1.0, f1: 0.25 }],
        };
        let wanted = [
            "",
            "ill  precision  recall      f1  rows",
            "no      0.5000  1.0000  0.6667     3",
            "yes     0.5000  1.0000  0.6667     1",
            "",
            "true, predicted:  no  yes",
            "no                 2    1",
            "yes                0    1",
            "",
            "yes where its probability is above:",
            "threshold  precision  recall      f1",
            "      0.1     0.5000  1.0000  0.2500",
        ];
        assert_eq!(lines(&of), wanted);
        let threshold = Threshold::try_from(0.25).ok();
        let found = lines(&TargetClasses { threshold, ..of.clone() });
        assert_eq!(found[4], "yes is predicted where its probability is above 0.2500");
        assert_eq!((found.len(), &found[5..]), (wanted.len() + 1, &lines(&of)[4..]));
        let found = lines_at_end(&[TargetClasses { thresholds: Vec::new(), ..of.clone() }]);
        assert_eq!(found[..2], ["", "test table:"]);
        assert_eq!(found[2..10], wanted[1..9]);
        let many = TargetClasses { classes: vec![of.classes[0].clone(); 21], ..of };
        let text =
            "21 classes of the test table: lockstep evaluate shows precision and recall of each";
        assert_eq!(lines_at_end(&[many]), [text]);
        assert!(lines_at_end(&[]).is_empty());
    }
}
