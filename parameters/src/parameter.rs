//! A parameter: its name, the place of its value with the values that it takes, and the value to be looked at. What is chosen
//! by name and tables have parameters of their own, and are seen here whatever their type.

use crate::range::Range;
use crate::store::Store;

/// One parameter.
pub struct Parameter<'a> {
    /// As a job has it: Keras' name, where Keras has one.
    pub name: &'static str,
    /// Whether it has no default.
    pub is_required: bool,
    /// Where its value is; the default, until it is set.
    pub slot: Slot<'a>,
}

impl<'a> Parameter<'a> {
    /// One that has no default.
    pub fn required(name: &'static str, slot: Slot<'a>) -> Parameter<'a> {
        Parameter { name, is_required: true, slot }
    }

    /// One whose default is what its place holds.
    pub fn optional(name: &'static str, slot: Slot<'a>) -> Parameter<'a> {
        Parameter { name, is_required: false, slot }
    }
}

/// What is wrong with a parameter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParameterError {
    /// The parameter to look at; one of a parameter's own comes after a dot.
    pub parameter: String,
    /// What was found, what was wanted.
    pub problem: String,
}

impl ParameterError {
    /// This problem of this parameter.
    pub fn new(parameter: impl Into<String>, problem: impl Into<String>) -> ParameterError {
        ParameterError { parameter: parameter.into(), problem: problem.into() }
    }
}

/// Names and values, but for those that are left out.
pub fn values(parameters: Vec<Parameter<'_>>) -> Values {
    let value = |found: Parameter<'_>| Some((found.name, found.slot.value()?));
    parameters.into_iter().filter_map(value).collect()
}

/// The names, in the order in which they are written.
pub fn names(parameters: Vec<Parameter<'_>>) -> Vec<&'static str> {
    parameters.iter().map(|found| found.name).collect()
}

/// Checks each value by itself.
///
/// # Errors
/// The first that is out of its range.
pub fn check(parameters: Vec<Parameter<'_>>) -> Result<(), ParameterError> {
    parameters.into_iter().try_for_each(|found| found.slot.check(found.name))
}

/// The place of a parameter's value, and which values it takes.
pub enum Slot<'a> {
    /// Yes or no.
    Flag(&'a mut dyn Store<bool>),
    /// A whole number from the first to the second.
    Whole(&'a mut dyn Store<u64>, u64, u64),
    /// Whole numbers from the first to the second.
    Wholes(&'a mut dyn Store<Vec<u64>>, u64, u64),
    /// Two whole numbers from the first to the second, height and width; one stands for both.
    Sides(&'a mut dyn Store<[u64; 2]>, u64, u64),
    /// A number.
    Number(&'a mut dyn Store<f64>, Range),
    /// Numbers.
    Numbers(&'a mut dyn Store<Vec<f64>>, Range),
    /// A number that is rounded to a 32-bit float.
    Number32(&'a mut dyn Store<f32>, Range),
    /// A text.
    Text(&'a mut dyn Store<String>),
    /// Texts.
    Texts(&'a mut dyn Store<Vec<String>>),
    /// What is chosen by name.
    Choice(&'a mut dyn AnyChoice),
    /// As many of those, at most so many.
    Choices(&'a mut dyn Choices, usize),
    /// A table of parameters.
    Table(&'a mut dyn AnyTable),
}

/// The value of a parameter.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Yes or no.
    Flag(bool),
    /// A whole number.
    Whole(u64),
    /// A number.
    Number(f64),
    /// A 32-bit float.
    Number32(f32),
    /// A text.
    Text(String),
    /// A list.
    List(Vec<Value>),
    /// What is chosen by name.
    Chosen(Chosen),
    /// A table of parameters.
    Table(Values),
}

/// Names and values.
pub type Values = Vec<(&'static str, Value)>;

/// What is chosen by name.
#[derive(Clone, Debug, PartialEq)]
pub struct Chosen {
    /// How a job has it.
    pub form: Form,
    /// Its name.
    pub name: &'static str,
    /// Its parameters.
    pub values: Values,
}

impl Slot<'_> {
    /// The value, to be looked at; `None` if it is left out.
    pub fn value(self) -> Option<Value> {
        let list = |values: Vec<Value>| Some(Value::List(values));
        match self {
            Slot::Flag(flag) => flag.get().map(Value::Flag),
            Slot::Whole(number, ..) => number.get().map(Value::Whole),
            Slot::Wholes(numbers, ..) => {
                list(numbers.get()?.into_iter().map(Value::Whole).collect())
            }
            Slot::Sides(sides, ..) => match sides.get()? {
                [height, width] if height == width => Some(Value::Whole(height)),
                both => list(both.map(Value::Whole).to_vec()),
            },
            Slot::Number(number, _) => number.get().map(Value::Number),
            Slot::Numbers(numbers, _) => {
                list(numbers.get()?.into_iter().map(Value::Number).collect())
            }
            Slot::Number32(number, _) => number.get().map(Value::Number32),
            Slot::Text(text) => text.get().map(Value::Text),
            Slot::Texts(texts) => list(texts.get()?.into_iter().map(Value::Text).collect()),
            Slot::Choice(choice) => choice.value(),
            Slot::Choices(choices, _) => {
                list(choices.items().into_iter().filter_map(AnyChoice::value).collect())
            }
            Slot::Table(table) => Some(Value::Table(table.values()?)),
        }
    }

    /// Checks the value by itself.
    pub(crate) fn check(self, name: &str) -> Result<(), ParameterError> {
        let whole = |found: &u64, min: u64, max: u64| match (min..=max).contains(found) {
            true => Ok(()),
            false => Err(format!("found {found}, wanted a whole number from {min} to {max}")),
        };
        let number = |found: &f64, range: Range| match range.fits(*found) {
            true => Ok(()),
            false => Err(format!("found {found:?}, wanted {}", range.wanted)),
        };
        let below = |checked: Result<(), ParameterError>| {
            checked.map_err(|wrong| {
                ParameterError::new(format!("{name}.{}", wrong.parameter), wrong.problem)
            })
        };
        let checked = match self {
            Slot::Flag(_) | Slot::Text(_) | Slot::Texts(_) => Ok(()),
            Slot::Whole(store, min, max) => {
                store.get().iter().try_for_each(|found| whole(found, min, max))
            }
            Slot::Wholes(store, min, max) => {
                store.get().iter().flatten().try_for_each(|found| whole(found, min, max))
            }
            Slot::Sides(store, min, max) => {
                store.get().iter().flatten().try_for_each(|found| whole(found, min, max))
            }
            Slot::Number(store, range) => {
                store.get().iter().try_for_each(|found| number(found, range))
            }
            Slot::Numbers(store, range) => {
                store.get().iter().flatten().try_for_each(|found| number(found, range))
            }
            Slot::Number32(store, range) => match store.get() {
                Some(found) if !range.fits(found.into()) => {
                    Err(format!("found {found}, wanted {}", range.wanted))
                }
                _ => Ok(()),
            },
            Slot::Choice(choice) => return below(choice.check()),
            Slot::Choices(choices, _) => {
                return choices.items().into_iter().try_for_each(|choice| below(choice.check()));
            }
            Slot::Table(table) => return below(table.check()),
        };
        checked.map_err(|problem| ParameterError::new(name, problem))
    }
}

/// How a job has what is chosen by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// The name, or a table with the name under this key, and the parameters beside it.
    Tag(&'static str),
    /// The name of what has no parameter, or a table with the name as the key of its only one.
    Key,
}

/// A choice of any type, or an `Option` of one, which may hold none.
pub trait AnyChoice {
    /// How a job has it.
    fn form(&self) -> Form;

    /// All names, in the order in which messages list them.
    fn names(&self) -> Vec<&'static str>;

    /// Becomes what has that name; whether there is such.
    fn choose(&mut self, name: &str) -> bool;

    /// Its parameters, in the order in which they are written; none where nothing is chosen.
    fn parameters(&mut self) -> Vec<Parameter<'_>>;

    /// The names of the parameters of what has that name.
    fn parameters_of(&self, name: &str) -> Vec<&'static str>;

    /// Which numbers stand for one of them, if any do.
    fn numbers(&self) -> Option<Range>;

    /// Becomes what a number stands for.
    fn choose_number(&mut self, number: f32);

    /// The value, to be looked at.
    fn value(&mut self) -> Option<Value>;

    /// Checks the parameters, one by one and together.
    ///
    /// # Errors
    /// The first that is wrong.
    fn check(&mut self) -> Result<(), ParameterError>;
}

/// A list of choices of any type.
pub trait Choices {
    /// Empties the list.
    fn empty(&mut self);

    /// Adds one that is still to be chosen.
    fn add(&mut self) -> &mut dyn AnyChoice;

    /// All of them.
    fn items(&mut self) -> Vec<&mut dyn AnyChoice>;
}

/// A table of any type, or an `Option` of one, which may hold none.
pub trait AnyTable {
    /// The parameters; a table that is not there is made, its parameters at their defaults.
    fn open(&mut self) -> Vec<Parameter<'_>>;

    /// Names and values; `None` where there is no table.
    fn values(&mut self) -> Option<Values>;

    /// Checks the parameters, one by one.
    ///
    /// # Errors
    /// The first that is wrong.
    fn check(&mut self) -> Result<(), ParameterError>;
}
