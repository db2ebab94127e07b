//! What is chosen by name, and tables: both have parameters. Who has them implements [`Choice`] or [`Table`]; who reads and
//! writes them sees [`AnyChoice`] and [`AnyTable`], whatever they are of.

use crate::parameter::{
    AnyChoice, AnyTable, Choices, Chosen, Form, Parameter, ParameterError, Value, Values, check,
    names, values,
};
use crate::range::Range;

/// One of several things, each with a name and parameters of its own: a layer, a schedule, a loss.
pub trait Choice: Sized {
    /// All names, in the order in which messages list them.
    fn names() -> Vec<&'static str>;

    /// What has that name, its parameters at their defaults. Those that have none are still to be filled in.
    fn named(name: &str) -> Option<Self>;

    /// Its name.
    fn name(&self) -> &'static str;

    /// Its parameters, in the order in which they are written.
    fn parameters(&mut self) -> Vec<Parameter<'_>> {
        Vec::new()
    }

    /// Checks what the ranges of single parameters do not say.
    ///
    /// # Errors
    /// If the parameters do not go together.
    fn check_together(&self) -> Result<(), ParameterError> {
        Ok(())
    }

    /// How a job has it.
    fn form() -> Form {
        Form::Tag("type")
    }

    /// Which numbers stand for one of them, if any do.
    fn numbers() -> Option<Range> {
        None
    }

    /// What a number stands for.
    fn of_number(_number: f32) -> Option<Self> {
        None
    }

    /// The number that stands for it.
    fn number(&self) -> Option<f32> {
        None
    }
}

/// Where a choice is kept: the choice itself, or an `Option` of it, which may hold none.
trait Held {
    type Of: Choice;

    fn get(&mut self) -> Option<&mut Self::Of>;

    fn put(&mut self, chosen: Self::Of);
}

impl<T: Choice> Held for T {
    type Of = T;

    fn get(&mut self) -> Option<&mut T> {
        Some(self)
    }

    fn put(&mut self, chosen: T) {
        *self = chosen;
    }
}

impl<T: Choice> Held for Option<T> {
    type Of = T;

    fn get(&mut self) -> Option<&mut T> {
        self.as_mut()
    }

    fn put(&mut self, chosen: T) {
        *self = Some(chosen);
    }
}

impl<H: Held> AnyChoice for H {
    fn form(&self) -> Form {
        <H::Of as Choice>::form()
    }

    fn names(&self) -> Vec<&'static str> {
        <H::Of as Choice>::names()
    }

    fn numbers(&self) -> Option<Range> {
        <H::Of as Choice>::numbers()
    }

    fn choose(&mut self, name: &str) -> bool {
        H::Of::named(name).map(|chosen| self.put(chosen)).is_some()
    }

    fn choose_number(&mut self, number: f32) {
        if let Some(chosen) = H::Of::of_number(number) {
            self.put(chosen);
        }
    }

    fn parameters(&mut self) -> Vec<Parameter<'_>> {
        self.get().map(Choice::parameters).unwrap_or_default()
    }

    fn parameters_of(&self, name: &str) -> Vec<&'static str> {
        H::Of::named(name).map_or_else(Vec::new, |mut found| names(Choice::parameters(&mut found)))
    }

    fn value(&mut self) -> Option<Value> {
        let chosen = self.get()?;
        Some(match Choice::number(chosen) {
            Some(number) => Value::Number32(number),
            None => Value::Chosen(Chosen {
                form: <H::Of as Choice>::form(),
                name: chosen.name(),
                values: values(Choice::parameters(chosen)),
            }),
        })
    }

    fn check(&mut self) -> Result<(), ParameterError> {
        let Some(chosen) = self.get() else { return Ok(()) };
        check(Choice::parameters(chosen))?;
        chosen.check_together()
    }
}

impl<T: Choice> Choices for Vec<T> {
    fn empty(&mut self) {
        self.clear();
    }

    fn add(&mut self) -> &mut dyn AnyChoice {
        let first = T::named(T::names()[0]).expect("every name of the list has a value");
        self.push(first);
        self.last_mut().expect("one was just added")
    }

    fn items(&mut self) -> Vec<&mut dyn AnyChoice> {
        self.iter_mut().map(|item| item as &mut dyn AnyChoice).collect()
    }
}

/// A list of parameters.
pub trait Table {
    /// The parameters, in the order in which they are written.
    fn parameters(&mut self) -> Vec<Parameter<'_>>;
}

impl<T: Table> AnyTable for T {
    fn open(&mut self) -> Vec<Parameter<'_>> {
        self.parameters()
    }

    fn values(&mut self) -> Option<Values> {
        Some(values(self.parameters()))
    }

    fn check(&mut self) -> Result<(), ParameterError> {
        check(self.parameters())
    }
}

impl<T: Table + Default> AnyTable for Option<T> {
    fn open(&mut self) -> Vec<Parameter<'_>> {
        self.get_or_insert_default().parameters()
    }

    fn values(&mut self) -> Option<Values> {
        self.as_mut().and_then(AnyTable::values)
    }

    fn check(&mut self) -> Result<(), ParameterError> {
        self.as_mut().map_or(Ok(()), AnyTable::check)
    }
}

/// Makes a [`Choice`] of an enum, with `name` and `Display`: each line has a name, the variant, and the variant's fields with
/// their defaults and slots. A value that a variant has in parentheses goes by the variant's own name.
#[macro_export]
macro_rules! choices {
    (@form) => { $crate::Form::Tag("type") };
    (@form $($any:ident)+) => { $crate::Form::Key };
    ($type:ident { $($name:literal => $variant:ident
        $({ $($field:ident = $default:expr => $slot:ident($($range:expr),*)),+ })?
        $(($inner:ident = $inner_default:expr => $inner_slot:ident($($inner_range:expr),*)))?
    ),+ $(,)? }) => {
        impl $type {
            /// The name in a job.
            pub fn name(&self) -> &'static str {
                match self {
                    $($type::$variant { .. } => $name,)+
                }
            }
        }

        impl ::std::fmt::Display for $type {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                f.write_str(self.name())?;
                match self {
                    $($($type::$variant($inner) => ::std::write!(f, " {}", $inner),)?)+
                    #[allow(unreachable_patterns, reason = "where every variant holds a value")]
                    _ => Ok(()),
                }
            }
        }

        impl $crate::Choice for $type {
            fn names() -> Vec<&'static str> {
                vec![$($name),+]
            }

            fn named(name: &str) -> Option<$type> {
                match name {
                    $($name => Some(
                        $type::$variant $({ $($field: $default),+ })? $(($inner_default))?
                    ),)+
                    _ => None,
                }
            }

            fn name(&self) -> &'static str {
                $type::name(self)
            }

            fn parameters(&mut self) -> Vec<$crate::Parameter<'_>> {
                match self {
                    $($type::$variant $({ $($field),+ })? $(($inner))? => vec![
                        $($($crate::Parameter::optional(
                            stringify!($field),
                            $crate::Slot::$slot($field, $($range),*),
                        )),+)?
                        $($crate::Parameter::required(
                            $name,
                            $crate::Slot::$inner_slot($inner, $($inner_range),*),
                        ))?
                    ],)+
                }
            }

            fn form() -> $crate::Form {
                $crate::choices!(@form $($($inner)?)+)
            }
        }
    };
}

#[cfg(test)]
#[allow(unreachable_pub, reason = "the macro is for types that a crate shows")]
mod tests {
    use super::*;
    use crate::Slot;

    #[derive(Debug, PartialEq)]
    enum Shape {
        Dot,
        Circle { radius: f32, holes: u32 },
    }

    crate::choices!(Shape {
        "dot" => Dot,
        "circle" => Circle {
            radius = 2.0 => Number32(Range::ABOVE_0_F32),
            holes = 0 => Whole(0, 3)
        },
    });

    #[derive(Debug, PartialEq)]
    enum Size {
        Any,
        Exactly(f64),
    }

    crate::choices!(Size {
        "any" => Any,
        "exactly" => Exactly(size = 0.0 => Number(Range::AT_LEAST_0)),
    });

    #[test]
    fn a_choice_has_the_names_defaults_and_ranges_of_its_lines() {
        assert_eq!(<Shape as Choice>::names(), ["dot", "circle"]);
        assert_eq!(Shape::named("square"), None);
        let mut shape = Shape::named("circle").unwrap();
        assert_eq!(shape, Shape::Circle { radius: 2.0, holes: 0 });
        assert_eq!(
            (shape.to_string(), <Shape as Choice>::form()),
            ("circle".to_string(), Form::Tag("type"))
        );
        let wanted = [("radius", Value::Number32(2.0)), ("holes", Value::Whole(0))];
        assert_eq!(values(Choice::parameters(&mut shape)), wanted);
        assert_eq!((shape.parameters_of("dot"), shape.check()), (Vec::new(), Ok(())));
        for (mut wrong, parameter, problem) in [
            (Shape::Circle { radius: 0.0, holes: 1 }, "radius", "found 0, wanted a number above 0"),
            (Shape::Circle { radius: 1.0, holes: 4 }, "holes", "found 4, wanted a whole number"),
        ] {
            let error = wrong.check().unwrap_err();
            assert_eq!(error.parameter, parameter);
            assert!(error.problem.starts_with(problem), "{error:?}");
        }
    }

    #[test]
    fn a_value_in_parentheses_goes_by_the_name() {
        let mut size = Size::named("exactly").unwrap();
        for parameter in Choice::parameters(&mut size) {
            assert_eq!((parameter.name, parameter.is_required), ("exactly", true));
            let Slot::Number(into, _) = parameter.slot else { panic!("another slot") };
            into.set(1.5);
        }
        assert_eq!(
            (size.to_string(), <Size as Choice>::form()),
            ("exactly 1.5".to_string(), Form::Key)
        );
        assert_eq!(Size::Any.to_string(), "any");
    }

    #[test]
    fn what_is_left_out_has_no_value_until_it_is_chosen() {
        let mut shape: Option<Shape> = None;
        assert_eq!((shape.value(), AnyChoice::parameters(&mut shape).len()), (None, 0));
        assert!(!shape.choose("square") && shape.is_none());
        assert!(shape.choose("circle") && AnyChoice::parameters(&mut shape).len() == 2);
        let mut list: Vec<Shape> = Vec::new();
        assert!(list.add().choose("circle"));
        assert_eq!(list.items().len(), 1);
    }
}
