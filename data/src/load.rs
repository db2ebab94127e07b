//! From a job's tables to rows ready for training: read, drop, split, fit on the training rows, preprocess, in that
//! order. The steps themselves live elsewhere.

use std::collections::HashSet;
use std::sync::Arc;

use lockstep_proto::ids::Table;

use crate::columns::{ColumnEncoder, ColumnKind, Missing, Scale};
use crate::doubles;
use crate::error::{DataError, count, no_column, quote};
use crate::fit::fit;
use crate::infer::{self, Found, Guess};
use crate::leaks::leaks;
use crate::raw::RawTable;
use crate::readers::open_table::OpenTable;
use crate::rows::Rows;
use crate::schema::{Reader, Rule, Schema, Unseen, Want, selection, usable_rows};
use crate::selection::{Selected, Selection};
use crate::spec::{TableSource, TableSpec, TargetKind};
use crate::split::{self, SplitPart};
use crate::strata::{Split, split};
use crate::summary::{Detail, FeatureSummary, KindFound, Summary, TableSummary};
use crate::table_file::TableFile;
use crate::weights;

/// The share of a table's rows that may have categories that training never saw without a word.
const UNSEEN_SHARE_MAX: f64 = 0.02;

/// The tables of a job, preprocessed.
#[derive(Clone, Debug)]
pub struct Dataset {
    /// The rows to learn from.
    pub train: Rows,
    /// The rows to measure after every epoch.
    pub validation: Option<Rows>,
    /// The rows to measure at the end.
    pub test: Option<Rows>,
    /// How to read further rows the same way.
    pub schema: Schema,
    /// What the tables looked like before scaling.
    pub summary: Summary,
    /// What is odd about them, one message each.
    pub warnings: Vec<String>,
}

/// Reads, splits and preprocesses the tables of a job. `seed` chooses the rows of fractions.
pub fn load(
    spec: &TableSpec,
    kind: TargetKind,
    seed: u64,
    detail: Detail,
) -> Result<Dataset, DataError> {
    check(spec, kind)?;
    let opened = spec.train.open(&spec.dialect)?;
    let weight = weights::column(spec, &*opened)?;
    let (features, targets) = columns(spec, &*opened, weight)?;
    check_targets(targets.len(), kind)?;
    check_columns(spec, &*opened, &features, &targets, kind)?;
    let weight = weight.map(weights::selected);
    let Opened { mut raw, guesses } = open(spec, opened, (features, targets, weight), kind)?;
    let usable = usable_rows(&raw)?;
    let dropped = (raw.rows - usable.len()) as u64;
    let Split { train: train_rows, validation, test, warnings } = split(spec, &raw, usable, seed)?;

    let mut seen = TableSummary::new(Table::Train, &raw, &train_rows, dropped);
    let found = found(spec, &raw, &train_rows, &guesses, &seen)?;
    let kind_of = |found: &Found| KindFound { kind: found.kind, why: found.why.clone() };
    let kinds = found.iter().map(kind_of).collect();
    let schema = fit(&raw, &train_rows, &seen, found, kind, spec)?;
    let leaks = leaks(&raw, &train_rows, &seen, detail);
    let lookups = schema.lookups();
    seen.count_distinct(&raw, &train_rows, &schema, detail);
    let held_out = |table, rows: Option<Vec<u32>>| {
        rows.map(|rows| HeldOut {
            seen: TableSummary::new(table, &raw, &rows, 0),
            unseen: lookups.unseen(&raw, &rows),
            rows,
        })
    };
    let validation = held_out(Table::Validation, validation);
    let test = held_out(Table::Test, test);
    let weights = weights::of(&raw, &train_rows)?;
    let [train, validation_rows, test_rows] = schema.preprocess(
        &lookups,
        &mut raw,
        [&train_rows, rows_of(&validation), rows_of(&test)],
    )?;
    drop(lookups);
    seen.count_labels(&schema, &train);
    drop((raw, train_rows));
    let train = match weights {
        Some(weights) => train.weighted(&weights),
        None => train,
    };
    let mut tables = vec![seen];
    let mut unseen_warnings = Vec::new();

    let mut measure = |table, source: &Option<TableSource>, held_out: Option<HeldOut>, values| {
        let (values, seen, unseen) = match (held_out, source) {
            (Some(HeldOut { mut seen, unseen, .. }), _) => {
                seen.count_labels(&schema, &values);
                (values, seen, unseen)
            }
            (None, Some(TableSource::File(file))) => read(table, &schema, file)?,
            (None, _) => return Ok(None),
        };
        let place = format!("{table} table ({})", seen.path.display());
        // A few are in every table that is measured; `evaluate` and `predict` tell all.
        let is_odd = |unseen: &&Unseen| unseen.rows as f64 > UNSEEN_SHARE_MAX * seen.rows as f64;
        let odd = unseen.iter().filter(is_odd);
        unseen_warnings.extend(odd.map(|unseen| format!("{place}: {unseen}")));
        tables.push(seen);
        Ok::<_, DataError>(Some(values))
    };
    let validation = measure(Table::Validation, &spec.validation, validation, validation_rows)?;
    let test = measure(Table::Test, &spec.test, test, test_rows)?;

    let summary = Summary { tables, kinds };
    let doubled = match detail {
        Detail::Full => {
            doubles::warnings(&train, [(Table::Validation, &validation), (Table::Test, &test)])
        }
        Detail::Usual => Vec::new(),
    };
    let warnings = [summary.warnings(&schema), leaks, warnings, unseen_warnings, doubled].concat();
    Ok(Dataset { train, validation, test, schema, summary, warnings })
}

/// Rows of the training file that are another table.
struct HeldOut {
    rows: Vec<u32>,
    seen: TableSummary,
    unseen: Vec<Unseen>,
}

/// A job's training table, read, and what each feature was taken for.
struct Opened {
    raw: RawTable,
    guesses: Vec<Guess>,
}

/// Reads the training table: features of texts as texts, whether the job says so, their first rows look so, or a text comes
/// later; then all is read again.
fn open(
    spec: &TableSpec,
    opened: Arc<dyn OpenTable>,
    (features, targets, weight): (Vec<usize>, Vec<usize>, Option<Selected>),
    kind: TargetKind,
) -> Result<Opened, DataError> {
    let name = |opened: &dyn OpenTable, column: usize| opened.columns()[column].clone();
    let looks = opened.look(&features);
    let said = |column: &usize| spec.columns.get(&name(&*opened, *column))?.implied_kind();
    let guess = |(column, look)| Guess::new(said(column), look);
    let mut guesses: Vec<Guess> = features.iter().zip(looks).map(guess).collect();
    let select = |opened: &dyn OpenTable, guesses: &[Guess]| {
        let feature = |(&column, guess): (&usize, &Guess)| {
            let rule = Rule::of(spec.feature(&name(opened, column)));
            (column, Rule { is_text: guess.is_text, notes_text: guess.said.is_none(), ..rule })
        };
        let target = |&column: &usize| (column, Rule::of(spec.target(&name(opened, column))));
        let selection = selection(
            features.iter().zip(guesses).map(feature),
            targets.iter().map(target),
            kind,
            Want::FeaturesAndTargets,
            Reader::Job,
        );
        Selection { weight, ..selection }
    };
    let first = select(&*opened, &guesses);
    let mut raw = RawTable::read(opened, first)?;
    if !raw.noted.is_empty() {
        let features = features.iter().zip(&mut guesses);
        let noted = features.filter(|(column, _)| raw.noted.contains(column));
        noted.for_each(|(_, guess)| guess.is_text = true);
        let again = select(&*raw.table, &guesses);
        raw = RawTable::read(raw.table, again)?;
    }
    Ok(Opened { raw, guesses })
}

/// What each feature is in the training rows.
fn found(
    spec: &TableSpec,
    raw: &RawTable,
    rows: &[u32],
    guesses: &[Guess],
    seen: &TableSummary,
) -> Result<Vec<Found>, DataError> {
    let mut labels = 0..;
    let features = raw.selection.features.iter().zip(guesses).zip(&seen.features);
    let feature = |((selected, guess), seen): ((&Selected, &Guess), &FeatureSummary)| match seen {
        FeatureSummary::Number(number) => {
            let is_there = number.missing < rows.len() as u64;
            let range = is_there.then_some((number.min, number.max));
            let is_truth = range.is_none_or(|(min, max)| min >= 0.0 && max <= 1.0);
            if guess.said == Some(ColumnKind::Boolean) && !is_truth {
                let problem = format!(
                    "found numbers from {} to {}, wanted truth values or 0 and 1; set `kind = \"number\"`",
                    number.min, number.max
                );
                return Err(DataError::Column { name: number.name.clone(), problem });
            }
            Ok(infer::of_numbers(*guess, range))
        }
        FeatureSummary::Text(_) => {
            let label = labels.next().unwrap_or_default();
            infer::of_texts(raw, rows, (selected.column, label), *guess, spec)
        }
    };
    features.map(feature).collect()
}

fn rows_of(held_out: &Option<HeldOut>) -> &[u32] {
    held_out.as_ref().map_or(&[], |held_out| &held_out.rows)
}

/// Reads a table that has a file of its own.
fn read(
    table: Table,
    schema: &Schema,
    file: &TableFile,
) -> Result<(Rows, TableSummary, Vec<Unseen>), DataError> {
    let mut raw = schema.open(file, Want::FeaturesAndTargets, Reader::Job)?;
    let rows = usable_rows(&raw)?;
    let mut summary = TableSummary::new(table, &raw, &rows, (raw.rows - rows.len()) as u64);
    let lookups = schema.lookups();
    let unseen = lookups.unseen(&raw, &rows);
    let [values] = schema.preprocess(&lookups, &mut raw, [&rows])?;
    summary.count_labels(schema, &values);
    Ok((values, summary, unseen))
}

/// What can be wrong with the settings before any file is read.
fn check(spec: &TableSpec, kind: TargetKind) -> Result<(), DataError> {
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
fn stands_for_all(spec: &TableSpec) -> bool {
    spec.train.default_target().is_some_and(|name| spec.target == [name])
}

/// Whether so many target columns are what the network's outputs want.
fn check_targets(targets: usize, kind: TargetKind) -> Result<(), DataError> {
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
fn check_columns(
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
        if said.kind.is_some() || said.encoder.is_some() || said.dimension.is_some() {
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
fn sorted_as_in<'a>(opened: &'a dyn OpenTable, names: Vec<&str>) -> Vec<&'a str> {
    let names: HashSet<&str> = names.into_iter().collect();
    opened.columns().iter().map(String::as_str).filter(|name| names.contains(name)).collect()
}

fn first_repeated(names: &[String]) -> Option<&String> {
    let mut seen = HashSet::new();
    names.iter().find(|name| !seen.insert(name.as_str()))
}

/// File columns of the features and the targets, each in the network's order; `weight` is neither.
fn columns(
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
