//! How well a model does, row by row, on a table of its run: what a report shows. Bounded, whatever the table: long curves are
//! thinned, and of many targets and classes some are left out and counted.

use lockstep_data::{Rows, TargetKind};
use lockstep_model::{average_precision, roc_auc};
use lockstep_status::value::{
    ClassCounts, ClassCurves, Classes, Evaluation, TargetEvaluation, finite,
};

use super::{Compared, classes, curves, measured, not_finite, residuals};
use crate::report::classes::TargetClasses;
use crate::run_folder::Model;

/// Most targets, classes of a matrix, and classes with curves.
const TARGETS_MAX: usize = 16;
const MATRIX_CLASSES_MAX: usize = 50;
const CURVES_MAX: usize = 10;

/// Most classes that are counted one by one.
const CLASSES_MAX: usize = 1000;

/// What a model makes of rows of a table of that name, which it did not learn from.
///
/// # Errors
/// In words, if its loss is not finite on them.
pub fn examine(model: &Model, table: &str, rows: &Rows) -> Result<Evaluation, String> {
    let compared = Compared::of(model, rows);
    let (_, values) =
        measured(model, rows.clone(), Some(&compared)).map_err(|fault| not_finite(&fault))?;
    let names = model.schema.target_names();
    let examined: Vec<TargetEvaluation> = match model.schema.kind {
        TargetKind::Numbers => {
            let names = names.iter().take(TARGETS_MAX).enumerate();
            names.map(|(place, name)| numbers(model, place, name, &compared)).collect()
        }
        _ => {
            let found = classes::classes(model, &compared).into_iter().enumerate();
            let found = found.take(TARGETS_MAX);
            found.map(|(place, found)| of_classes(model, place, found, &compared)).collect()
        }
    };
    Ok(Evaluation {
        table: table.to_string(),
        rows: rows.len() as u64,
        step: model.step,
        values: values.into_iter().map(|(name, value)| (name, finite(value))).collect(),
        loss_is_scaled: model.network.has_units(),
        targets_left_out: names.len() - examined.len(),
        targets: examined,
        importance: None,
        importance_missing: None,
    })
}

fn numbers(model: &Model, place: usize, name: &str, compared: &Compared) -> TargetEvaluation {
    let Compared { targets, outputs } = compared;
    let own = |value: &f32| model.network.in_own_unit(place, *value);
    let actual = targets.column(place).into_iter().map(own);
    let rows: Vec<(f64, f64)> = actual.zip(outputs.column(place).into_iter().map(own)).collect();
    let residuals = Some(residuals::residuals(&rows));
    TargetEvaluation { target: name.to_string(), classes: None, residuals }
}

fn of_classes(
    model: &Model,
    target: usize,
    found: TargetClasses,
    compared: &Compared,
) -> TargetEvaluation {
    let TargetClasses { target: name, classes: counted, confusion, threshold, .. } = found;
    // Each scored class and its output: of two classes there is one score.
    let scored: Vec<(usize, usize)> = match model.schema.kind {
        TargetKind::Binary { .. } => vec![(1, target)],
        TargetKind::Classes { outputs: 2 } => vec![(1, 1)],
        _ => {
            let mut places: Vec<usize> = (0..counted.len()).collect();
            places.sort_by_key(|&class| std::cmp::Reverse(counted[class].support));
            places.truncate(CURVES_MAX);
            places.sort_unstable();
            places.into_iter().map(|class| (class, class)).collect()
        }
    };
    let is_of_two = counted.len() == 2;
    let curves = scored.iter().map(|&(class, output)| {
        let scores = classes::scored(model, compared, output);
        of_class(&counted[class].label, &scores)
    });
    let curves: Vec<ClassCurves> = curves.collect();
    let classes = Classes {
        curves_left_out: if is_of_two { 0 } else { counted.len() - curves.len() },
        curves,
        threshold: threshold.map(f64::from),
        confusion: if counted.len() > MATRIX_CLASSES_MAX { Vec::new() } else { confusion },
        classes: counted
            .into_iter()
            .take(CLASSES_MAX)
            .map(|class| ClassCounts {
                label: class.label,
                precision: finite(class.precision),
                recall: finite(class.recall),
                f1: finite(class.f1),
                support: class.support,
            })
            .collect(),
    };
    TargetEvaluation { target: name, classes: Some(classes), residuals: None }
}

fn of_class(label: &str, scores: &[(f32, bool)]) -> ClassCurves {
    let groups = classes::groups(scores.iter().copied());
    let (calibration, calibration_error) = curves::calibration(scores);
    let rows = scores.iter().filter(|(_, is_of_it)| *is_of_it).count() as u64;
    ClassCurves {
        label: label.to_string(),
        rows,
        roc: curves::roc(&groups),
        precision_recall: curves::precision_recall(&groups),
        roc_auc: finite(roc_auc(groups.iter().copied())),
        average_precision: (rows > 0).then(|| average_precision(groups)),
        calibration,
        calibration_error,
    }
}
