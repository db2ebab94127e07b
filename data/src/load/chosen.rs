//! Which columns of a file a job learns from, in which order, and what is wrong with what it says of them. Reads no rows.

use std::collections::HashSet;

use crate::columns::{ColumnEncoder, Missing, Scale};
use crate::error::{DataError, count, no_column, quote};
use crate::readers::open_table::OpenTable;
use crate::spec::{TableSource, TableSpec, TargetKind};
use crate::split::{self, SplitPart};

/// What can be wrong with the settings before any file is read.
pub(super) fn check(spec: &TableSpec, kind: TargetKind) -> Result<(), DataError> {
    let fault = |key, problem: String| Err(DataError::Spec { key, problem });
    if let Some((key, problem)) = spec.dialect.problem() {
        return fault(key, problem);
    }
    for (source, part) in [(&spec.test, SplitPart::Test), (&spec.validation, SplitPart::Validation)]
    {
        if let Some(TableSource::Fraction(fraction)) = source {
            split::check(*fraction, part)?;
        }
    }
    if spec.missing == Missing::Category {
        let problem = "found \"category\", wanted it for single columns alone, in `data.columns`";
        return fault("data.missing", problem.to_owned());
    }
    if spec.target.is_empty() {
        return fault("data.target", "found no column, wanted at least one".to_owned());
    }
    if !stands_for_all(spec) {
        check_targets(spec.target.len(), kind)?;
    }
    if let Some(name) = first_repeated(&spec.target) {
        return fault("data.target", format!("found {} twice", quote(name.as_bytes())));
    }
    if let Some(pair) = spec.train.own_targets()
        && let Some(problem) = spec.target.iter().find_map(|name| (pair.target_problem)(name))
    {
        return fault("data.target", problem);
    }
    let Some(features) = &spec.features else { return Ok(()) };
    if features.is_empty() {
        let problem =
            "found no column, wanted at least one; leave it out to use every other column";
        return fault("data.features", problem.to_owned());
    }
    if let Some(name) = first_repeated(features) {
        return fault("data.features", format!("found {} twice", quote(name.as_bytes())));
    }
    if let Some(name) = features.iter().find(|name| spec.target.contains(name)) {
        return fault("data.features", also_a_target(name));
    }
    Ok(())
}

fn also_a_target(name: &str) -> String {
    let name = quote(name.as_bytes());
    format!("found {name}, which is also in `data.target`; take it out of one")
}

/// Whether `data.target` is every column of the training table's own file of targets.
pub(super) fn stands_for_all(spec: &TableSpec) -> bool {
    spec.train.default_target().is_some_and(|name| spec.target == [name])
}

/// Whether so many target columns are what the network's outputs want.
pub(super) fn check_targets(targets: usize, kind: TargetKind) -> Result<(), DataError> {
    let problem = match kind {
        TargetKind::Classes { .. } if targets != 1 => {
            format!("found {targets} columns, wanted one column of labels for `cross_entropy`")
        }
        TargetKind::Binary { outputs } if targets != outputs => format!(
            "found {} for {} of the network, wanted one column for each output; set the last layer's `units` to \
             {targets}, or list {}",
            count(targets as u64, "column"),
            count(outputs as u64, "output"),
            count(outputs as u64, "column"),
        ),
        TargetKind::Numbers | TargetKind::Classes { .. } | TargetKind::Binary { .. } => {
            return Ok(());
        }
    };
    Err(DataError::Spec { key: "data.target", problem })
}

/// Whether the columns that the job says something of are there and can be told that.
pub(super) fn check_columns(
    spec: &TableSpec,
    opened: &dyn OpenTable,
    features: &[usize],
    targets: &[usize],
    kind: TargetKind,
) -> Result<(), DataError> {
    let name = |column: &usize| opened.columns()[*column].as_str();
    let features: HashSet<&str> = features.iter().map(name).collect();
    let targets: HashSet<&str> = targets.iter().map(name).collect();
    for (name, said) in &spec.columns {
        let fault = |problem: &str| {
            Err(DataError::Column { name: name.clone(), problem: problem.to_owned() })
        };
        let is_target = targets.contains(name.as_str());
        if !is_target && !features.contains(name.as_str()) {
            if said.encoder == Some(ColumnEncoder::Ignore) && opened.columns().contains(name) {
                continue;
            }
            if opened.columns().contains(name) {
                return fault(
                    "found a column that is neither a feature nor a target; add it to `data.features`, or take this out",
                );
            }
            let used: Vec<&str> = features.iter().chain(&targets).copied().collect();
            let used = sorted_as_in(opened, used);
            return Err(no_column(opened.path(), name, "data.columns", &used));
        }
        if let Some(problem) = said.problem() {
            return fault(&problem);
        }
        if !is_target {
            continue;
        }
        let is_embedded = said.dimension.is_some() || said.trainable.is_some();
        let is_read = said.kind.is_some() || said.order.is_some();
        if is_read || said.encoder.is_some() || is_embedded {
            return fault(
                "found a kind or an encoder for a target, wanted them for features alone; take them out: whether a target is a \
                 number or a label follows from `model.loss`",
            );
        }
        if said.scale.is_some_and(|scale| scale != Scale::NONE) && kind != TargetKind::Numbers {
            return fault("found a scale for a target of labels, wanted none; take it out");
        }
        if let Some(scale) = said.scale.filter(|scale| !scale.has_way_back()) {
            return fault(&format!(
                "found scale \"{scale}\" for a target, which has no way back to the target's own unit; wanted another, such as \
                 \"standard\" or \"log1p\""
            ));
        }
        if said.missing.is_some_and(Missing::fills) {
            return fault(
                "found a rule that fills a target's missing cells, wanted \"error\" or \"drop\": a target is never filled",
            );
        }
        if said.indicator {
            return fault(
                "found an indicator for a target, wanted it for features alone; take it out",
            );
        }
    }
    Ok(())
}

/// Some of a table's columns, in the table's order.
pub(super) fn sorted_as_in<'a>(opened: &'a dyn OpenTable, names: Vec<&str>) -> Vec<&'a str> {
    let names: HashSet<&str> = names.into_iter().collect();
    opened.columns().iter().map(String::as_str).filter(|name| names.contains(name)).collect()
}

fn first_repeated(names: &[String]) -> Option<&String> {
    let mut seen = HashSet::new();
    names.iter().find(|name| !seen.insert(name.as_str()))
}

/// File columns of the features and the targets, each in the network's order; `weight` is neither.
pub(super) fn columns(
    spec: &TableSpec,
    opened: &dyn OpenTable,
    weight: Option<usize>,
) -> Result<(Vec<usize>, Vec<usize>), DataError> {
    let find = |key: &str, names: &[String]| -> Result<Vec<usize>, DataError> {
        let column = |name: &String| {
            opened.find(name)?.ok_or_else(|| no_column(opened.path(), name, key, opened.columns()))
        };
        names.iter().map(column).collect()
    };
    let own = opened.targets();
    let targets = match stands_for_all(spec) {
        true => own.clone().collect(),
        false => find("data.target", &spec.target)?,
    };
    let is_feature = |column: &usize| {
        !targets.contains(column) && !own.contains(column) && Some(*column) != weight
    };
    let mut features: Vec<usize> = match &spec.features {
        Some(names) => find("data.features", names)?,
        None => (0..opened.columns().len()).filter(is_feature).collect(),
    };
    features.retain(|&column| {
        let said = spec.columns.get(&opened.columns()[column]);
        said.is_none_or(|said| said.encoder != Some(ColumnEncoder::Ignore))
    });
    if let Some(&column) = features.iter().find(|column| targets.contains(column)) {
        let problem = also_a_target(&opened.columns()[column]);
        return Err(DataError::Spec { key: "data.features", problem });
    }
    if features.is_empty() {
        let problem = "found no column besides the target, wanted at least one feature";
        return Err(DataError::table(opened.path(), problem));
    }
    if let Some(column) = features.iter().find(|&&column| opened.columns()[column].is_empty()) {
        let problem = format!(
            "column {} has no name; give it one, or list the columns to use in `data.features`",
            column + 1
        );
        return Err(DataError::table(opened.path(), problem));
    }
    if spec.features.is_none() {
        // Two of one name are an error only where they are used.
        for &column in &features {
            opened.find(&opened.columns()[column])?;
        }
    }
    Ok((features, targets))
}
