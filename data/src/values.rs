//! Typed cells of one column, as they go from one table into another: what is kept of an input, and what is predicted.
//! Knows no file and no format, and computes nothing.

use std::borrow::Cow;

/// What the cells of a column are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValueKind {
    /// UTF-8 texts.
    Text,
    /// Signed whole numbers.
    Whole,
    /// Numbers of 32 bits.
    Single,
    /// Numbers of 64 bits.
    Double,
    /// Truth values.
    Truth,
}

/// The cells of a column in some rows, one after another; `None` is a missing one.
#[derive(Clone, Debug, PartialEq)]
pub enum Values {
    /// UTF-8 texts.
    Texts(Texts),
    /// Signed whole numbers.
    Wholes(Vec<Option<i64>>),
    /// Numbers of 32 bits.
    Singles(Vec<Option<f32>>),
    /// Numbers of 64 bits.
    Doubles(Vec<Option<f64>>),
    /// Truth values.
    Truths(Vec<Option<bool>>),
}

impl Values {
    /// No cell yet.
    pub fn new(kind: ValueKind) -> Values {
        match kind {
            ValueKind::Text => Values::Texts(Texts::default()),
            ValueKind::Whole => Values::Wholes(Vec::new()),
            ValueKind::Single => Values::Singles(Vec::new()),
            ValueKind::Double => Values::Doubles(Vec::new()),
            ValueKind::Truth => Values::Truths(Vec::new()),
        }
    }

    /// Number of cells.
    pub fn len(&self) -> usize {
        match self {
            Values::Texts(texts) => texts.len(),
            Values::Wholes(cells) => cells.len(),
            Values::Singles(cells) => cells.len(),
            Values::Doubles(cells) => cells.len(),
            Values::Truths(cells) => cells.len(),
        }
    }

    /// Whether there is no cell.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The same cells as texts, where they are of another kind than is wanted.
    pub(crate) fn into_kind(self, kind: ValueKind) -> Values {
        if kind != ValueKind::Text || matches!(self, Values::Texts(_)) {
            return self;
        }
        let mut texts = Texts::default();
        for row in 0..self.len() {
            texts.push(self.spelled(row).as_deref());
        }
        Values::Texts(texts)
    }

    /// A cell as a text: a number with as many digits as tell it from every other, truth values as Python writes them.
    ///
    /// # Panics
    /// If there are not so many.
    pub fn spelled(&self, row: usize) -> Option<Cow<'_, str>> {
        let truth = |is_true| if is_true { "True" } else { "False" };
        match self {
            Values::Texts(texts) => texts.get(row).map(Cow::Borrowed),
            Values::Wholes(cells) => cells[row].map(|cell| cell.to_string().into()),
            Values::Singles(cells) => cells[row].map(|cell| cell.to_string().into()),
            Values::Doubles(cells) => cells[row].map(|cell| cell.to_string().into()),
            Values::Truths(cells) => cells[row].map(|cell| truth(cell).into()),
        }
    }
}

/// Texts, all in one allocation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Texts {
    text: String,
    /// Where each ends, and whether it is there.
    ends: Vec<(usize, bool)>,
}

impl Texts {
    /// Adds one.
    pub fn push(&mut self, text: Option<&str>) {
        self.text.push_str(text.unwrap_or_default());
        self.ends.push((self.text.len(), text.is_some()));
    }

    /// Number of texts, missing ones too.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// One of them; `None` if it is missing.
    ///
    /// # Panics
    /// If there are not so many.
    pub fn get(&self, row: usize) -> Option<&str> {
        let (end, is_there) = self.ends[row];
        let start = row.checked_sub(1).map_or(0, |before| self.ends[before].0);
        is_there.then(|| &self.text[start..end])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_text_is_no_empty_one() {
        let mut texts = Texts::default();
        let wanted = [Some("ab"), None, Some(""), Some("c")];
        wanted.iter().for_each(|text| texts.push(*text));
        let found: Vec<_> = (0..texts.len()).map(|row| texts.get(row)).collect();
        assert_eq!(found, wanted);
    }

    #[test]
    fn cells_of_any_kind_can_be_spelled() {
        for (cells, wanted) in [
            (Values::Wholes(vec![Some(-7), None]), [Some("-7"), None]),
            (Values::Singles(vec![Some(0.1), Some(7.0)]), [Some("0.1"), Some("7")]),
            (Values::Doubles(vec![Some(0.1), None]), [Some("0.1"), None]),
            (Values::Truths(vec![Some(true), Some(false)]), [Some("True"), Some("False")]),
        ] {
            assert_eq!(cells.clone().into_kind(ValueKind::Whole), cells);
            let texts = cells.into_kind(ValueKind::Text);
            assert_eq!(
                [0, 1].map(|row| texts.spelled(row)),
                wanted.map(|text| text.map(Cow::from))
            );
        }
    }
}
