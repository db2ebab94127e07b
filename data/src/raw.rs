//! A file's numbers and labels before anything is filled, dropped, scaled or split, whatever the file's format.

use std::path::Path;

use rayon::prelude::*;

use crate::block::{Block, Places};
use crate::dialect::Dialect;
use crate::error::DataError;
use crate::images::Images;
use crate::parse;
use crate::spec::TableFile;
use crate::text::Text;

/// Label id of a missing cell. No table has as many rows, let alone labels.
pub(crate) const MISSING_LABEL: u32 = u32::MAX;

/// Greatest number of a column that is scaled: sums of its squares stay finite.
pub(crate) const NUMBER_MAX: f64 = 1e100;

/// Images that are turned into a block at once.
const BLOCK_IMAGES: usize = 256;

/// Which columns to read, and what to say about cells that cannot be used.
#[derive(Debug)]
pub(crate) struct Selection {
    /// File columns of the features, in the network's order.
    pub(crate) features: Vec<usize>,
    /// File columns of the targets, in the network's order.
    pub(crate) targets: Vec<usize>,
    /// Whether target cells are labels rather than numbers.
    pub(crate) labels: bool,
    /// Whether features are scaled, so that they may be numbers that no `f32` holds.
    pub(crate) are_scaled: bool,
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

    /// Features, then targets that are numbers.
    pub(crate) fn number_width(&self) -> usize {
        self.features.len() + self.number_targets()
    }

    pub(crate) fn label_width(&self) -> usize {
        self.targets.len() - self.number_targets()
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
    pub(crate) fn new(file: &TableFile, dialect: &Dialect) -> Result<Opened, DataError> {
        match file {
            TableFile::Csv(path) => Text::open(path, dialect).map(Opened::Text),
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

    /// The column of a name. It is an error if two have it.
    pub(crate) fn find(&self, name: &str) -> Result<Option<usize>, DataError> {
        match self {
            Opened::Text(text) => text.find(name),
            Opened::Images(images) => Ok(images.find(name)),
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
    /// Every row, block after block. None for images, whose numbers take less memory as they stand in the file.
    pub(crate) blocks: Vec<Block>,
    /// The labels of images; those of other tables are in the blocks.
    pub(crate) labels: Vec<u32>,
    /// Distinct labels of each target, as they first come in the file: what label ids are places of.
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
        let blocks = Vec::new();
        RawTable { opened: Opened::Images(images), selection, rows, blocks, labels, label_names }
    }

    pub(crate) fn path(&self) -> &Path {
        self.opened.path()
    }

    pub(crate) fn columns(&self) -> &[String] {
        self.opened.columns()
    }

    /// Shows these rows, which are in the file's order, block by block.
    pub(crate) fn visit(&self, rows: &[u32], mut see: impl FnMut(&Block, Places<'_>)) {
        if let Opened::Images(images) = &self.opened {
            let at_once = BLOCK_IMAGES * rayon::current_num_threads();
            for rows in rows.chunks(at_once) {
                let parts: Vec<(Block, &[u32])> = rows
                    .par_chunks(BLOCK_IMAGES)
                    .map(|rows| (self.image_block(images, rows), rows))
                    .collect();
                parts.iter().for_each(|(block, rows)| see(block, Places::all(rows)));
            }
            return;
        }
        let mut parts = Parts::new(rows);
        for block in &self.blocks {
            let places = parts.next_in(block);
            if !places.rows.is_empty() {
                see(block, places);
            }
        }
    }

    fn image_block(&self, images: &Images, rows: &[u32]) -> Block {
        images.block(rows, &self.selection.features, self.selection.number_width())
    }

    /// Shows label ids of these rows of a block, with each one's place among them.
    pub(crate) fn each_label(
        &self,
        block: &Block,
        target: usize,
        places: Places<'_>,
        mut see: impl FnMut(usize, u32),
    ) {
        if matches!(self.opened, Opened::Images(_)) {
            places
                .rows
                .iter()
                .enumerate()
                .for_each(|(at, &row)| see(at, self.labels[row as usize]));
        } else {
            let labels = block.labels(target);
            places.iter().enumerate().for_each(|(at, row)| see(at, labels[row]));
        }
    }

    /// Shows the label ids of these rows, which are in the file's order, with each one's place among them.
    pub(crate) fn visit_labels(
        &self,
        rows: &[u32],
        target: usize,
        mut see: impl FnMut(usize, u32),
    ) {
        if matches!(self.opened, Opened::Images(_)) {
            rows.iter().enumerate().for_each(|(at, &row)| see(at, self.labels[row as usize]));
            return;
        }
        let mut before = 0;
        self.visit(rows, |block, places| {
            self.each_label(block, target, places, |at, id| see(before + at, id));
            before += places.rows.len();
        });
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
        let mut complete = Vec::with_capacity(self.rows);
        let mut first = 0;
        let targets = 0..self.selection.label_width();
        for block in &self.blocks {
            let is_complete = |row: &usize| {
                !(0..block.numbers()).any(|column| block.number(column).get(*row).is_nan())
                    && !targets.clone().any(|target| block.labels(target)[*row] == MISSING_LABEL)
            };
            complete.extend((0..block.rows).filter(is_complete).map(|row| first + row as u32));
            first += block.rows as u32;
        }
        complete
    }

    /// The error of one cell of a row that has been read.
    pub(crate) fn cell_error(&self, row: u32, column: usize, problem: String) -> DataError {
        match &self.opened {
            Opened::Text(text) => text.cell_error(text.offset_of(row as usize), column, problem),
            Opened::Images(images) => images.cell_error(row, column, problem),
        }
    }

    /// Turns the table into preprocessed rows: those of each part, whose rows are in the file's order, to where it
    /// says. What has been turned is freed at once. Afterwards only labels' names can be asked for.
    pub(crate) fn turn(
        &mut self,
        parts: Vec<(&[u32], &mut [f32])>,
        turn: &Turn<'_>,
    ) -> Result<(), DataError> {
        let width = self.selection.width();
        let blocks = std::mem::take(&mut self.blocks);
        let this = &*self;
        let first_bad = if let Opened::Images(images) = &self.opened {
            let tasks = parts.into_iter().flat_map(|(rows, out)| {
                rows.chunks(BLOCK_IMAGES).zip(out.chunks_mut(BLOCK_IMAGES * width))
            });
            let task = |(rows, out): (&[u32], &mut [f32])| {
                let block = this.image_block(images, rows);
                turn(this, &block, Places::all(rows), out).err()
            };
            tasks.collect::<Vec<_>>().into_par_iter().filter_map(task).min_by_key(BadCell::place)
        } else {
            let mut parts: Vec<(Parts<'_>, &mut [f32])> =
                parts.into_iter().map(|(rows, out)| (Parts::new(rows), out)).collect();
            let task = |block: Block| {
                let mut outs = Vec::with_capacity(parts.len());
                for (parts, rest) in &mut parts {
                    let places = parts.next_in(&block);
                    let (out, behind) =
                        std::mem::take(rest).split_at_mut(places.rows.len() * width);
                    *rest = behind;
                    outs.push((places, out));
                }
                (block, outs)
            };
            let tasks: Vec<_> = blocks.into_iter().map(task).collect();
            let task = |(block, outs): (Block, Vec<(Places<'_>, &mut [f32])>)| {
                let turned = outs.into_iter().map(|(places, out)| turn(this, &block, places, out));
                turned.filter_map(Result::err).min_by_key(BadCell::place)
            };
            tasks.into_par_iter().filter_map(task).min_by_key(BadCell::place)
        };
        match first_bad {
            Some(BadCell { row, column, problem }) => Err(self.cell_error(row, column, problem)),
            None => Ok(()),
        }
    }
}

/// Turns these rows of a block into preprocessed ones.
pub(crate) type Turn<'a> =
    dyn Fn(&RawTable, &Block, Places<'_>, &mut [f32]) -> Result<(), BadCell> + Sync + 'a;

/// A cell that cannot be turned, for an error.
#[derive(Debug)]
pub(crate) struct BadCell {
    pub(crate) row: u32,
    /// Column of the file.
    pub(crate) column: usize,
    pub(crate) problem: String,
}

impl BadCell {
    pub(crate) fn place(&self) -> (u32, usize) {
        (self.row, self.column)
    }
}

/// Rows of a table, given out block by block.
struct Parts<'a> {
    left: &'a [u32],
    /// The next block's first row.
    first: u32,
}

impl<'a> Parts<'a> {
    fn new(rows: &'a [u32]) -> Parts<'a> {
        debug_assert!(rows.is_sorted(), "rows are not in the file's order");
        Parts { left: rows, first: 0 }
    }

    fn next_in(&mut self, block: &Block) -> Places<'a> {
        let first = self.first;
        self.first += block.rows as u32;
        let (rows, left) = self.left.split_at(self.left.partition_point(|&row| row < self.first));
        self.left = left;
        Places::of(rows, first)
    }
}
