//! A scale of numbers as a job asks for it, or the encoder of a category or a date: which one of the list, and the number
//! that it takes. Computes nothing itself.

use std::fmt;
use std::sync::Arc;

use lockstep_parameters::{Choice, Form, Parameter, Slot};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::{ColumnKind, ENCODERS, Encoder, Fitted, Looks, SCALES, Seen, State};

/// How a column of numbers is scaled, or how one of categories or dates becomes numbers. Statistics come from the training
/// rows alone.
#[derive(Clone, Copy, PartialEq)]
pub struct Scale {
    encoder: &'static Encoder,
    /// 0 where it takes none.
    parameter: f64,
}

impl Scale {
    /// Numbers as they are in the file.
    pub const NONE: Scale = Scale { encoder: SCALES[0], parameter: 0.0 };

    /// Categories as an input each.
    pub(crate) const ONE_HOT: Scale = Scale { encoder: ENCODERS[0], parameter: 0.0 };

    /// Dates as their parts.
    pub(crate) const DATE: Scale = Scale { encoder: ENCODERS[2], parameter: 0.0 };

    /// Categories as vectors of so many values that the network learns.
    pub(crate) fn embedding(dimension: usize) -> Scale {
        Scale { encoder: ENCODERS[1], parameter: dimension as f64 }
    }

    /// Whether it is for columns of this kind.
    pub(crate) fn fits(self, kind: ColumnKind) -> bool {
        match kind {
            ColumnKind::Number | ColumnKind::Boolean => SCALES.contains(&self.encoder),
            ColumnKind::Category => ENCODERS[..2].contains(&self.encoder),
            ColumnKind::Date => self == Scale::DATE,
        }
    }

    /// The scale of a name that stands alone.
    pub fn named(name: &str) -> Option<Scale> {
        let is_it = |encoder: &&&Encoder| encoder.name == name && encoder.parameter.is_none();
        SCALES.iter().find(is_it).map(|encoder| Scale { encoder, parameter: 0.0 })
    }

    /// The scale of a name with its number; `None` if it takes none, or not this.
    pub fn with_parameter(name: &str, number: f64) -> Option<Scale> {
        let encoder = SCALES.iter().find(|encoder| encoder.name == name)?;
        let fits = encoder.parameter?.fits(number);
        fits.then_some(Scale { encoder, parameter: number })
    }

    /// Its name in a job.
    pub fn name(self) -> &'static str {
        self.encoder.name
    }

    /// The number that it takes, if it takes one.
    pub fn parameter(self) -> Option<f64> {
        self.encoder.parameter.map(|_| self.parameter)
    }

    /// Whether it depends on what the training rows hold.
    pub(crate) fn is_learned(self) -> bool {
        self.encoder.looks != Looks::Nothing
    }

    pub(crate) fn looks(self) -> Looks {
        self.encoder.looks
    }

    pub(crate) fn takes_any_size(self) -> bool {
        self.encoder.takes_any_size
    }

    /// Whether a target may be scaled so: what the network computes of it can be undone.
    pub fn has_way_back(self) -> bool {
        self.fit(&Seen::of(&[0.0])).back().is_some()
    }

    pub(crate) fn fit(self, seen: &Seen<'_>) -> Arc<dyn Fitted> {
        (self.encoder.fit)(self.parameter, seen)
    }

    pub(crate) fn restore(self, state: &State) -> Option<Arc<dyn Fitted>> {
        (self.encoder.restore)(self.parameter, state)
    }
}

impl Choice for Scale {
    fn names() -> Vec<&'static str> {
        SCALES.iter().map(|encoder| encoder.name).collect()
    }

    /// A number that is to be given is 0 until then.
    fn named(name: &str) -> Option<Scale> {
        let encoder = SCALES.iter().find(|encoder| encoder.name == name)?;
        Some(Scale { encoder, parameter: 0.0 })
    }

    fn name(&self) -> &'static str {
        self.encoder.name
    }

    fn parameters(&mut self) -> Vec<Parameter<'_>> {
        let Some(range) = self.encoder.parameter else { return Vec::new() };
        vec![Parameter::required(self.encoder.name, Slot::Number(&mut self.parameter, range))]
    }

    fn form() -> Form {
        Form::Key
    }
}

impl Default for Scale {
    fn default() -> Scale {
        Scale::NONE
    }
}

impl fmt::Debug for Scale {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Scale({self})")
    }
}

impl fmt::Display for Scale {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.parameter() {
            Some(number) if self.name() == "divide" => write!(f, "divide by {number}"),
            Some(number) => write!(f, "{} {number}", self.name()),
            None => f.write_str(self.name()),
        }
    }
}

/// What the schema has by that name and number, scales and encoders.
fn kept(name: &str, number: Option<f64>) -> Option<Scale> {
    let encoder = SCALES.iter().chain(&ENCODERS).find(|encoder| encoder.name == name)?;
    match (encoder.parameter, number) {
        (None, None) => Some(Scale { encoder, parameter: 0.0 }),
        (Some(parameter), Some(number)) if parameter.fits(number) => {
            Some(Scale { encoder, parameter: number })
        }
        _ => None,
    }
}

/// As the schema keeps it: `"standard"`, or `{"divide": 255.0}`.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Kept {
    Name(String),
    Parameter(std::collections::BTreeMap<String, f64>),
}

impl Serialize for Scale {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let name = self.name().to_owned();
        let kept = match self.parameter() {
            Some(number) => Kept::Parameter([(name, number)].into()),
            None => Kept::Name(name),
        };
        kept.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Scale {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Scale, D::Error> {
        let found = match Kept::deserialize(deserializer)? {
            Kept::Name(name) => kept(&name, None),
            Kept::Parameter(all) => match all.first_key_value() {
                Some((name, &number)) if all.len() == 1 => kept(name, Some(number)),
                _ => None,
            },
        };
        found.ok_or_else(|| de::Error::custom("found a scale that there is not"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_go_both_ways_and_match_serde() {
        for name in ["none", "standard", "minmax", "robust", "log1p", "quantile"] {
            let scale = Scale::named(name).unwrap();
            assert_eq!(scale.to_string(), name);
            assert_eq!(serde_json::to_string(&scale).unwrap(), format!("\"{name}\""));
            assert_eq!(serde_json::from_str::<Scale>(&format!("\"{name}\"")).unwrap(), scale);
        }
        let divide = Scale::with_parameter("divide", 255.0).unwrap();
        let kept = serde_json::to_string(&divide).unwrap();
        assert_eq!(kept, r#"{"divide":255.0}"#);
        assert_eq!(serde_json::from_str::<Scale>(&kept).unwrap(), divide);
        assert_eq!(divide.to_string(), "divide by 255");
        for name in ["Standard", "divide"] {
            assert_eq!(Scale::named(name), None);
        }
        for (name, number) in [("divide", 0.0), ("divide", f64::INFINITY), ("standard", 1.0)] {
            assert_eq!(Scale::with_parameter(name, number), None, "{name} {number}");
        }
        for kept in ["\"cubic\"", "\"divide\"", "{\"divide\":-1.0}", "{\"standard\":1.0}", "{}"] {
            assert!(serde_json::from_str::<Scale>(kept).is_err(), "{kept}");
        }
        assert_eq!(Scale::default(), Scale::named("none").unwrap());
    }
}
