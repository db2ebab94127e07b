//! Predictions for the rows of a table, written as another table: batch by batch, in the table's order, on all cores. The
//! bits of a row do not depend on the rows beside it, and so neither on batches nor on threads.

use std::io::{self, ErrorKind};
use std::path::Path;

use lockstep_data::{
    EncodedRows, OutputFormat, RawRows, Rows, Sink, TableFile, TableWriter, TargetKind, Texts,
    Unseen, ValueKind, Values, WrittenColumn,
};

use super::{largest, outputs, pipeline};
use crate::error::{Error, Result};
use crate::run_folder::Model;

/// Values of the network's outputs in a batch, at most, unless a row has more.
const BATCH_OUTPUTS: usize = 1 << 20;

/// Rows of a batch, at most or thereabouts.
const BATCH_ROWS: usize = 4096;

/// What is to be predicted, and how that is written.
pub struct Request<'a> {
    /// The table.
    pub data: &'a TableFile,
    /// Columns of it that come first, as they are: each a name, or several with commas between them.
    pub keep: &'a [String],
    /// How the predictions are written.
    pub format: OutputFormat,
    /// What they are written to, for messages.
    pub output: &'a Path,
}

/// What was predicted.
pub struct Predicted {
    /// Rows that were written.
    pub rows: u64,
    /// Categories that training never saw.
    pub unseen: Vec<Unseen>,
}

/// Writes predictions for a raw table, a row for each of its rows: the target's value, or the label and the probability of
/// every class. A target that is scaled comes in its own unit, with all the digits of an `f64`. Where a reader of a pipe goes
/// away, no more is written, and that is no error.
///
/// # Errors
/// If the table lacks a feature or a cell, or the predictions cannot be written as wanted. Some may be written by then.
pub fn predict(model: &Model, request: &Request<'_>, to: Sink) -> Result<Predicted> {
    let &Request { data, keep, format, output } = request;
    let rows_max = (BATCH_OUTPUTS / model.network.outputs().max(1)).clamp(1, BATCH_ROWS);
    let (mut source, encoder) = model.schema.stream(data, keep, rows_max)?;
    let kept = source.passed().iter().map(|column| WrittenColumn {
        name: column.name.clone(),
        kind: column.kind,
        may_miss: true,
        chars_max: None,
    });
    let columns = columns(kept.collect(), predicted_columns(model))?;
    let wrong = |problem: String| Error::File { path: output.to_path_buf(), problem };
    format.check(&columns).map_err(wrong)?;
    let work = |rows: RawRows| {
        let EncodedRows { rows, passed, unseen } = encoder.encode(rows)?;
        let count = rows.len() as u64;
        let values = passed.into_iter().chain(predicted(model, &rows)).collect();
        let ready = format.ready(&columns, values).map_err(Stop::Output)?;
        Ok((ready, count, unseen))
    };
    let mut found = Predicted { rows: 0, unseen: Vec::new() };
    let mut target = Target::Waiting(to);
    let at_once = 2 * rayon::current_num_threads();
    let ended = pipeline::run(
        at_once,
        || Ok(source.next()?),
        work,
        |(ready, rows, unseen)| {
            target.begun(format, &columns)?.write(ready)?;
            found.rows += rows;
            Unseen::add(&mut found.unseen, unseen);
            Ok(())
        },
    );
    match ended.and_then(|()| target.finish()) {
        Ok(()) => Ok(found),
        // The reader has seen enough.
        Err(Stop::Output(error)) if error.kind() == ErrorKind::BrokenPipe => Ok(found),
        Err(Stop::Output(error)) if error.kind() == ErrorKind::InvalidData => {
            Err(wrong(error.to_string()))
        }
        Err(Stop::Output(error)) => Err(Error::file(output, "write it", &error)),
        Err(Stop::Input(error)) => Err(error),
    }
}

/// The features of every row of a raw table, in its order, as the network gets them, in memory as a whole; and the categories that
/// training never saw.
///
/// # Errors
/// If the table lacks a feature or a cell.
pub fn encoded_rows(model: &Model, data: &TableFile) -> Result<(Rows, Vec<Unseen>)> {
    let (mut source, encoder) = model.schema.stream(data, &[], BATCH_ROWS)?;
    let (mut all, mut found) = (Rows::default(), Vec::new());
    while let Some(raw) = source.next()? {
        let EncodedRows { rows, unseen, .. } = encoder.encode(raw)?;
        all.features = rows.features;
        all.values.extend(rows.values);
        Unseen::add(&mut found, unseen);
    }
    Ok((all, found))
}

/// Why there are no more predictions.
enum Stop {
    Input(Error),
    Output(io::Error),
}

impl From<lockstep_data::DataError> for Stop {
    fn from(error: lockstep_data::DataError) -> Stop {
        Stop::Input(error.into())
    }
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Stop {
        Stop::Output(error)
    }
}

/// Where predictions go: nothing is written before the first ones are there.
enum Target {
    Waiting(Sink),
    Begun(TableWriter),
    Over,
}

impl Target {
    fn begun(
        &mut self,
        format: OutputFormat,
        columns: &[WrittenColumn],
    ) -> io::Result<&mut TableWriter> {
        if let Target::Waiting(_) = self
            && let Target::Waiting(to) = std::mem::replace(self, Target::Over)
        {
            *self = Target::Begun(format.begin(columns, to)?);
        }
        match self {
            Target::Begun(writer) => Ok(writer),
            Target::Waiting(_) | Target::Over => Err(io::Error::other("it could not be begun")),
        }
    }

    fn finish(self) -> std::result::Result<(), Stop> {
        match self {
            Target::Begun(writer) => Ok(writer.finish()?),
            Target::Waiting(_) | Target::Over => Ok(()),
        }
    }
}

/// Those that are kept, then those that are predicted, no two of one name.
fn columns(kept: Vec<WrittenColumn>, predicted: Vec<WrittenColumn>) -> Result<Vec<WrittenColumn>> {
    for (place, WrittenColumn { name, .. }) in kept.iter().enumerate() {
        if predicted.iter().any(|column| column.name == *name) {
            return Err(Error::Arguments(format!(
                "--keep {name}: the predictions have a column {name:?} of their own; leave it out, or give the table's \
                 another name"
            )));
        }
        if kept[..place].iter().any(|column| column.name == *name) {
            return Err(Error::Arguments(format!("--keep {name}: found it twice, wanted it once")));
        }
    }
    Ok([kept, predicted].concat())
}

/// The columns of the predictions.
fn predicted_columns(model: &Model) -> Vec<WrittenColumn> {
    let (schema, names) = (&model.schema, model.schema.target_names());
    let number =
        |name: String, kind| WrittenColumn { name, kind, may_miss: false, chars_max: None };
    let label = |target: usize, classes: usize| {
        let chars = |class| schema.label(target, class).chars().count();
        let chars_max = (0..classes).map(chars).max();
        let name = names[target].clone();
        WrittenColumn { name, kind: ValueKind::Text, may_miss: false, chars_max }
    };
    let probability = |target: usize, class: usize| {
        let name = format!("{}_{}", names[target], schema.label(target, class));
        number(name, ValueKind::Single)
    };
    match schema.kind {
        TargetKind::Numbers => {
            let kind =
                if model.network.has_units() { ValueKind::Double } else { ValueKind::Single };
            names.iter().map(|name| number(name.clone(), kind)).collect()
        }
        TargetKind::Classes { outputs } => {
            let probabilities = (0..outputs).map(|class| probability(0, class));
            std::iter::once(label(0, outputs)).chain(probabilities).collect()
        }
        TargetKind::Binary { outputs } => {
            (0..outputs).flat_map(|target| [label(target, 2), probability(target, 1)]).collect()
        }
    }
}

/// What is predicted for some rows, column by column.
fn predicted(model: &Model, rows: &Rows) -> Vec<Values> {
    let (schema, outputs) = (&model.schema, outputs(model, rows));
    let singles = |output: usize| {
        Values::Singles(outputs.column(output).iter().map(|&value| Some(value)).collect())
    };
    let labels = |target: usize, classes: &mut dyn Iterator<Item = usize>| {
        let mut labels = Texts::default();
        classes.for_each(|class| labels.push(Some(schema.label(target, class))));
        Values::Texts(labels)
    };
    match schema.kind {
        TargetKind::Numbers if model.network.has_units() => {
            let own = |target: usize| {
                let cells = outputs.column(target).into_iter();
                let cells = cells.map(|&value| Some(model.network.in_own_unit(target, value)));
                Values::Doubles(cells.collect())
            };
            (0..outputs.ncols()).map(own).collect()
        }
        TargetKind::Numbers => (0..outputs.ncols()).map(singles).collect(),
        TargetKind::Classes { .. } => {
            let rows = outputs.rows().into_iter();
            let mut classes = rows.map(|row| largest(row.iter().copied()));
            let label = labels(0, &mut classes);
            std::iter::once(label).chain((0..outputs.ncols()).map(singles)).collect()
        }
        TargetKind::Binary { .. } => {
            let both = |target: usize| {
                let cells = outputs.column(target).into_iter();
                let mut classes = cells.map(|&probability| model.class_of(probability));
                [labels(target, &mut classes), singles(target)]
            };
            (0..outputs.ncols()).flat_map(both).collect()
        }
    }
}
