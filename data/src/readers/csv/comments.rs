//! Where lines that are left out end. The `csv` crate ends records at LF, CRLF or CR, but a comment only at LF: in a file whose
//! lines end in CR it would leave out all that follows. Here a CR that ends a comment becomes an LF, in its place, and a comment that
//! ends with the file, which that crate would take for a record, gets an LF; nothing else changes, and no byte moves. Leaves nothing
//! out itself.

use crate::dialect::Dialect;

/// Goes along with the bytes of a file that is read in order from the beginning of a record.
#[derive(Debug)]
pub(super) struct Comments {
    comment: u8,
    quote: Option<u8>,
    delimiter: u8,
    state: State,
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// A record may begin, or a comment.
    Record,
    /// A cell begins.
    Cell,
    /// In a cell, where quotes mean nothing.
    Plain,
    Quoted,
    /// After a quote that closes the cell unless another follows.
    AfterQuote,
    Comment,
}

impl Comments {
    /// Of a file in which there are some; `None` in one without.
    pub(super) fn new(dialect: &Dialect, delimiter: u8) -> Option<Comments> {
        let comment = dialect.comment_byte()?;
        let quote = dialect.quote_byte();
        Some(Comments { comment, quote, delimiter, state: State::Record })
    }

    /// Ends comments in the next bytes.
    pub(super) fn end(&mut self, bytes: &mut [u8]) {
        for byte in bytes {
            let next = self.after(*byte);
            if *byte == b'\r' && matches!(self.state, State::Comment) {
                *byte = b'\n';
            }
            self.state = next;
        }
    }

    /// What is to follow where the file ends.
    pub(super) fn end_of_file(&mut self) -> Option<u8> {
        let is_open = matches!(self.state, State::Comment);
        self.state = State::Record;
        is_open.then_some(b'\n')
    }

    fn after(&self, byte: u8) -> State {
        let (is_end, is_quote) = (matches!(byte, b'\r' | b'\n'), Some(byte) == self.quote);
        match self.state {
            State::Comment if is_end => State::Record,
            State::Comment => State::Comment,
            State::Quoted if is_quote => State::AfterQuote,
            State::Quoted => State::Quoted,
            State::AfterQuote if is_quote => State::Quoted,
            _ if is_end => State::Record,
            State::Record if byte == self.comment => State::Comment,
            _ if byte == self.delimiter => State::Cell,
            State::Record | State::Cell if is_quote => State::Quoted,
            _ => State::Plain,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_ends_a_comment_changes() {
        let dialect = Dialect { comment: Some('#'), ..Dialect::default() };
        for (text, wanted) in [
            ("#a\r1,2\r", "#a\n1,2\r"),
            ("#a\r\n1,2\r\n#\r\n", "#a\n\n1,2\r\n#\n\n"),
            ("1,\"#\r\"\r#b\r", "1,\"#\r\"\r#b\n"),
            ("\"\"\"\r#\",2\r#\"\r3,#\r", "\"\"\"\r#\",2\r#\"\n3,#\r"),
            ("a\"b\r#c\r", "a\"b\r#c\n"),
            (" #a\r\r#\r", " #a\r\r#\n"),
            ("\"a\"b\r#\r", "\"a\"b\r#\n"),
        ] {
            for len in 1..text.len() {
                let mut comments = Comments::new(&dialect, b',').unwrap();
                let mut bytes = text.as_bytes().to_vec();
                bytes.chunks_mut(len).for_each(|bytes| comments.end(bytes));
                assert_eq!(String::from_utf8(bytes).unwrap(), wanted, "{text:?} by {len}");
            }
        }
        assert!(Comments::new(&Dialect::default(), b',').is_none());
        for (text, wanted) in
            [("1\n#a", Some(b'\n')), ("1\n#a\n", None), ("1,\"\n#", None), ("", None)]
        {
            let mut comments = Comments::new(&dialect, b',').unwrap();
            comments.end(&mut text.as_bytes().to_vec());
            assert_eq!(comments.end_of_file(), wanted, "{text:?}");
            assert_eq!(comments.end_of_file(), None, "{text:?}");
        }
    }
}
