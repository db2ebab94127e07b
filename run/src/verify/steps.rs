//! Which steps are verified, as the command line says it.

use std::str::FromStr;

/// A range of steps, from 1, both ends in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Steps {
    /// The first; at least 1.
    pub first: u64,
    /// The last, if it is not the run's; at least the first.
    pub last: Option<u64>,
}

impl Default for Steps {
    /// All of them.
    fn default() -> Steps {
        Steps { first: 1, last: None }
    }
}

impl FromStr for Steps {
    type Err = String;

    /// `A..B`, `A..`, `..B` or one step `N`.
    fn from_str(text: &str) -> Result<Steps, String> {
        let wanted = |what: &str| format!("{what}: wanted A..B, A.., ..B or N, steps from 1 on");
        let step = |text: &str| match text.parse() {
            Ok(step) if step > 0 => Ok(step),
            Ok(_) => Err(wanted("there is no step 0")),
            Err(_) => Err(wanted(&format!("{text:?} is no step"))),
        };
        let (first, last) = match text.split_once("..") {
            None => (step(text)?, Some(step(text)?)),
            Some(("", "")) => return Err(wanted("it names no step")),
            Some(("", last)) => (1, Some(step(last)?)),
            Some((first, "")) => (step(first)?, None),
            Some((first, last)) => (step(first)?, Some(step(last)?)),
        };
        if last.is_some_and(|last| last < first) {
            return Err(wanted("it ends before it begins"));
        }
        Ok(Steps { first, last })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_of_steps() {
        for (text, first, last) in [
            ("3..7", 3, Some(7)),
            ("3..3", 3, Some(3)),
            ("3..", 3, None),
            ("..7", 1, Some(7)),
            ("120", 120, Some(120)),
        ] {
            assert_eq!(text.parse(), Ok(Steps { first, last }), "{text}");
        }
        for (text, message) in [
            ("", "\"\" is no step: wanted A..B, A.., ..B or N"),
            ("..", "it names no step"),
            ("0..3", "there is no step 0"),
            ("7..3", "it ends before it begins"),
            ("1...3", "\".3\" is no step"),
            ("-1..3", "\"-1\" is no step"),
            ("1..=3", "\"=3\" is no step"),
            ("99999999999999999999", "is no step"),
        ] {
            let error = text.parse::<Steps>().unwrap_err();
            assert!(error.contains(message), "{text}: {error}");
        }
    }
}
