//! How CSV files are written: what separates cells and what quotes them, whether there is a header, and which texts
//! mean a missing cell. Kept with the job and with the model, so that every table of theirs is read alike. Reads no file.

use serde::{Deserialize, Serialize};

use crate::number::number;

/// What means a missing cell unless the job lists its own, in any case: what pandas takes for one, and `?`. An empty
/// cell always is one.
pub const MISSING_DEFAULT: [&str; 14] = [
    "?", "na", "n/a", "#na", "#n/a", "#n/a n/a", "<na>", "nan", "-nan", "null", "1.#ind",
    "-1.#ind", "1.#qnan", "-1.#qnan",
];

/// What else means a missing cell where a number is wanted, in any case. As labels these are as good as any.
pub const MISSING_NUMBERS_DEFAULT: [&str; 3] = ["-", ".", "none"];

/// A missing label in this spelling alone: "none" is a label of many a table.
const MISSING_NONE: &[u8] = b"None";

/// Longest of all of them.
const MISSING_LEN_MAX: usize = 8;

fn is_point(decimal: &char) -> bool {
    *decimal == '.'
}

/// How the CSV files of a job are written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Dialect {
    /// What separates cells; `None`: comma, semicolon or tab, whichever fits a file's first rows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delimiter: Option<char>,
    /// What quotes cells; `None`: nothing does.
    pub quote: Option<char>,
    /// What a line begins with that is left out; `None`: no line is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comment: Option<char>,
    /// Whether the first row holds the columns' names. If not, they are `column1`, `column2` and so on.
    pub header: bool,
    /// What parts the whole of a number from its fraction: a point or a comma.
    #[serde(skip_serializing_if = "is_point")]
    pub decimal: char,
    /// What means a missing cell, instead of the default list.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub missing_values: Option<Vec<String>>,
}

impl Default for Dialect {
    fn default() -> Dialect {
        Dialect {
            delimiter: None,
            quote: Some('"'),
            comment: None,
            header: true,
            decimal: '.',
            missing_values: None,
        }
    }
}

impl Dialect {
    /// The problem with a delimiter, a quote or a comment that no file can have: key and words.
    pub fn problem(&self) -> Option<(&'static str, String)> {
        let is_usable = |c: char| c.is_ascii() && (c == '\t' || !c.is_control());
        let wanted = "wanted one ASCII character other than a line end";
        let keys = [
            ("data.delimiter", self.delimiter),
            ("data.quote", self.quote),
            ("data.comment", self.comment),
        ];
        for (key, found) in keys {
            if let Some(found) = found.filter(|&c| !is_usable(c)) {
                return Some((key, format!("found {found:?}, {wanted}")));
            }
        }
        if !matches!(self.decimal, '.' | ',') {
            let problem = format!("found {:?}, wanted a point or a comma", self.decimal);
            return Some(("data.decimal", problem));
        }
        if self.delimiter == Some(self.decimal) {
            let problem = format!("found {:?}, which is the decimal sign as well", self.decimal);
            return Some(("data.delimiter", problem));
        }
        if let Some(comment) = self.comment {
            if Some(comment) == self.quote {
                return Some((
                    "data.comment",
                    format!("found {comment:?}, which is the quote as well"),
                ));
            }
            if Some(comment) == self.delimiter {
                let problem = format!("found {comment:?}, which is the delimiter as well");
                return Some(("data.comment", problem));
            }
        }
        let delimiter = self.delimiter.filter(|_| self.delimiter == self.quote)?;
        Some(("data.delimiter", format!("found {delimiter:?}, which is the quote as well")))
    }

    /// The number that a text is.
    pub(crate) fn number(&self, cell: &[u8]) -> Option<f64> {
        match self.decimal {
            ',' if cell.contains(&b'.') => None,
            ',' if cell.contains(&b',') => {
                let with_point: Vec<u8> =
                    cell.iter().map(|&byte| if byte == b',' { b'.' } else { byte }).collect();
                number(&with_point)
            }
            _ => number(cell),
        }
    }

    pub(crate) fn comment_byte(&self) -> Option<u8> {
        self.comment.map(|comment| comment as u8)
    }

    pub(crate) fn quote_byte(&self) -> Option<u8> {
        self.quote.map(|quote| quote as u8)
    }

    /// Texts that mean a missing label, for who cannot look at them in any case: as they are listed, or of the default list in
    /// small and in capital letters, and as pandas writes them.
    pub(crate) fn missing_texts(&self) -> Vec<String> {
        if let Some(listed) = &self.missing_values {
            return listed.iter().map(|text| text.trim().to_owned()).collect();
        }
        let in_both =
            MISSING_DEFAULT.iter().flat_map(|text| [text.to_string(), text.to_uppercase()]);
        in_both.chain(["NaN", "None"].map(str::to_owned)).collect()
    }

    /// Whether this cell, trimmed and not empty, means a missing one.
    pub(crate) fn is_missing(&self, cell: &[u8], is_number: bool) -> bool {
        if let Some(listed) = &self.missing_values {
            return listed.iter().any(|value| value.trim().as_bytes() == cell);
        }
        if cell.len() > MISSING_LEN_MAX {
            return false;
        }
        let is_one = |text: &str| cell.eq_ignore_ascii_case(text.as_bytes());
        MISSING_DEFAULT.iter().any(|text| is_one(text))
            || is_number && MISSING_NUMBERS_DEFAULT.iter().any(|text| is_one(text))
            || cell == MISSING_NONE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_list_covers_what_pandas_takes_for_missing_in_any_case() {
        let dialect = Dialect::default();
        for text in [
            "?", "NA", "n/a", "N/A", "#N/A", "#N/A N/A", "#NA", "<NA>", "NaN", "nan", "-nan",
            "NULL", "None", "1.#IND", "-1.#IND", "1.#QNAN", "-1.#QNAN",
        ] {
            assert!(dialect.is_missing(text.as_bytes(), false), "{text}");
        }
        let longest = MISSING_DEFAULT.iter().chain(&MISSING_NUMBERS_DEFAULT).map(|text| text.len());
        assert_eq!(longest.max(), Some(MISSING_LEN_MAX));
        for text in ["-", ".", "none"] {
            assert!(dialect.is_missing(text.as_bytes(), true), "{text}");
            assert!(!dialect.is_missing(text.as_bytes(), false), "{text}");
        }
        for text in ["Namibia", "0", "--", "none of these"] {
            assert!(!dialect.is_missing(text.as_bytes(), true), "{text}");
        }
    }

    #[test]
    fn numbers_have_a_point_or_a_comma() {
        let comma = Dialect { decimal: ',', ..Dialect::default() };
        for (text, value) in
            [("1,5", Some(1.5)), ("-,5", Some(-0.5)), ("7", Some(7.0)), ("1e3", Some(1e3))]
        {
            assert_eq!(comma.number(text.as_bytes()), value, "{text}");
        }
        for text in ["1.5", "1.234,5", "1,2,3", ",", "x"] {
            assert_eq!(comma.number(text.as_bytes()), None, "{text}");
        }
        assert_eq!(Dialect::default().number(b"1,5"), None);
        let kept = serde_json::to_string(&Dialect::default()).unwrap();
        assert!(!kept.contains("decimal"), "{kept}");
        for (decimal, delimiter, key) in
            [(';', None, "data.decimal"), (',', Some(','), "data.delimiter")]
        {
            let dialect = Dialect { decimal, delimiter, ..Dialect::default() };
            assert_eq!(dialect.problem().unwrap().0, key);
        }
    }

    #[test]
    fn a_list_of_the_job_replaces_the_default() {
        let missing_values = Some(vec!["-999".to_owned(), " x ".to_owned()]);
        let dialect = Dialect { missing_values, ..Dialect::default() };
        for (cell, wanted) in [("-999", true), ("x", true), ("X", false), ("NA", false)] {
            assert_eq!(dialect.is_missing(cell.as_bytes(), true), wanted, "{cell}");
        }
    }

    #[test]
    fn delimiter_and_quote_are_one_character_each() {
        let with = |delimiter, quote| Dialect { delimiter, quote, ..Dialect::default() }.problem();
        for (delimiter, quote) in [(None, None), (Some('\t'), Some('\'')), (Some('|'), Some('"'))] {
            assert_eq!(with(delimiter, quote), None);
        }
        for (delimiter, quote, key) in [
            (Some('\n'), None, "data.delimiter"),
            (Some('é'), None, "data.delimiter"),
            (None, Some('\r'), "data.quote"),
            (Some('"'), Some('"'), "data.delimiter"),
        ] {
            assert_eq!(with(delimiter, quote).unwrap().0, key);
        }
        for comment in ['"', ';', '\n', 'é'] {
            let dialect =
                Dialect { delimiter: Some(';'), comment: Some(comment), ..Dialect::default() };
            assert_eq!(dialect.problem().unwrap().0, "data.comment", "{comment}");
        }
    }
}
