//! A graph that grows operation by operation. Whoever adds one that its values do not fit has a bug, and panics.

mod images;

use std::collections::HashMap;

use crate::operation::Operation;
use crate::value::{Element, Literal, Value};

/// A graph of operations, each of which comes after what it needs.
#[derive(Clone, Debug, Default)]
pub struct Graph {
    /// Of each value.
    names: Vec<String>,
    /// Every name, and how many others were made of it.
    used: HashMap<String, usize>,
    /// What names begin with.
    scope: String,
    inputs: Vec<Port>,
    outputs: Vec<Port>,
    constants: Vec<Constant>,
    nodes: Vec<Node>,
}

/// What goes in or comes out.
#[derive(Clone, Debug)]
pub struct Port {
    /// Its name, which no other value has.
    pub name: String,
    /// The value.
    pub value: Value,
}

/// A value that is always the same.
#[derive(Clone, Debug)]
pub struct Constant {
    /// Its name.
    pub name: String,
    /// Rows and columns.
    pub shape: [usize; 2],
    /// Its elements, row by row.
    pub literal: Literal,
}

/// An operation in its place.
#[derive(Clone, Debug)]
pub struct Node {
    /// What is done.
    pub operation: Operation,
    /// With what.
    pub inputs: Vec<Value>,
    /// What comes out.
    pub output: Value,
}

/// Operations of one value that make one of the same element and width.
macro_rules! of_one {
    ($($(#[$doc:meta])* $name:ident => $operation:expr;)*) => {$(
        $(#[$doc])*
        pub fn $name(&mut self, value: Value) -> Value {
            self.add_node($operation, &[value], value.element, value.width)
        }
    )*};
}

/// Operations of two values that make one of the same element.
macro_rules! of_two {
    ($($(#[$doc:meta])* $name:ident => $operation:expr;)*) => {$(
        $(#[$doc])*
        pub fn $name(&mut self, a: Value, b: Value) -> Value {
            self.pair($operation, a, b, a.element)
        }
    )*};
}

/// Operations of two values that make truth values.
macro_rules! comparisons {
    ($($(#[$doc:meta])* $name:ident => $operation:expr;)*) => {$(
        $(#[$doc])*
        pub fn $name(&mut self, a: Value, b: Value) -> Value {
            self.pair($operation, a, b, Element::Truth)
        }
    )*};
}

impl Graph {
    /// An empty one.
    pub fn new() -> Graph {
        Graph::default()
    }

    /// What goes in, in order.
    pub fn inputs(&self) -> &[Port] {
        &self.inputs
    }

    /// What comes out, in order.
    pub fn outputs(&self) -> &[Port] {
        &self.outputs
    }

    /// Every constant.
    pub fn constants(&self) -> &[Constant] {
        &self.constants
    }

    /// Every operation, in an order in which they can be done.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The name of a value.
    ///
    /// # Panics
    /// If it is of another graph.
    pub fn name(&self, value: Value) -> &str {
        &self.names[value.place]
    }

    /// Has `f` add operations and weights whose names begin with this, such as `layers.0`.
    pub fn within<T>(&mut self, scope: &str, f: impl FnOnce(&mut Graph) -> T) -> T {
        let inner = match self.scope.is_empty() {
            true => scope.to_owned(),
            false => format!("{}.{scope}", self.scope),
        };
        let outer = std::mem::replace(&mut self.scope, inner);
        let made = f(self);
        self.scope = outer;
        made
    }

    /// Rows that whoever runs the graph gives. One after another if such a name is taken.
    pub fn input(&mut self, name: &str, element: Element, width: usize) -> Value {
        let value = self.value(name.to_owned(), element, None, width);
        self.inputs.push(Port { name: self.names[value.place].clone(), value });
        value
    }

    /// Rows that whoever runs the graph gets.
    pub fn output(&mut self, name: &str, value: Value) {
        let output = self.value(name.to_owned(), value.element, None, value.width);
        self.nodes.push(Node { operation: Operation::Same, inputs: vec![value], output });
        self.outputs.push(Port { name: self.names[output.place].clone(), value: output });
    }

    /// A tensor of a stage under its own name, as a matrix; one of a single side is a row.
    ///
    /// # Panics
    /// If the values are not as many as the shape says, or it has more than two sides.
    pub fn weights(&mut self, name: &str, shape: &[usize], values: &[f32]) -> Value {
        let shape = match *shape {
            [width] => [1, width],
            [rows, width] => [rows, width],
            _ => panic!("a tensor of shape {shape:?} is no matrix"),
        };
        self.constant(format!("{}.{name}", self.scope), shape, values.into())
    }

    /// A row that is always the same, for all rows: one number for all columns, or one for each.
    pub fn row(&mut self, elements: impl Into<Literal>) -> Value {
        let literal = elements.into();
        let (name, shape) = (format!("{}/constant", self.scope), [1, literal.len()]);
        self.constant(name, shape, literal)
    }

    /// A matrix of these elements, row by row, of so many columns.
    ///
    /// # Panics
    /// If these are not whole rows.
    pub fn matrix(&mut self, width: usize, literal: impl Into<Literal>) -> Value {
        let literal = literal.into();
        assert!(literal.len().is_multiple_of(width), "a matrix has whole rows");
        let shape = [literal.len() / width, width];
        self.constant(format!("{}/constant", self.scope), shape, literal)
    }

    of_one! {
        /// The exponential function.
        exp => Operation::Exp;
        /// The natural logarithm.
        log => Operation::Log;
        /// The square root.
        square_root => Operation::SquareRoot;
        /// The size.
        absolute => Operation::Absolute;
        /// The greatest whole number that is not above.
        floor => Operation::Floor;
        /// The error function.
        erf => Operation::Erf;
        /// The hyperbolic tangent.
        tanh => Operation::Tanh;
        /// `1 / (1 + exp(-x))`.
        sigmoid => Operation::Sigmoid;
        /// `log(1 + exp(x))`.
        softplus => Operation::Softplus;
        /// `max(x, 0)`.
        relu => Operation::Relu;
        /// `exp(x)` over the row's sum of them.
        softmax => Operation::Softmax;
        /// Whether it is false.
        not => Operation::Not;
    }

    of_two! {
        /// `a + b`.
        add => Operation::Add;
        /// `a - b`.
        subtract => Operation::Subtract;
        /// `a * b`.
        multiply => Operation::Multiply;
        /// `a / b`.
        divide => Operation::Divide;
        /// `a` to the power of `b`.
        power => Operation::Power;
        /// Whether both are true.
        and => Operation::And;
        /// Whether one is true.
        or => Operation::Or;
    }

    comparisons! {
        /// Whether `a = b`.
        equal => Operation::Equal;
        /// Whether `a < b`.
        less => Operation::Less;
        /// Whether `a > b`.
        greater => Operation::Greater;
    }

    /// `x`, or `slope * x` below 0.
    pub fn leaky_relu(&mut self, slope: f32, value: Value) -> Value {
        self.add_node(Operation::LeakyRelu { slope }, &[value], value.element, value.width)
    }

    /// `x`, or `alpha * (exp(x) - 1)` below 0.
    pub fn elu(&mut self, alpha: f32, value: Value) -> Value {
        self.add_node(Operation::Elu { alpha }, &[value], value.element, value.width)
    }

    /// Whether it is NaN.
    pub fn is_nan(&mut self, value: Value) -> Value {
        self.add_node(Operation::IsNan, &[value], Element::Truth, value.width)
    }

    /// As another element.
    pub fn convert(&mut self, element: Element, value: Value) -> Value {
        match value.element == element {
            true => value,
            false => self.add_node(Operation::Convert(element), &[value], element, value.width),
        }
    }

    /// `a` where it is so, else `b`.
    pub fn choose(&mut self, is_so: Value, a: Value, b: Value) -> Value {
        assert_eq!((is_so.element, a.element), (Element::Truth, b.element), "what is chosen from");
        let width = [is_so.width, a.width, b.width].into_iter().max().unwrap_or(1);
        self.add_node(Operation::Choose, &[is_so, a, b], a.element, width)
    }

    /// `[batch, n]` times `[n, m]`.
    pub fn product(&mut self, a: Value, b: Value) -> Value {
        assert_eq!((b.rows, b.element), (Some(a.width), a.element), "inner sides of a product");
        self.add_node(Operation::Product, &[a, b], a.element, b.width)
    }

    /// The rows of several values one after another; of one, the value.
    pub fn join(&mut self, values: &[Value]) -> Value {
        match *values {
            [one] => one,
            _ => {
                let element = values[0].element;
                assert!(values.iter().all(|value| value.element == element), "joined elements");
                let width = values.iter().map(|value| value.width).sum();
                self.add_node(Operation::Join, values, element, width)
            }
        }
    }

    /// Columns `from..to`.
    pub fn columns(&mut self, from: usize, to: usize, value: Value) -> Value {
        assert!(from < to && to <= value.width, "columns {from} to {to} of {}", value.width);
        match (from, to) == (0, value.width) {
            true => value,
            false => {
                self.add_node(Operation::Columns { from, to }, &[value], value.element, to - from)
            }
        }
    }

    /// The sum of each row.
    pub fn row_sum(&mut self, value: Value) -> Value {
        self.add_node(Operation::RowSum, &[value], value.element, 1)
    }

    /// The mean of each row.
    pub fn row_mean(&mut self, value: Value) -> Value {
        self.add_node(Operation::RowMean, &[value], value.element, 1)
    }

    /// The place of each row's largest element, the first of equals.
    pub fn largest_place(&mut self, value: Value) -> Value {
        self.add_node(Operation::LargestPlace, &[value], Element::Whole, 1)
    }

    /// Rows of a table.
    pub fn rows(&mut self, table: Value, places: Value) -> Value {
        assert_eq!((places.element, places.width), (Element::Whole, 1), "places of rows");
        self.add_node(Operation::Rows, &[table, places], table.element, table.width)
    }

    /// The place of each text, or another one.
    pub fn find_text(&mut self, found: Vec<(String, i64)>, other: i64, value: Value) -> Value {
        assert_eq!(value.element, Element::Text, "what is looked for");
        let (texts, places) = found.into_iter().unzip();
        let operation = Operation::FindText { texts, places, other };
        self.add_node(operation, &[value], Element::Whole, value.width)
    }

    /// The place of each whole number, or another one.
    pub fn find_whole(&mut self, found: Vec<(i64, i64)>, other: i64, value: Value) -> Value {
        assert_eq!(value.element, Element::Whole, "what is looked for");
        let (numbers, places) = found.into_iter().unzip();
        let operation = Operation::FindWhole { numbers, places, other };
        self.add_node(operation, &[value], Element::Whole, value.width)
    }

    /// The text in each place, from 0 on; the empty text for another place.
    pub fn text(&mut self, texts: &[String], places: Value) -> Value {
        let operation = Operation::Text { texts: texts.to_vec() };
        self.add_node(operation, &[places], Element::Text, places.width)
    }

    fn pair(&mut self, operation: Operation, a: Value, b: Value, element: Element) -> Value {
        assert_eq!(a.element, b.element, "elements of {operation:?}");
        let fits = a.width == b.width || a.width == 1 || b.width == 1;
        assert!(fits, "{operation:?} of rows of {} and {}", a.width, b.width);
        self.add_node(operation, &[a, b], element, a.width.max(b.width))
    }

    fn add_node(
        &mut self,
        operation: Operation,
        inputs: &[Value],
        element: Element,
        width: usize,
    ) -> Value {
        let name = format!("{}/{}", self.scope, operation.name());
        let rows = inputs.iter().map(|value| value.rows).reduce(|a, b| match (a, b) {
            (Some(a), Some(b)) => Some(a.max(b)),
            _ => None,
        });
        let output = self.value(name, element, rows.flatten(), width);
        self.nodes.push(Node { operation, inputs: inputs.to_vec(), output });
        output
    }

    fn constant(&mut self, name: String, shape: [usize; 2], literal: Literal) -> Value {
        let [rows, width] = shape;
        assert_eq!(rows * width, literal.len(), "elements of {name}");
        let value = self.value(name, literal.element(), Some(rows), width);
        let name = self.names[value.place].clone();
        self.constants.push(Constant { name, shape, literal });
        value
    }

    fn value(
        &mut self,
        name: String,
        element: Element,
        rows: Option<usize>,
        width: usize,
    ) -> Value {
        let mut unique = name.clone();
        while self.used.contains_key(&unique) {
            let count = self.used.entry(name.clone()).or_default();
            *count += 1;
            unique = format!("{name}_{count}");
        }
        self.used.insert(unique.clone(), 0);
        self.names.push(unique);
        Value { place: self.names.len() - 1, element, rows, width }
    }
}
