//! Parameters of a layer: a name, a place for the value, and which values it takes. Knows no file format: whoever reads or
//! writes a job or JSON goes through the parameters, one by one.

use crate::kinds::{Activation, Initializer};

/// One parameter of a layer.
#[derive(Debug)]
pub struct Parameter<'a> {
    /// Keras' name of it.
    pub name: &'static str,
    /// Whether it has no default.
    pub is_required: bool,
    /// Where its value is; the default, until it is set.
    pub slot: Slot<'a>,
}

/// The place of a parameter's value, and which values it takes.
#[derive(Debug)]
pub enum Slot<'a> {
    /// A whole number from 1 to the given one.
    Count(&'a mut usize, u64),
    /// A number.
    Number(&'a mut f32, NumberRange),
    /// Yes or no.
    Flag(&'a mut bool),
    /// An activation.
    Activation(&'a mut Activation),
    /// How a tensor starts.
    Initializer(&'a mut Initializer),
}

/// The value of a parameter.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ParameterValue {
    /// A whole number.
    Count(usize),
    /// A number.
    Number(f32),
    /// Yes or no.
    Flag(bool),
    /// An activation.
    Activation(Activation),
    /// How a tensor starts.
    Initializer(Initializer),
}

/// Which numbers a parameter takes. All are finite.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NumberRange {
    /// From 0 to below 1.
    Share,
}

impl NumberRange {
    /// The range in words.
    pub fn wanted(self) -> &'static str {
        match self {
            NumberRange::Share => "a number from 0 to below 1",
        }
    }

    /// Whether a number is in it.
    pub fn fits(self, number: f32) -> bool {
        match self {
            NumberRange::Share => (0.0..1.0).contains(&number),
        }
    }
}

impl<'a> Parameter<'a> {
    pub(crate) fn required(name: &'static str, slot: Slot<'a>) -> Parameter<'a> {
        Parameter { name, is_required: true, slot }
    }

    pub(crate) fn optional(name: &'static str, slot: Slot<'a>) -> Parameter<'a> {
        Parameter { name, is_required: false, slot }
    }

    /// What is wrong with the value by itself: what was found, and what was wanted.
    pub(crate) fn problem(&self) -> Option<String> {
        let complain = |found: String, wanted: String| {
            Some(format!("`{}`: found {found}, wanted {wanted}", self.name))
        };
        match &self.slot {
            Slot::Count(count, most) if !(1..=*most).contains(&(**count as u64)) => {
                complain(count.to_string(), format!("a whole number from 1 to {most}"))
            }
            Slot::Number(number, range) if !range.fits(**number) => {
                complain(number.to_string(), range.wanted().to_string())
            }
            Slot::Activation(activation) => activation.problem(),
            _ => None,
        }
    }
}

impl Slot<'_> {
    /// The value, to be looked at.
    pub fn value(&self) -> ParameterValue {
        match self {
            Slot::Count(count, _) => ParameterValue::Count(**count),
            Slot::Number(number, _) => ParameterValue::Number(**number),
            Slot::Flag(flag) => ParameterValue::Flag(**flag),
            Slot::Activation(activation) => ParameterValue::Activation(**activation),
            Slot::Initializer(initializer) => ParameterValue::Initializer(**initializer),
        }
    }
}
