//! The operations that a graph is made of. To add one: a variant here, a method of [`Graph`](crate::Graph), and its name where
//! graphs are written out.

use crate::value::Element;

/// A window on an image. All are of rows and columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Places of it.
    pub size: [usize; 2],
    /// Places from one position to the next.
    pub strides: [usize; 2],
    /// Places beyond the edge above and to the left.
    pub before: [usize; 2],
    /// Places beyond the edge below and to the right.
    pub after: [usize; 2],
}

/// Rows that are images, a window on them, and the rows that are made of what it sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OfImages {
    /// Height, width and channels of the images.
    pub image: [usize; 3],
    /// The window.
    pub window: Window,
    /// Height, width and channels of what comes out.
    pub output: [usize; 3],
}

impl OfImages {
    /// What comes out with so many channels.
    ///
    /// # Panics
    /// If the window does not fit.
    pub(crate) fn new(image: [usize; 3], window: Window, channels: usize) -> OfImages {
        let Window { size, strides, before, after } = window;
        let [height, width] = std::array::from_fn(|side| {
            let padded = image[side] + before[side] + after[side];
            (padded - size[side]) / strides[side] + 1
        });
        OfImages { image, window, output: [height, width, channels] }
    }
}

/// One operation. Unless it says otherwise, it works element by element on values of equal elements, and a value of one row or
/// one column stands for as many as the other has.
#[derive(Clone, Debug, PartialEq)]
pub enum Operation {
    /// The value as it is.
    Same,
    /// `a + b`.
    Add,
    /// `a - b`.
    Subtract,
    /// `a * b`.
    Multiply,
    /// `a / b`.
    Divide,
    /// `a` to the power of `b`.
    Power,
    /// Whether `a = b`.
    Equal,
    /// Whether `a < b`.
    Less,
    /// Whether `a > b`.
    Greater,
    /// Whether both are true.
    And,
    /// Whether one is true.
    Or,
    /// Whether it is false.
    Not,
    /// Whether it is NaN.
    IsNan,
    /// The size.
    Absolute,
    /// The greatest whole number that is not above.
    Floor,
    /// The exponential function.
    Exp,
    /// The natural logarithm.
    Log,
    /// The square root.
    SquareRoot,
    /// The error function.
    Erf,
    /// The hyperbolic tangent.
    Tanh,
    /// `1 / (1 + exp(-x))`.
    Sigmoid,
    /// `log(1 + exp(x))`.
    Softplus,
    /// `max(x, 0)`.
    Relu,
    /// `x`, or `slope * x` below 0.
    LeakyRelu {
        /// Factor below 0.
        slope: f32,
    },
    /// `x`, or `alpha * (exp(x) - 1)` below 0.
    Elu {
        /// Minus the limit at minus infinity.
        alpha: f32,
    },
    /// `exp(x)` over the row's sum of them.
    Softmax,
    /// As another element: numbers are rounded to the nearest, or toward 0 if whole; true is 1.
    Convert(Element),
    /// `b` where `a` is true, else `c`.
    Choose,
    /// The matrix product: `[batch, n]` and `[n, m]` make `[batch, m]`.
    Product,
    /// What a kernel makes of rows that are images, `a`, at each position of a window: the products of what is seen, row by row,
    /// pixel by pixel, with the kernel `b`, `[height * width * channels, filters]`, plus `c`, `[1, filters]`, if there is one.
    Convolution(OfImages),
    /// The largest value that a window sees of rows that are images, for each channel.
    MaxPool(OfImages),
    /// The mean of the values that a window sees of rows that are images, for each channel.
    MeanPool(OfImages),
    /// The rows of several values one after another.
    Join,
    /// Some columns.
    Columns {
        /// The first.
        from: usize,
        /// One past the last.
        to: usize,
    },
    /// The sum of a row: one column.
    RowSum,
    /// The mean of a row: one column.
    RowMean,
    /// The place of a row's largest element, the first of equals: one column of whole numbers.
    LargestPlace,
    /// Rows `b` (one column of whole numbers) of the table `a`.
    Rows,
    /// The place that goes with a text, or another one.
    FindText {
        /// Texts, none of them twice.
        texts: Vec<String>,
        /// What each becomes.
        places: Vec<i64>,
        /// What any other text becomes.
        other: i64,
    },
    /// The place that goes with a whole number, or another one.
    FindWhole {
        /// Numbers, none of them twice.
        numbers: Vec<i64>,
        /// What each becomes.
        places: Vec<i64>,
        /// What any other number becomes.
        other: i64,
    },
    /// The text in a place, from 0 on; the empty text for another place.
    Text {
        /// The texts.
        texts: Vec<String>,
    },
}

impl Operation {
    /// Its name, for the names of values.
    pub fn name(&self) -> &'static str {
        match self {
            Operation::Same => "same",
            Operation::Add => "add",
            Operation::Subtract => "subtract",
            Operation::Multiply => "multiply",
            Operation::Divide => "divide",
            Operation::Power => "power",
            Operation::Equal => "equal",
            Operation::Less => "less",
            Operation::Greater => "greater",
            Operation::And => "and",
            Operation::Or => "or",
            Operation::Not => "not",
            Operation::IsNan => "is_nan",
            Operation::Absolute => "absolute",
            Operation::Floor => "floor",
            Operation::Exp => "exp",
            Operation::Log => "log",
            Operation::SquareRoot => "square_root",
            Operation::Erf => "erf",
            Operation::Tanh => "tanh",
            Operation::Sigmoid => "sigmoid",
            Operation::Softplus => "softplus",
            Operation::Relu => "relu",
            Operation::LeakyRelu { .. } => "leaky_relu",
            Operation::Elu { .. } => "elu",
            Operation::Softmax => "softmax",
            Operation::Convert(_) => "convert",
            Operation::Choose => "choose",
            Operation::Product => "product",
            Operation::Convolution(_) => "convolution",
            Operation::MaxPool(_) => "max_pool",
            Operation::MeanPool(_) => "mean_pool",
            Operation::Join => "join",
            Operation::Columns { .. } => "columns",
            Operation::RowSum => "row_sum",
            Operation::RowMean => "row_mean",
            Operation::LargestPlace => "largest_place",
            Operation::Rows => "rows",
            Operation::FindText { .. } => "find_text",
            Operation::FindWhole { .. } => "find_whole",
            Operation::Text { .. } => "text",
        }
    }
}
