//! Which columns of a table to read, each as numbers or as texts, and what to say about cells that cannot be used. Knows no
//! format, and nothing of what becomes of the cells.

/// Greatest number of a column that is scaled: sums of its squares stay finite.
pub(crate) const NUMBER_MAX: f64 = 1e100;

/// Which columns to read, and what to say about cells that cannot be used.
///
/// A row is read as two lists: its numbers and its labels, each in the order of [`Selection::all`].
#[derive(Debug)]
pub(crate) struct Selection {
    /// The features, in the schema's order.
    pub(crate) features: Vec<Selected>,
    /// The targets, in the network's order.
    pub(crate) targets: Vec<Selected>,
    /// The weights of rows, which are numbers, where a job has them.
    pub(crate) weight: Option<Selected>,
}

/// A column to read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Selected {
    /// Column of the file.
    pub(crate) column: usize,
    /// What its cells are read as.
    pub(crate) cells: CellKind,
    /// What to do about a missing cell where it is an error; `None` where it is not.
    pub(crate) missing: Option<&'static str>,
    /// Whether a row is left out where its cell here is missing.
    pub(crate) drops: bool,
}

/// What the cells of a column are read as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CellKind {
    /// `f64`, and a text is an error.
    Numbers {
        /// Whether they may be larger than any `f32`, since they are scaled.
        takes_any_size: bool,
        text: OnText,
    },
    /// Ids of labels, whatever the cell holds.
    Texts,
}

/// What to do about a text in a column that is read as numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OnText {
    /// It is an error, with this advice.
    Error(Option<&'static str>),
    /// Whoever reads it says that the column has one, or a number with zeros in front, and goes on as if the cell were missing and that no error: the column
    /// will be read again, as texts.
    Note,
}

/// Which list of the row a cell goes to, and its place there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Number(usize),
    Label(usize),
}

impl Selected {
    pub(crate) fn is_text(&self) -> bool {
        self.cells == CellKind::Texts
    }
}

impl Selection {
    /// Every column: features, targets, weights.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Selected> {
        self.features.iter().chain(&self.targets).chain(&self.weight)
    }

    /// Where the cells of each column go, in the order of [`Selection::all`].
    pub(crate) fn places(&self) -> Vec<Kind> {
        let (mut numbers, mut labels) = (0.., 0..);
        let next = |places: &mut std::ops::RangeFrom<usize>| places.next().unwrap_or_default();
        let place = |selected: &Selected| match selected.is_text() {
            true => Kind::Label(next(&mut labels)),
            false => Kind::Number(next(&mut numbers)),
        };
        self.all().map(place).collect()
    }

    fn numbers(&self) -> impl Iterator<Item = &Selected> {
        self.all().filter(|selected| !selected.is_text())
    }

    /// The columns of texts.
    pub(crate) fn labels(&self) -> impl Iterator<Item = &Selected> {
        self.all().filter(|selected| selected.is_text())
    }

    /// Numbers of a row.
    pub(crate) fn number_width(&self) -> usize {
        self.numbers().count()
    }

    /// Labels of a row.
    pub(crate) fn label_width(&self) -> usize {
        self.labels().count()
    }

    /// File columns of the numbers of a row.
    pub(crate) fn number_columns(&self) -> Vec<usize> {
        self.numbers().map(|selected| selected.column).collect()
    }

    /// Places among the labels of a row of the targets that are labels. They come after those of features.
    pub(crate) fn target_labels(&self) -> std::ops::Range<usize> {
        let features = self.features.iter().filter(|selected| selected.is_text()).count();
        features..self.label_width()
    }

    /// Places among the numbers of a row, and among its labels, of those whose missing cell leaves the row out.
    pub(crate) fn dropping(&self) -> (Vec<usize>, Vec<usize>) {
        let places = |columns: &mut dyn Iterator<Item = &Selected>| {
            columns.enumerate().filter(|(_, one)| one.drops).map(|(place, _)| place).collect()
        };
        (places(&mut self.numbers()), places(&mut self.labels()))
    }
}
