//! From the cells of a raw table to rows of the network: filled, scaled, encoded, each number rounded once. Fits nothing.

use super::{Cells, Schema, Unseen};
use crate::block::{Block, MISSING_LABEL, Places};
use crate::columns::{Column, Lookup, Missing};
use crate::error::{DataError, column_key, list, quote};
use crate::labels::Classes;
use crate::raw::{BadCell, RawTable};
use crate::rows::Rows;
use crate::selection::{Kind, Selected};

/// Rows that are turned at once.
const BLOCK_ROWS: usize = 512;

impl Schema {
    /// Fills, scales and encodes the rows of each part, which are in the file's order. Afterwards the raw table holds no
    /// rows.
    pub(crate) fn preprocess<const PARTS: usize>(
        &self,
        lookups: &Lookups<'_>,
        raw: &mut RawTable,
        parts: [&[u32]; PARTS],
    ) -> Result<[Rows; PARTS], DataError> {
        let (numbers, targets) = (self.inputs(), raw.selection.targets.len());
        let inputs = numbers + self.embeddings().len();
        let width = inputs + targets;
        let texts = lookups.numbers(raw);
        let sources = raw.selection.places();
        let mut values = parts.map(|rows| vec![0.0; rows.len() * width]);
        let outs = values.iter_mut().map(Vec::as_mut_slice);
        raw.turn(parts.into_iter().zip(outs).collect(), width, &|raw, block, places, out| {
            let mut scratch = Scratch::default();
            let outs = out.chunks_mut(BLOCK_ROWS * width);
            for (places, out) in places.chunks(BLOCK_ROWS).zip(outs) {
                let mut to = Turned { out, numbers, inputs, width, places, bad: None };
                self.turn(
                    &TurnedFrom { raw, texts: &texts, sources: &sources, block },
                    &mut to,
                    &mut scratch,
                );
                to.bad.map_or(Ok(()), Err)?;
            }
            Ok(())
        })?;
        Ok(values.map(|values| Rows::new(inputs, targets, values)))
    }

    /// Turns rows that stay in a processor's cache while one column after another is turned.
    fn turn(&self, from: &TurnedFrom<'_>, to: &mut Turned<'_>, scratch: &mut Scratch) {
        let TurnedFrom { raw, texts, sources, block } = *from;
        let columns = self.features.iter().chain(&self.targets);
        let (mut first, mut place) = (0, to.numbers);
        for (at, ((column, selected), source)) in
            columns.zip(raw.selection.all()).zip(sources).enumerate()
        {
            let is_target = at >= self.features.len();
            if at == self.features.len() {
                first = to.inputs;
            }
            match *source {
                Kind::Label(label) if is_target => {
                    self.turn_labels(from, at - self.features.len(), label, selected, to);
                    first += 1;
                    continue;
                }
                Kind::Label(label) => {
                    let numbers = &texts[label];
                    scratch.cells.clear();
                    raw.each_label(block, label, to.places, |_, id| {
                        let cell =
                            if id == MISSING_LABEL { f64::NAN } else { numbers[id as usize] };
                        scratch.cells.push(cell);
                    });
                    let text = |wanted: usize| {
                        let mut found = "";
                        raw.each_label(block, label, to.places, |at, id| {
                            if at == wanted {
                                found = raw.label_names[label]
                                    .get(id as usize)
                                    .map_or("", String::as_str);
                            }
                        });
                        quote(found.as_bytes())
                    };
                    if let Some((at, problem)) = check_texts(column, &mut scratch.cells, text) {
                        let row = to.places.rows[at];
                        to.bad = BadCell::first(to.bad.take(), row, selected.column, problem);
                    }
                }
                Kind::Number(number) => self.numbers(block, number, to.places, &mut scratch.cells),
            }
            let Scratch { cells, filled, encoded } = scratch;
            column.encode(cells, filled, encoded);
            let mut encoded = encoded.chunks_exact(cells.len().max(1));
            if column.embedding().is_some() {
                to.put(place, encoded.next().unwrap_or_default(), |_| String::new(), selected);
                place += 1;
            }
            for (output, encoded) in encoded.enumerate() {
                to.put(first + output, encoded, |at| out_of_range(column, cells[at]), selected);
            }
            first += column.width();
        }
    }

    fn numbers(&self, block: &Block, number: usize, places: Places<'_>, cells: &mut Vec<f64>) {
        cells.clear();
        match self.cells {
            Cells::F32 => {
                places.each(block.number(number), |cell| cells.push(f64::from(cell as f32)));
            }
            Cells::F64 => places.each(block.number(number), |cell| cells.push(cell)),
        }
    }

    /// The classes of a target of labels.
    fn turn_labels(
        &self,
        from: &TurnedFrom<'_>,
        target: usize,
        label: usize,
        selected: &Selected,
        to: &mut Turned<'_>,
    ) {
        let (classes, at_row) = (&from.texts[label], to.inputs + target);
        from.raw.each_label(from.block, label, to.places, |at, id| {
            debug_assert_ne!(id, MISSING_LABEL, "rows with a missing target are not usable");
            let class = classes[id as usize];
            to.out[at * to.width + at_row] = class as f32;
            if class.is_infinite() {
                let problem = self.unseen_label(from.raw, target, label, id);
                to.bad =
                    BadCell::first(to.bad.take(), to.places.rows[at], selected.column, problem);
            }
        });
    }

    /// What finds the numbers of texts, for any number of tables.
    pub(crate) fn lookups(&self) -> Lookups<'_> {
        let features = self.features.iter().filter(|column| column.kind().is_text());
        let targets = self.labels.iter().flatten();
        Lookups {
            features: features.map(|column| (column, column.lookup())).collect(),
            targets: targets.map(|labels| Classes::new(labels)).collect(),
        }
    }

    fn unseen_label(&self, raw: &RawTable, target: usize, column: usize, id: u32) -> String {
        let known = self.labels.as_ref().map(|labels| list(&labels[target])).unwrap_or_default();
        let label = quote(raw.label_names[column][id as usize].as_bytes());
        format!("found label {label}, wanted one that the training rows have: {known}")
    }
}

/// What finds the numbers of texts.
pub(crate) struct Lookups<'a> {
    /// Of each feature of texts.
    features: Vec<(&'a Column, Lookup<'a>)>,
    /// Of each target of labels.
    targets: Vec<Classes<'a>>,
}

impl Lookups<'_> {
    /// For each column of texts, the number of each label of the raw table: of a feature what it is encoded from, of a target
    /// its class, infinite where training never saw it.
    fn numbers(&self, raw: &RawTable) -> Vec<Vec<f64>> {
        let features = self.features.iter().map(|(_, lookup)| Some(lookup));
        let mut targets = self.targets.iter();
        let number = |(names, lookup): (&Vec<String>, Option<&Lookup<'_>>)| match lookup {
            Some(lookup) => lookup.numbers(names),
            None => {
                let classes = targets.next();
                let class = |name: &String| {
                    let class = classes.and_then(|classes| classes.find(name));
                    class.map_or(f64::INFINITY, f64::from)
                };
                names.iter().map(class).collect()
            }
        };
        let lookups = features.chain(std::iter::repeat(None));
        raw.label_names.iter().zip(lookups).map(number).collect()
    }

    /// The categories of these rows of a raw table that training never saw.
    pub(crate) fn unseen(&self, raw: &RawTable, rows: &[u32]) -> Vec<Unseen> {
        let unseen = self.features.iter().enumerate().filter_map(|(label, (column, lookup))| {
            if column.date_form().is_some() {
                return None;
            }
            let numbers = lookup.numbers(&raw.label_names[label]);
            if numbers.iter().all(|number| *number > 0.0) {
                return None;
            }
            let (mut found, mut counted) = (vec![false; numbers.len()], 0);
            raw.visit_labels(rows, label, |_, id| {
                if id != MISSING_LABEL && numbers[id as usize] == 0.0 {
                    found[id as usize] = true;
                    counted += 1;
                }
            });
            let names = raw.label_names[label].iter().zip(found).filter(|(_, found)| *found);
            let categories: Vec<String> = names.map(|(name, _)| name.clone()).collect();
            let feature = column.name().to_owned();
            (counted > 0).then_some(Unseen { feature, rows: counted, categories })
        });
        unseen.collect()
    }
}

/// The first cell of a column of texts that cannot be encoded, and why. All such become ones that can.
fn check_texts(
    column: &Column,
    cells: &mut [f64],
    text: impl Fn(usize) -> String,
) -> Option<(usize, String)> {
    let mut first = None;
    for (at, cell) in cells.iter_mut().enumerate() {
        let (is_wrong, is_missing) = (cell.is_infinite(), cell.is_nan() && column.fill().is_none());
        if !is_wrong && !is_missing {
            continue;
        }
        *cell = 0.0;
        first.get_or_insert_with(|| match is_missing {
            true => (at, missing_text(column)),
            false => {
                let form = column.date_form().map(|form| form.to_string()).unwrap_or_default();
                let problem = "as the training rows have it; write it so, or take the row out";
                (at, format!("found {}, wanted a date as {form}, {problem}", text(at)))
            }
        });
    }
    first
}

fn missing_text(column: &Column) -> String {
    let advice = match column.settings().missing {
        Missing::Drop => {
            "a row to predict is never dropped: give it one or take the row out".to_owned()
        }
        _ => format!(
            "give it one, or train with another rule in `{}.missing`",
            column_key(column.name())
        ),
    };
    format!("found a missing cell, wanted a {}; {advice}", column.kind())
}

/// Where rows come from.
#[derive(Clone, Copy)]
struct TurnedFrom<'a> {
    raw: &'a RawTable,
    /// The number of each label, column of texts by column of texts.
    texts: &'a [Vec<f64>],
    /// Where the cells of each column are.
    sources: &'a [Kind],
    block: &'a Block,
}

/// Where turned rows go.
struct Turned<'a> {
    /// Whole rows.
    out: &'a mut [f32],
    /// Numbers of a row, network inputs of one, which are these and the places of embedded categories, and all values of one.
    numbers: usize,
    inputs: usize,
    width: usize,
    /// Which rows they are.
    places: Places<'a>,
    /// The first that cannot be turned.
    bad: Option<BadCell>,
}

impl Turned<'_> {
    /// Puts a value into each row.
    fn put(
        &mut self,
        place: usize,
        values: &[f64],
        problem: impl Fn(usize) -> String,
        selected: &Selected,
    ) {
        let rows = self.out.chunks_exact_mut(self.width).zip(values);
        for (at, (row, value)) in rows.enumerate() {
            let value = *value as f32;
            row[place] = value;
            if !value.is_finite() {
                let row = self.places.rows[at];
                self.bad = BadCell::first(self.bad.take(), row, selected.column, problem(at));
            }
        }
    }
}

/// Memory that serves for one column after another.
#[derive(Default)]
struct Scratch {
    cells: Vec<f64>,
    filled: Vec<f64>,
    encoded: Vec<f64>,
}

fn out_of_range(column: &Column, cell: f64) -> String {
    match column.formula(cell) {
        Some(formula) => {
            format!("found {cell:e}, wanted a number that is finite when scaled: {formula} is not")
        }
        None => format!("found {cell:e}, wanted a number up to {:e}, the largest f32", f32::MAX),
    }
}
