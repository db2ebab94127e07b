//! A CSV file batch by batch: pieces of it, read anywhere, or where there are quotes or comments its records in order.
//! Holds no more of the file than the batches in hand. Knows nothing of what cells mean.

use std::sync::Arc;

use super::parse::{Parsed, Parser, check_rows};
use super::scan::Piece;
use super::text::Text;
use crate::block::Builder;
use crate::error::DataError;
use crate::readers::open_table::{Batch, Batches, Load, Wanted};
use crate::values::Values;

/// Bytes of a piece, unless its rows are many.
const PIECE_LEN: u64 = 256 << 10;

/// The batches of a file.
pub(super) fn batches(text: Arc<Text>, wanted: Arc<Wanted>) -> Result<Box<dyn Batches>, DataError> {
    let rows_of = |pieces: &[Piece]| pieces.iter().map(|piece| piece.rows).max().unwrap_or(0);
    let mut pieces = text.pieces(PIECE_LEN)?;
    let longest = pieces.as_deref().map_or(0, rows_of);
    if longest > wanted.rows_max {
        // Its rows are short: as many bytes less.
        let piece_len = PIECE_LEN * wanted.rows_max as u64 / longest as u64;
        pieces = text.pieces(piece_len.max(1))?;
    }
    match pieces {
        Some(pieces) => {
            check_rows(&text, pieces.iter().map(|piece| piece.rows).sum())?;
            Ok(Box::new(Pieces { text, wanted, pieces: pieces.into_iter(), rows: 0 }))
        }
        None => {
            let (at, block) = (text.body().start, Builder::default());
            Ok(Box::new(InOrder { text, wanted, at, rows: 0, block }))
        }
    }
}

/// Pieces that can be read in any order.
struct Pieces {
    text: Arc<Text>,
    wanted: Arc<Wanted>,
    pieces: std::vec::IntoIter<Piece>,
    /// Rows before the next one.
    rows: usize,
}

impl Batches for Pieces {
    fn next(&mut self) -> Result<Option<Load>, DataError> {
        let Some(piece) = self.pieces.next() else { return Ok(None) };
        let first = self.rows as u32;
        self.rows += piece.rows;
        let (text, wanted) = (Arc::clone(&self.text), Arc::clone(&self.wanted));
        Ok(Some(Box::new(move || {
            let parser = Parser::new(&text, &wanted.selection, &wanted.kept);
            let part = parser.piece(&piece, &mut Builder::default());
            let part = part.map_err(|fault| fault.told(&text))?;
            Ok(batch(text, &wanted, first, part))
        })))
    }
}

/// Records one after another.
struct InOrder {
    text: Arc<Text>,
    wanted: Arc<Wanted>,
    /// Where the next one begins.
    at: u64,
    /// Rows before it.
    rows: usize,
    block: Builder,
}

impl Batches for InOrder {
    fn next(&mut self) -> Result<Option<Load>, DataError> {
        let parser = Parser::new(&self.text, &self.wanted.selection, &self.wanted.kept);
        let rows_max = self.wanted.rows_max;
        let Some(part) = parser.next_part(&mut self.at, rows_max, &mut self.block)? else {
            return Ok(None);
        };
        let first = self.rows as u32;
        self.rows += part.block.rows;
        check_rows(&self.text, self.rows)?;
        let batch = batch(Arc::clone(&self.text), &self.wanted, first, part);
        Ok(Some(Box::new(move || Ok(batch))))
    }
}

fn batch(table: Arc<Text>, wanted: &Wanted, first: u32, part: Parsed) -> Batch {
    let Parsed { block, names, kept } = part;
    let selection = Arc::clone(&wanted.selection);
    let label_names = names.into_iter().map(|names| names.list).collect();
    let kept = kept.into_iter().map(Values::Texts).collect();
    Batch { table, selection, first, block, label_names, kept }
}
