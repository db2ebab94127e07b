//! Named parameters: what a layer, a schedule, a loss or a scale of columns can be told, each said once, with its name, where
//! its value is, and which values it takes. The value that is there is the default.
//!
//! Reading, writing, checking and listing follow from that one list: whoever knows a format goes through the parameters, one
//! by one. Knows no format, and nothing that has parameters.

mod choice;
mod parameter;
mod range;
mod store;

pub use choice::{Choice, Table};
pub use parameter::{
    AnyChoice, AnyTable, Choices, Chosen, Form, Parameter, ParameterError, Slot, Value, Values,
    check, names, values,
};
pub use range::Range;
pub use store::Store;
