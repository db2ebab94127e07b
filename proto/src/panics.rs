//! A panic that was caught, as the text of an error. Decides nothing about what follows.
//!
//! A panic is a mistake of this program's own. It ends the request in which it happened, with an error; never the process
//! of whoever called a library.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Does something that ends with an error if it panics. What it was at work on is not to be used afterwards.
///
/// # Errors
/// What the panic said.
pub fn guard<T>(what: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(what)).map_err(|panic| text(&*panic))
}

/// What a caught panic said.
pub fn text(panic: &(dyn Any + Send)) -> String {
    let said = panic.downcast_ref::<String>().map(String::as_str);
    let said = said.or_else(|| panic.downcast_ref::<&str>().copied());
    let said = said.unwrap_or("it left no message");
    format!("{said}; this is a bug in lockstep, please report it")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_an_error() {
        assert_eq!(guard(|| 7), Ok(7));
        let said = |panics: fn()| guard(panics).unwrap_err();
        let report = "this is a bug in lockstep, please report it";
        assert_eq!(said(|| panic!("at {}", 3)), format!("at 3; {report}"));
        assert_eq!(said(|| panic!("there")), format!("there; {report}"));
        assert_eq!(said(|| std::panic::panic_any(3)), format!("it left no message; {report}"));
    }
}
