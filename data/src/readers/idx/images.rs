//! A table in IDX files: images, one column for each pixel, and a column of labels. Scales and splits nothing.

use std::collections::HashMap;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use super::array::Array;
use crate::block::Block;
use crate::bytes::stream::shape;
use crate::bytes::stretch::Located;
use crate::error::{DataError, count};
use crate::readers::open_table::{
    Batches, COLUMNS_MAX, Contents, OpenTable, ROWS_MAX, Stored, Wanted,
};
use crate::readers::windows::{self, Windowed};
use crate::selection::Selection;
use crate::values::{ValueKind, Values};

/// Name of the column that the labels are.
pub(super) const LABEL: &str = "label";

const PIXEL: &str = "pixel";

/// Images and, unless they are only to be predicted, their labels.
#[derive(Debug)]
pub(crate) struct Images {
    images: Array,
    labels: Option<Array>,
    /// `pixel0`, `pixel1` and so on, row by row of an image; then `label`, if there are labels.
    columns: Arc<Vec<String>>,
}

/// The same where they are in their files.
struct InFiles {
    table: Arc<Images>,
    images: Located,
    labels: Option<Located>,
}

impl Images {
    pub(crate) fn open(images: &Path, labels: Option<&Path>) -> Result<Images, DataError> {
        let images = Array::open(images, &check_images)?;
        let pixels = images.item_len();
        let labels = labels.map(|labels| read_labels(labels, &images)).transpose()?;
        let mut columns: Vec<String> = (0..pixels).map(|place| format!("{PIXEL}{place}")).collect();
        columns.extend(labels.is_some().then(|| LABEL.to_owned()));
        Ok(Images { images, labels, columns: Arc::new(columns) })
    }

    /// The numbers of one column of these rows.
    fn column(&self, rows: &[u32], column: usize) -> impl Iterator<Item = f64> {
        let (array, place) = self.array(column);
        array.column(rows, place)
    }

    /// The array that a column is of, and its place there.
    fn array(&self, column: usize) -> (&Array, usize) {
        match &self.labels {
            Some(labels) if column == self.images.item_len() => (labels, 0),
            _ => (&self.images, column),
        }
    }

    /// Distinct numbers of a column as they first come, as texts, and that list's place for each row.
    fn label_ids(&self, column: usize) -> (Vec<String>, Vec<u32>) {
        let mut ids = HashMap::new();
        let mut names = Vec::new();
        let rows: Vec<u32> = (0..self.images.items() as u32).collect();
        let id = |number: f64| {
            // Both zeros are one label.
            let value = number + 0.0;
            *ids.entry(value.to_bits()).or_insert_with(|| {
                names.push(value.to_string());
                names.len() as u32 - 1
            })
        };
        let all = self.column(&rows, column).map(id).collect();
        (names, all)
    }
}

impl OpenTable for Images {
    fn path(&self) -> &Path {
        self.images.path()
    }

    fn target_path(&self) -> &Path {
        self.labels.as_ref().map_or(self.path(), Array::path)
    }

    fn columns(&self) -> &[String] {
        &self.columns
    }

    fn find(&self, name: &str) -> Result<Option<usize>, DataError> {
        let place = match name.strip_prefix(PIXEL) {
            Some(place) => place.parse().ok(),
            None => Some(self.images.item_len()),
        };
        let is_it = |place: &usize| self.columns.get(*place).is_some_and(|column| column == name);
        Ok(place.filter(is_it))
    }

    fn targets(&self) -> Range<usize> {
        self.images.item_len()..self.columns.len()
    }

    fn lacks_targets(&self, _targets: &[String]) -> Option<&'static str> {
        self.labels.is_none().then_some(
            "found images without labels, wanted their labels too; give the labels' file with `--labels`",
        )
    }

    fn image_shape(&self) -> Option<&[usize]> {
        Some(self.images.item_shape())
    }

    /// Every number is finite, or the files are not read.
    fn read(&self, selection: &Selection) -> Result<Contents, DataError> {
        self.images.load()?;
        self.labels.as_ref().map_or(Ok(()), Array::load)?;
        let (label_names, labels) =
            selection.labels().map(|selected| self.label_ids(selected.column)).unzip();
        let stored = Stored::Open { labels, may_miss: false };
        Ok(Contents { rows: self.images.items(), stored, label_names, noted: Vec::new() })
    }

    fn batches(self: Arc<Self>, wanted: Arc<Wanted>) -> Result<Box<dyn Batches>, DataError> {
        let images = self.images.locate()?;
        let labels = self.labels.as_ref().map(Array::locate).transpose()?;
        Ok(windows::batches(InFiles { table: self, images, labels }, wanted))
    }

    fn kept_kind(&self, column: usize) -> ValueKind {
        match self.array(column).0.is_whole() {
            true => ValueKind::Whole,
            false => ValueKind::Double,
        }
    }

    fn kept(&self, rows: Range<u32>, column: usize) -> Result<Values, DataError> {
        let rows: Vec<u32> = rows.collect();
        let cells = self.column(&rows, column);
        Ok(match self.kept_kind(column) {
            ValueKind::Whole => Values::Wholes(cells.map(|cell| Some(cell as i64)).collect()),
            _ => Values::Doubles(cells.map(Some).collect()),
        })
    }

    fn block(&self, rows: &[u32], columns: &[usize]) -> Block {
        let are_narrow =
            self.images.is_narrow() && self.labels.as_ref().is_none_or(Array::is_narrow);
        let numbers = columns.iter().flat_map(|&column| self.column(rows, column));
        Block::of_numbers([columns.len(), rows.len()], are_narrow, numbers)
    }

    fn cell_error(&self, row: u32, column: usize, problem: String) -> DataError {
        let row = self.images.first() + row as usize;
        let (path, place) = match column < self.images.item_len() {
            true => (self.path(), format!("image {row}, {}", self.columns[column])),
            false => (self.target_path(), format!("label {row}")),
        };
        DataError::Item { path: path.to_owned(), place, problem }
    }
}

impl Windowed for InFiles {
    fn rows(&self) -> usize {
        self.table.images.items()
    }

    fn row_len(&self) -> usize {
        self.table.images.item_bytes() + self.table.labels.as_ref().map_or(0, Array::item_bytes)
    }

    fn window(&self, rows: Range<usize>) -> Result<Arc<dyn OpenTable>, DataError> {
        let Images { images, labels, columns } = &*self.table;
        let both = labels.as_ref().zip(self.labels.as_ref());
        let labels = both.map(|(array, from)| array.window(from, rows.clone())).transpose()?;
        let images = images.window(&self.images, rows)?;
        Ok(Arc::new(Images { images, labels, columns: Arc::clone(columns) }))
    }
}

fn check_images(dimensions: &[usize]) -> Result<(), String> {
    let [images, shape_of @ ..] = dimensions else { return Ok(()) };
    if shape_of.is_empty() {
        return Err(
            "found one dimension, which is how labels are kept, wanted at least two; give the file of the images"
                .to_owned(),
        );
    }
    let pixels = shape_of.iter().try_fold(1usize, |pixels, &side| pixels.checked_mul(side));
    if pixels.is_none_or(|pixels| pixels >= COLUMNS_MAX) {
        let (found, wanted) = (shape(shape_of), COLUMNS_MAX - 1);
        return Err(format!("found images of {found} pixels, wanted at most {wanted}"));
    }
    if *images > ROWS_MAX {
        return Err(format!("found {images} images, wanted at most {ROWS_MAX}"));
    }
    Ok(())
}

fn read_labels(path: &Path, images: &Array) -> Result<Array, DataError> {
    let check = |dimensions: &[usize]| {
        let [items, shape_of @ ..] = dimensions else { return Ok(()) };
        if shape_of.iter().any(|&side| side != 1) {
            let found = shape(shape_of);
            return Err(format!(
                "found {found} numbers for each item, wanted one label for each; give the file of the labels"
            ));
        }
        if *items != images.items() {
            return Err(format!(
                "found {}, wanted one for each of the {} in {}; give two files of one set",
                count(*items as u64, "label"),
                count(images.items() as u64, "image"),
                images.path().display()
            ));
        }
        Ok(())
    };
    Array::open(path, &check)
}
