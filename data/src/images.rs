//! A table in IDX files: images, one column for each pixel, and a column of labels. Scales and splits nothing.

use std::collections::HashMap;
use std::path::Path;

use crate::error::{DataError, count, quote};
use crate::idx::{Array, shape};
use crate::text::{COLUMNS_MAX, ROWS_MAX};

/// Name of the column that the labels are.
pub(crate) const LABEL: &str = "label";

const PIXEL: &str = "pixel";

/// Images and, unless they are only to be predicted, their labels.
#[derive(Debug)]
pub(crate) struct Images {
    images: Array,
    labels: Option<Array>,
    /// `pixel0`, `pixel1` and so on, row by row of an image; then `label`, if there are labels.
    columns: Vec<String>,
}

impl Images {
    pub(crate) fn open(images: &Path, labels: Option<&Path>) -> Result<Images, DataError> {
        let images = Array::read(images)?;
        let pixels = images.item_len();
        let fault = |problem: String| Err(DataError::table(images.path(), problem));
        if images.item_shape().is_empty() {
            return fault(
                "found one dimension, which is how labels are kept, wanted at least two; give the file of the images"
                    .to_owned(),
            );
        }
        if pixels >= COLUMNS_MAX {
            let shape = shape(images.item_shape());
            let problem =
                format!("found images of {shape} pixels, wanted at most {}", COLUMNS_MAX - 1);
            return fault(problem);
        }
        if images.items() > ROWS_MAX {
            return fault(format!("found {} images, wanted at most {ROWS_MAX}", images.items()));
        }
        finite(&images)?;
        let labels = labels.map(|labels| read_labels(labels, &images)).transpose()?;
        let mut columns: Vec<String> = (0..pixels).map(|place| format!("{PIXEL}{place}")).collect();
        columns.extend(labels.is_some().then(|| LABEL.to_owned()));
        Ok(Images { images, labels, columns })
    }

    /// The file of the images.
    pub(crate) fn path(&self) -> &Path {
        self.images.path()
    }

    /// The file of the labels, where there is one.
    pub(crate) fn target_path(&self) -> &Path {
        self.labels.as_ref().map_or(self.path(), Array::path)
    }

    pub(crate) fn columns(&self) -> &[String] {
        &self.columns
    }

    pub(crate) fn find(&self, name: &str) -> Option<usize> {
        let place = match name.strip_prefix(PIXEL) {
            Some(place) => place.parse().ok()?,
            None => self.images.item_len(),
        };
        self.columns.get(place).is_some_and(|column| column == name).then_some(place)
    }

    /// The dimensions of one image.
    pub(crate) fn shape(&self) -> &[usize] {
        self.images.item_shape()
    }

    pub(crate) fn rows(&self) -> usize {
        self.images.items()
    }

    pub(crate) fn has_labels(&self) -> bool {
        self.labels.is_some()
    }

    /// Appends these columns, all of them pixels, of one row.
    pub(crate) fn extend(&self, row: u32, pixels: &[usize], out: &mut Vec<f32>) {
        self.images.extend(row as usize, pixels, out);
    }

    /// The label of a row as a number.
    ///
    /// # Panics
    /// If there are no labels.
    pub(crate) fn label(&self, row: u32) -> f32 {
        self.labels.as_ref().expect("labels, where they are asked for").number(row as usize, 0)
            as f32
    }

    /// Distinct labels as they first come, and that list's place for each row; nothing without labels.
    pub(crate) fn label_ids(&self) -> (Vec<String>, Vec<u32>) {
        let mut ids = HashMap::new();
        let mut names = Vec::new();
        let Some(labels) = &self.labels else { return (names, Vec::new()) };
        let id = |row| {
            // Both zeros are one label.
            let value = labels.number(row, 0) + 0.0;
            *ids.entry(value.to_bits()).or_insert_with(|| {
                names.push(value.to_string());
                names.len() as u32 - 1
            })
        };
        let all = (0..labels.items()).map(id).collect();
        (names, all)
    }

    /// The error of one number of a row.
    pub(crate) fn cell_error(&self, row: u32, column: usize, problem: String) -> DataError {
        let (path, place) = match column < self.images.item_len() {
            true => (self.path(), format!("image {row}, {}", self.columns[column])),
            false => (self.target_path(), format!("label {row}")),
        };
        DataError::Item { path: path.to_owned(), place, problem }
    }
}

fn read_labels(path: &Path, images: &Array) -> Result<Array, DataError> {
    let labels = Array::read(path)?;
    if labels.item_len() != 1 {
        let problem = format!(
            "found {} numbers for each item, wanted one label for each; give the file of the labels",
            shape(labels.item_shape())
        );
        return Err(DataError::table(path, problem));
    }
    if labels.items() != images.items() {
        let problem = format!(
            "found {}, wanted one for each of the {} in {}; give two files of one set",
            count(labels.items() as u64, "label"),
            count(images.items() as u64, "image"),
            images.path().display()
        );
        return Err(DataError::table(path, problem));
    }
    finite(&labels)?;
    Ok(labels)
}

fn finite(array: &Array) -> Result<(), DataError> {
    let Some((item, place)) = array.first_not_finite() else { return Ok(()) };
    let found = quote(array.number(item, place).to_string().as_bytes());
    let place = format!("item {item}, number {place} (both from 0)");
    let problem = format!("found {found}, wanted a finite number up to {:e}", f32::MAX);
    Err(DataError::Item { path: array.path().to_owned(), place, problem })
}
