//! A file's numbers and labels before anything is filled, dropped, scaled or split, whatever the file's format.

use std::path::Path;

use crate::error::DataError;
use crate::images::Images;
use crate::parse;
use crate::spec::TableFile;
use crate::text::Text;

/// Label id of a missing cell. No table has as many rows, let alone labels.
pub(crate) const MISSING_LABEL: u32 = u32::MAX;

/// Which columns to read, and what to say about cells that cannot be used.
#[derive(Debug)]
pub(crate) struct Selection {
    /// File columns of the features, in the network's order.
    pub(crate) features: Vec<usize>,
    /// File columns of the targets, in the network's order.
    pub(crate) targets: Vec<usize>,
    /// Whether target cells are labels rather than numbers.
    pub(crate) labels: bool,
    /// What to do about a missing feature cell where it is an error; `None` where it is not.
    pub(crate) missing_feature: Option<&'static str>,
    /// The same for targets.
    pub(crate) missing_target: Option<&'static str>,
    /// What to do about a text in a feature column.
    pub(crate) text_feature: Option<&'static str>,
}

impl Selection {
    pub(crate) fn number_targets(&self) -> usize {
        if self.labels { 0 } else { self.targets.len() }
    }

    /// Values of a row: of features and targets of either kind.
    pub(crate) fn width(&self) -> usize {
        self.features.len() + self.targets.len()
    }
}

/// A table that has been opened: its columns are known.
#[derive(Debug)]
pub(crate) enum Opened {
    Text(Text),
    Images(Images),
}

impl Opened {
    pub(crate) fn new(file: &TableFile) -> Result<Opened, DataError> {
        match file {
            TableFile::Csv(path) => Text::open(path).map(Opened::Text),
            TableFile::Idx { images, labels } => {
                Images::open(images, labels.as_deref()).map(Opened::Images)
            }
        }
    }

    pub(crate) fn path(&self) -> &Path {
        match self {
            Opened::Text(text) => text.path(),
            Opened::Images(images) => images.path(),
        }
    }

    /// Where the targets stand.
    pub(crate) fn target_path(&self) -> &Path {
        match self {
            Opened::Text(text) => text.path(),
            Opened::Images(images) => images.target_path(),
        }
    }

    pub(crate) fn columns(&self) -> &[String] {
        match self {
            Opened::Text(text) => text.columns(),
            Opened::Images(images) => images.columns(),
        }
    }

    pub(crate) fn find(&self, name: &str) -> Option<usize> {
        match self {
            Opened::Text(text) => text.find(name),
            Opened::Images(images) => images.find(name),
        }
    }

    /// The dimensions of an image, if rows are images.
    pub(crate) fn image_shape(&self) -> Option<&[usize]> {
        match self {
            Opened::Text(_) => None,
            Opened::Images(images) => Some(images.shape()),
        }
    }

    /// Whether rows are images whose labels were not given.
    pub(crate) fn lacks_labels(&self) -> bool {
        matches!(self, Opened::Images(images) if !images.has_labels())
    }

    /// Reads the selected columns.
    pub(crate) fn read(self, selection: Selection) -> Result<RawTable, DataError> {
        match self {
            Opened::Text(text) => parse::parse(text, selection),
            Opened::Images(images) => Ok(RawTable::of_images(images, selection)),
        }
    }
}

/// A file as it is, only its selected columns.
#[derive(Debug)]
pub(crate) struct RawTable {
    pub(crate) opened: Opened,
    pub(crate) selection: Selection,
    pub(crate) rows: usize,
    /// Features, then targets, row by row; NaN is a missing cell, and the place of a label is kept free for its class.
    /// Empty for images, whose numbers are a quarter of the size as they stand in the file.
    pub(crate) numbers: Vec<f32>,
    /// Targets that are labels, row by row, as indices into `label_names`, or [`MISSING_LABEL`].
    pub(crate) labels: Vec<u32>,
    /// Distinct labels of each target, as they first come in the file.
    pub(crate) label_names: Vec<Vec<String>>,
}

impl RawTable {
    fn of_images(images: Images, selection: Selection) -> RawTable {
        let (label_names, labels) = match selection.labels && !selection.targets.is_empty() {
            true => {
                let (names, ids) = images.label_ids();
                (vec![names], ids)
            }
            false => (Vec::new(), Vec::new()),
        };
        let rows = images.rows();
        let numbers = Vec::new();
        RawTable { opened: Opened::Images(images), selection, rows, numbers, labels, label_names }
    }

    pub(crate) fn path(&self) -> &Path {
        self.opened.path()
    }

    pub(crate) fn columns(&self) -> &[String] {
        self.opened.columns()
    }

    /// Numbers of a row.
    pub(crate) fn number_width(&self) -> usize {
        self.selection.features.len() + self.selection.number_targets()
    }

    /// Labels of a row.
    pub(crate) fn label_width(&self) -> usize {
        self.selection.targets.len() - self.selection.number_targets()
    }

    /// Features, then targets that are numbers. `scratch` may be overwritten.
    pub(crate) fn numbers_of<'a>(&'a self, row: u32, scratch: &'a mut Vec<f32>) -> &'a [f32] {
        let Opened::Images(images) = &self.opened else {
            let row = &self.numbers[row as usize * self.selection.width()..];
            return &row[..self.number_width()];
        };
        scratch.clear();
        images.extend(row, &self.selection.features, scratch);
        // The label is the only target that images have.
        scratch.extend((0..self.selection.number_targets()).map(|_| images.label(row)));
        scratch
    }

    /// The numbers of these rows, [`Selection::width`] values a row: the places of labels are kept free.
    fn copy(&self, rows: &[u32]) -> Vec<f32> {
        let width = self.selection.width();
        let mut values = Vec::with_capacity(rows.len() * width);
        let mut scratch = Vec::new();
        for (index, &row) in rows.iter().enumerate() {
            values.extend_from_slice(self.numbers_of(row, &mut scratch));
            values.resize((index + 1) * width, 0.0);
        }
        values
    }

    /// What [`RawTable::copy`] gives for each of these parts, whose rows are in the file's order and in no other part.
    /// The largest stays in the table's own memory, where that holds the numbers: afterwards only labels can be asked
    /// for.
    pub(crate) fn take<const PARTS: usize>(&mut self, parts: [&[u32]; PARTS]) -> [Vec<f32>; PARTS] {
        let largest = (0..PARTS).max_by_key(|&part| parts[part].len());
        let mut values = [const { Vec::new() }; PARTS];
        for part in (0..PARTS).filter(|&part| Some(part) != largest) {
            values[part] = self.copy(parts[part]);
        }
        if let Some(part) = largest {
            values[part] = self.keep(parts[part]);
        }
        values
    }

    fn keep(&mut self, rows: &[u32]) -> Vec<f32> {
        if matches!(self.opened, Opened::Images(_)) {
            return self.copy(rows);
        }
        debug_assert!(rows.is_sorted(), "a row would be written before it is read");
        let width = self.selection.width();
        let mut values = std::mem::take(&mut self.numbers);
        for (to, &from) in rows.iter().enumerate().filter(|&(to, &from)| to != from as usize) {
            values.copy_within(from as usize * width..(from as usize + 1) * width, to * width);
        }
        values.truncate(rows.len() * width);
        values.shrink_to_fit();
        values
    }

    pub(crate) fn labels_of(&self, row: u32) -> &[u32] {
        let width = self.label_width();
        &self.labels[row as usize * width..][..width]
    }

    /// All rows.
    pub(crate) fn all_rows(&self) -> Vec<u32> {
        (0..self.rows as u32).collect()
    }

    /// The rows without a missing cell.
    pub(crate) fn complete_rows(&self) -> Vec<u32> {
        if matches!(self.opened, Opened::Images(_)) {
            return self.all_rows();
        }
        let mut scratch = Vec::new();
        let mut is_complete = |&row: &u32| {
            !self.numbers_of(row, &mut scratch).iter().any(|value| value.is_nan())
                && !self.labels_of(row).contains(&MISSING_LABEL)
        };
        (0..self.rows as u32).filter(|row| is_complete(row)).collect()
    }

    /// The error of one cell of a row that has been read.
    pub(crate) fn cell_error(&self, row: u32, column: usize, problem: String) -> DataError {
        match &self.opened {
            Opened::Text(text) => text.cell_error(text.offset_of(row as usize), column, problem),
            Opened::Images(images) => images.cell_error(row, column, problem),
        }
    }
}
