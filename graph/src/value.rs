//! Values of a graph: what they are made of, and constants.

/// What a value is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Element {
    /// `f32`.
    Float,
    /// `f64`.
    Double,
    /// `i64`.
    Whole,
    /// True or false.
    Truth,
    /// UTF-8.
    Text,
}

/// A value of a graph: rows of one width. Means something only to the graph that made it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Value {
    pub(crate) place: usize,
    pub(crate) element: Element,
    /// Rows of a constant; `None` for a row of the batch each.
    pub(crate) rows: Option<usize>,
    pub(crate) width: usize,
}

impl Value {
    /// What it is made of.
    pub fn element(self) -> Element {
        self.element
    }

    /// Elements of a row.
    pub fn width(self) -> usize {
        self.width
    }

    /// Which of the graph's values it is.
    pub fn place(self) -> usize {
        self.place
    }
}

/// The elements of a constant, row by row.
#[derive(Clone, Debug, PartialEq)]
pub enum Literal {
    /// Of [`Element::Float`].
    Floats(Vec<f32>),
    /// Of [`Element::Double`].
    Doubles(Vec<f64>),
    /// Of [`Element::Whole`].
    Wholes(Vec<i64>),
}

impl Literal {
    /// What it is made of.
    pub fn element(&self) -> Element {
        match self {
            Literal::Floats(_) => Element::Float,
            Literal::Doubles(_) => Element::Double,
            Literal::Wholes(_) => Element::Whole,
        }
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        match self {
            Literal::Floats(all) => all.len(),
            Literal::Doubles(all) => all.len(),
            Literal::Wholes(all) => all.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl From<&[f32]> for Literal {
    fn from(all: &[f32]) -> Literal {
        Literal::Floats(all.to_vec())
    }
}

impl From<&[f64]> for Literal {
    fn from(all: &[f64]) -> Literal {
        Literal::Doubles(all.to_vec())
    }
}

impl From<&[i64]> for Literal {
    fn from(all: &[i64]) -> Literal {
        Literal::Wholes(all.to_vec())
    }
}

impl From<f32> for Literal {
    fn from(one: f32) -> Literal {
        Literal::Floats(vec![one])
    }
}

impl From<f64> for Literal {
    fn from(one: f64) -> Literal {
        Literal::Doubles(vec![one])
    }
}

impl From<i64> for Literal {
    fn from(one: i64) -> Literal {
        Literal::Wholes(vec![one])
    }
}
