//! A table in IDX files: images, one column for each pixel, and a column of labels. Scales and splits nothing.

use std::collections::HashMap;
use std::path::Path;

use crate::block::Block;
use crate::error::{DataError, count, quote};
use crate::header::COLUMNS_MAX;
use crate::idx::{Array, shape};
use crate::text::ROWS_MAX;

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
        let images = Array::read(images, &check_images)?;
        let pixels = images.item_len();
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

    /// Numbers of these rows: these pixels, then, up to so many columns, the label.
    pub(crate) fn block(&self, rows: &[u32], pixels: &[usize], columns: usize) -> Block {
        let mut pixels = pixels.iter().copied();
        let places = (0..columns).map(|_| pixels.next());
        // The label is the only target that images have.
        let column = |place: Option<usize>| match (place, &self.labels) {
            (Some(pixel), _) => Some(self.images.column(rows, pixel)),
            (None, Some(labels)) => Some(labels.column(rows, 0)),
            (None, None) => None,
        };
        let are_narrow =
            self.images.is_narrow() && self.labels.as_ref().is_none_or(Array::is_narrow);
        let numbers = places.filter_map(column).flatten();
        if are_narrow {
            let bits = numbers.map(|number| (number as f32).to_bits()).collect();
            return Block::of_floats(rows.len(), columns, bits);
        }
        Block::of_wide(rows.len(), columns, numbers.collect())
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
    let labels = Array::read(path, &check)?;
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
