//! What the system says of a connection, for people.

use std::io::Error;

/// What it said, without its number.
pub fn without_code(error: &Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or(&text).to_string()
}
