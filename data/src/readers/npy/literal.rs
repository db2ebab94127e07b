//! The Python literals that an NPY file's header consists of: texts, whole numbers, truth values, tuples, lists and
//! dictionaries. Evaluates nothing. Nests no deeper than a limit, and takes no more memory than the text's length allows.

/// Deepest nesting. A structured dtype's fields are a list of tuples in a dictionary.
const DEPTH_MAX: usize = 8;

/// A literal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Literal {
    Text(String),
    Whole(u64),
    Truth(bool),
    Nothing,
    /// A tuple or a list.
    Sequence(Vec<Literal>),
    /// Keys and values, in order.
    Dictionary(Vec<(Literal, Literal)>),
}

/// Reads a text that is one literal.
///
/// # Errors
/// What was found, and where.
pub(super) fn parse(text: &str) -> Result<Literal, String> {
    let mut parser = Parser { text, at: 0 };
    let found = parser.literal(0)?;
    match parser.next_char() {
        None => Ok(found),
        Some(_) => Err(parser.fault("nothing more")),
    }
}

struct Parser<'a> {
    text: &'a str,
    /// In bytes.
    at: usize,
}

impl Parser<'_> {
    /// The next character that is no space, which stays.
    fn next_char(&mut self) -> Option<char> {
        let rest = &self.text[self.at..];
        let rest = rest.trim_start_matches(|c: char| c.is_ascii_whitespace());
        self.at = self.text.len() - rest.len();
        rest.chars().next()
    }

    /// Takes this character if it is next.
    fn takes(&mut self, wanted: char) -> bool {
        let is_it = self.next_char() == Some(wanted);
        if is_it {
            self.at += wanted.len_utf8();
        }
        is_it
    }

    fn fault(&mut self, wanted: &str) -> String {
        let found = self.next_char().map_or("its end".to_owned(), |c| format!("{c:?}"));
        format!("found {found} at byte {}, wanted {wanted}", self.at)
    }

    fn literal(&mut self, depth: usize) -> Result<Literal, String> {
        if depth > DEPTH_MAX {
            return Err(format!("found more than {DEPTH_MAX} brackets in one another"));
        }
        match self.next_char() {
            Some('{') => self.dictionary(depth),
            Some('(') => self.sequence(')', depth),
            Some('[') => self.sequence(']', depth),
            Some('\'' | '"') => self.string().map(Literal::Text),
            Some('0'..='9') => self.whole(),
            Some(c) if c.is_ascii_alphabetic() => self.word(),
            _ => Err(self.fault("a Python literal")),
        }
    }

    fn dictionary(&mut self, depth: usize) -> Result<Literal, String> {
        self.at += 1;
        let mut items = Vec::new();
        while !self.takes('}') {
            let key = self.literal(depth + 1)?;
            if !self.takes(':') {
                return Err(self.fault("':'"));
            }
            items.push((key, self.literal(depth + 1)?));
            if !self.takes(',') && self.next_char() != Some('}') {
                return Err(self.fault("',' or '}'"));
            }
        }
        Ok(Literal::Dictionary(items))
    }

    /// Also a literal that merely stands in brackets: nobody writes such.
    fn sequence(&mut self, end: char, depth: usize) -> Result<Literal, String> {
        self.at += 1;
        let mut items = Vec::new();
        while !self.takes(end) {
            items.push(self.literal(depth + 1)?);
            if !self.takes(',') && self.next_char() != Some(end) {
                return Err(self.fault(&format!("',' or '{end}'")));
            }
        }
        Ok(Literal::Sequence(items))
    }

    fn whole(&mut self) -> Result<Literal, String> {
        let rest = &self.text[self.at..];
        let digits = &rest[..rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len())];
        let number = digits.parse().map_err(|_| self.fault("a number below 2^64"))?;
        self.at += digits.len();
        // Python 2 marks long ones.
        self.at += usize::from(self.text[self.at..].starts_with('L'));
        Ok(Literal::Whole(number))
    }

    fn word(&mut self) -> Result<Literal, String> {
        let rest = &self.text[self.at..];
        // A text may have a mark in front.
        if rest.starts_with(['u', 'b']) && rest[1..].starts_with(['\'', '"']) {
            self.at += 1;
            return self.string().map(Literal::Text);
        }
        for (word, literal) in [
            ("True", Literal::Truth(true)),
            ("False", Literal::Truth(false)),
            ("None", Literal::Nothing),
        ] {
            if rest.starts_with(word) {
                self.at += word.len();
                return Ok(literal);
            }
        }
        Err(self.fault("a Python literal"))
    }

    fn string(&mut self) -> Result<String, String> {
        let mut characters = self.text[self.at..].char_indices();
        let Some((_, quote)) = characters.next() else { return Err(self.fault("a text")) };
        let mut found = String::new();
        while let Some((place, c)) = characters.next() {
            match c {
                _ if c == quote => {
                    self.at += place + c.len_utf8();
                    return Ok(found);
                }
                '\\' => {
                    let escaped = escaped(&mut characters);
                    found.push(escaped.ok_or_else(|| self.fault("a text without odd escapes"))?);
                }
                _ => found.push(c),
            }
        }
        Err(self.fault("a text with an end"))
    }
}

/// The character behind a backslash.
fn escaped(characters: &mut std::str::CharIndices<'_>) -> Option<char> {
    let (_, c) = characters.next()?;
    let digits = match c {
        '\\' | '\'' | '"' => return Some(c),
        'n' => return Some('\n'),
        'r' => return Some('\r'),
        't' => return Some('\t'),
        'x' => 2,
        'u' => 4,
        'U' => 8,
        _ => return None,
    };
    let mut code: u32 = 0;
    for _ in 0..digits {
        let (_, digit) = characters.next()?;
        code = code.checked_mul(16)?.checked_add(digit.to_digit(16)?)?;
    }
    char::from_u32(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Literal {
        Literal::Text(text.to_owned())
    }

    #[test]
    fn what_numpy_writes_is_read() {
        let fields = Literal::Sequence(vec![
            Literal::Sequence(vec![text("a b"), text("<f8")]),
            Literal::Sequence(vec![
                text("it's"),
                text("<i4"),
                Literal::Sequence(vec![Literal::Whole(2)]),
            ]),
        ]);
        for (found, wanted) in [
            (
                "{'descr': '<f8', 'fortran_order': False, 'shape': (3, 4L), }   \n",
                Literal::Dictionary(vec![
                    (text("descr"), text("<f8")),
                    (text("fortran_order"), Literal::Truth(false)),
                    (text("shape"), Literal::Sequence(vec![Literal::Whole(3), Literal::Whole(4)])),
                ]),
            ),
            (" [ ('a b', u'<f8'), (\"it's\", '<i4', (2,)) ] ", fields),
            (r#"'\x41\\\'\u00e9\n'"#, text("A\\'é\n")),
            ("()", Literal::Sequence(vec![])),
            ("{}", Literal::Dictionary(vec![])),
            ("None", Literal::Nothing),
        ] {
            assert_eq!(parse(found), Ok(wanted), "{found}");
        }
    }

    #[test]
    fn what_is_no_literal_is_refused_with_its_place() {
        for (text, wanted) in [
            ("", "found its end at byte 0, wanted a Python literal"),
            ("{'a': 1", "found its end at byte 7, wanted ',' or '}'"),
            ("{'a' 1}", "found '1' at byte 5, wanted ':'"),
            ("(1 2)", "found '2' at byte 3, wanted ',' or ')'"),
            ("(1, 2))", "found ')' at byte 6, wanted nothing more"),
            ("'abc", "found '\\'' at byte 0, wanted a text with an end"),
            ("'\\q'", "found '\\'' at byte 0, wanted a text without odd escapes"),
            ("'\\ud800'", "found '\\'' at byte 0, wanted a text without odd escapes"),
            ("-1", "found '-' at byte 0, wanted a Python literal"),
            ("open('x')", "found 'o' at byte 0, wanted a Python literal"),
            ("18446744073709551616", "found '1' at byte 0, wanted a number below 2^64"),
            ("((((((((((1))))))))))", "found more than 8 brackets in one another"),
        ] {
            assert_eq!(parse(text), Err(wanted.to_owned()), "{text}");
        }
        assert!(parse(&"[".repeat(1 << 20)).is_err());
    }
}
