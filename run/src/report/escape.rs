//! Text from peers, job files, tables and names of files, as a terminal may be given it: on one line, of a bounded
//! length, with everything written out that would move the cursor, turn the direction of writing or not be seen.
//!
//! Only what writes applies it: nothing is escaped on the way there, but for cells whose width counts.

use std::borrow::Cow;
use std::fmt::Write as _;

/// Longest line that is shown whole.
const LINE_CHARS_MAX: usize = 4000;

/// Longest name of a peer that is shown whole.
const NAME_CHARS_MAX: usize = 64;

/// Whether a terminal shows this character, and does nothing else.
fn is_plain(character: char) -> bool {
    !character.is_control()
        && !matches!(character,
            // Soft hyphen, zero width, and what only steers how others are joined or ordered.
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{3164}' | '\u{feff}' | '\u{ffa0}'
            // Line and paragraph separators; embeddings, overrides and isolates.
            | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{fff0}'..='\u{fffb}'
            | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

/// The text with every character seen and none obeyed.
pub fn visible(text: &str) -> Cow<'_, str> {
    escaped(text, |character, shown| match character {
        '\n' | '\r' | '\t' => shown.extend(character.escape_default()),
        _ => shown.extend(character.escape_unicode()),
    })
}

/// A JSON text that means the same, with such characters written as JSON writes them.
pub fn visible_json(text: &str) -> Cow<'_, str> {
    escaped(text, |character, shown| {
        for unit in character.encode_utf16(&mut [0; 2]) {
            // Writing to a String cannot fail.
            let _ = write!(shown, "\\u{unit:04x}");
        }
    })
}

fn escaped(text: &str, escape: impl Fn(char, &mut String)) -> Cow<'_, str> {
    if text.chars().all(is_plain) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        match is_plain(character) {
            true => shown.push(character),
            false => escape(character, &mut shown),
        }
    }
    Cow::Owned(shown)
}

/// One line of text.
pub fn line(text: &str) -> Cow<'_, str> {
    match shortened(text, LINE_CHARS_MAX) {
        None => visible(text),
        Some(short) => Cow::Owned(visible(&short).into_owned()),
    }
}

/// A name that a peer gave itself: quoted where it could be taken for something else.
pub fn peer_name(name: &str) -> Cow<'_, str> {
    let is_usual = |character: char| {
        character.is_alphanumeric() && is_plain(character) || "._-:@+/".contains(character)
    };
    let short = shortened(name, NAME_CHARS_MAX);
    if short.is_none() && !name.is_empty() && name.chars().all(is_usual) {
        return Cow::Borrowed(name);
    }
    Cow::Owned(format!("\"{}\"", visible(short.as_deref().unwrap_or(name)).replace('"', "\\\"")))
}

/// The beginning of a text that is longer than that, and how much is left out.
fn shortened(text: &str, chars_max: usize) -> Option<String> {
    let (end, _) = text.char_indices().nth(chars_max)?;
    let left_out = text[end..].chars().count() as u64;
    let left_out = lockstep_proto::words::count(left_out, "more character");
    Some(format!("{}… ({left_out})", &text[..end]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_obeys_is_written_out() {
        for (text, wanted) in [
            ("plain", "plain"),
            ("größe 体重 नाम e\u{301} 👍", "größe 体重 नाम e\u{301} 👍"),
            (r"C:\jobs", r"C:\jobs"),
            ("a\nb\r\tc", r"a\nb\r\tc"),
            ("\x1b[2J\x07\x7f\0", r"\u{1b}[2J\u{7}\u{7f}\u{0}"),
            ("\u{9b}2J\u{85}", r"\u{9b}2J\u{85}"),
            ("\u{202e}evil\u{2066}\u{200f}", r"\u{202e}evil\u{2066}\u{200f}"),
            ("a\u{200b}\u{feff}\u{ad}b", r"a\u{200b}\u{feff}\u{ad}b"),
            ("\u{2028}\u{e0041}", r"\u{2028}\u{e0041}"),
        ] {
            assert_eq!(visible(text), wanted);
            assert_eq!(visible(&visible(text)), wanted, "twice");
        }
    }

    #[test]
    fn json_still_means_the_same() {
        let text = "\u{9b}2J \u{7f}\u{202e}\u{e0041} ü \n";
        let json = serde_json::to_string(text).unwrap();
        let shown = visible_json(&json);
        assert!(shown.chars().all(is_plain), "{shown}");
        assert_eq!(serde_json::from_str::<String>(&shown).unwrap(), text);
    }

    #[test]
    fn names_that_could_be_something_else_are_quoted_and_short() {
        for (name, wanted) in [
            ("node-3.example.org", "node-3.example.org"),
            ("größe", "größe"),
            ("", r#""""#),
            ("host: all is well", r#""host: all is well""#),
            ("a\"\x1b", r#""a\"\u{1b}""#),
        ] {
            assert_eq!(peer_name(name), wanted);
        }
        let long = format!("\"{}… (136 more characters)\"", "x".repeat(64));
        assert_eq!(peer_name(&"x".repeat(200)), long);
    }

    #[test]
    fn lines_are_bounded() {
        assert_eq!(line(&"x".repeat(4000)).len(), 4000);
        let long = line(&"\x1b".repeat(4001)).into_owned();
        assert!(long.ends_with(r"\u{1b}… (1 more character)"), "{long}");
    }
}
