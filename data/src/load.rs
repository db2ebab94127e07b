//! From a job's tables to rows ready for training: read, drop, split, fit on the training rows, preprocess, in that
//! order. The steps themselves live elsewhere.

mod chosen;

use std::sync::Arc;

use lockstep_proto::ids::Table;

use crate::columns::{ColumnKind, Missing};
use crate::doubles;
use crate::error::DataError;
use crate::fit::fit;
use crate::infer::{self, Found, Guess};
use crate::leaks::leaks;
use crate::raw::RawTable;
use crate::readers::open_table::OpenTable;
use crate::rows::Rows;
use crate::schema::{Reader, Rule, Schema, Unseen, Want, selection, usable_rows};
use crate::selection::{Selected, Selection};
use crate::sentinels;
use crate::spec::{TableSource, TableSpec, TargetKind};
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
    chosen::check(spec, kind)?;
    let opened = spec.train.open(&spec.dialect)?;
    let weight = weights::column(spec, &*opened)?;
    let (features, targets) = chosen::columns(spec, &*opened, weight)?;
    chosen::check_targets(targets.len(), kind)?;
    chosen::check_columns(spec, &*opened, &features, &targets, kind)?;
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
    let sentinels = match detail {
        Detail::Full => sentinels::warnings(&raw, &train_rows, &seen),
        Detail::Usual => Vec::new(),
    };
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
    let warnings =
        [summary.warnings(&schema), leaks, sentinels, warnings, unseen_warnings, doubled].concat();
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
/// later, and so codes; then all is read again.
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
            (column, Rule { is_text: guess.is_text, notes_text: guess.notes_text(), ..rule })
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
    // A rule that fills is for numbers alone.
    let fills =
        |name: &str| spec.columns.get(name).and_then(|own| own.missing).is_some_and(Missing::fills);
    let read = |guesses: &[Guess]| RawTable::read(opened.clone(), select(&*opened, guesses));
    let raw = infer::read(&mut guesses, |name| !fills(name), &spec.dialect, read)?;
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
