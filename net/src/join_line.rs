//! The one line that a worker needs to join: `HOST:PORT#lk1-...`. Addresses may be several, with commas between; after
//! `lk1-` come the coordinator's pin, the secret and a checksum in base32, so that a line that was cut short or mistyped is
//! told from one of another run.

use std::fmt::Write as _;

use data_encoding::{BASE32_NOPAD, DecodeError, DecodeKind};
use ring::digest::{SHA256, digest};
use zeroize::Zeroizing;

use crate::key::Pin;
use crate::secret::{SECRET_BYTES, Secret};

/// What a line's second part begins with: the version of its form.
const PREFIX: &str = "lk1-";

const PIN_BYTES: usize = 32;
const CHECKSUM_BYTES: usize = 4;
const BYTES: usize = PIN_BYTES + SECRET_BYTES + CHECKSUM_BYTES;

/// Most addresses of a line.
const ADDRESSES_MAX: usize = 8;

/// Longest line that is read, blanks around it left out.
const LINE_CHARS_MAX: usize = 4096;

/// Where a coordinator is, how to know it, and what to say to it.
#[derive(Clone, Debug)]
pub struct JoinLine {
    /// `HOST:PORT`, to be tried in turn; at least one.
    pub addresses: Vec<String>,
    /// By which the coordinator's key is known.
    pub pin: Pin,
    /// What to say once it is known.
    pub secret: Secret,
}

/// What is wrong with a line. Never shows any part of the secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JoinLineError {
    /// There is no second part.
    #[error(
        "found no `#lk1-...` in it, wanted the whole line that the coordinator printed, in quotes: to a shell, `#` begins a \
         comment"
    )]
    NoCode,
    /// The second part is of another form.
    #[error(
        "its code does not begin with `{PREFIX}`: it is of another version of lockstep, or not a join line"
    )]
    OtherForm,
    /// Letters are missing, or there are too many.
    #[error(
        "its code has {found} letters, wanted {wanted}: it was cut short or joined with other text; copy it again"
    )]
    Length {
        /// Letters after the prefix.
        found: usize,
        /// As many as there have to be.
        wanted: usize,
    },
    /// A letter that is none of the alphabet.
    #[error("letter {place} of its code cannot be there: copy it again")]
    Letter {
        /// Counted from 1.
        place: usize,
    },
    /// The checksum is of another code.
    #[error("its checksum is wrong: a letter was altered; copy it again")]
    Checksum,
    /// An address that is none, or too many of them.
    #[error(
        "{0:?} is not an address: wanted HOST:PORT before the `#`, or several with commas between; an IPv6 address in brackets"
    )]
    Address(String),
    /// There is more text than any line has.
    #[error(
        "it has more than {LINE_CHARS_MAX} characters, wanted one line as the coordinator printed it"
    )]
    TooLong,
}

impl JoinLine {
    /// Reads a line, blanks around it left out.
    ///
    /// # Errors
    /// See [`JoinLineError`].
    pub fn parse(line: &str) -> Result<JoinLine, JoinLineError> {
        let line = line.trim();
        if line.len() > LINE_CHARS_MAX {
            return Err(JoinLineError::TooLong);
        }
        let (addresses, code) = line.split_once('#').ok_or(JoinLineError::NoCode)?;
        let code = code.strip_prefix(PREFIX).ok_or(JoinLineError::OtherForm)?;
        let wanted = BASE32_NOPAD.encode_len(BYTES);
        let found = code.chars().count();
        if found != wanted {
            return Err(JoinLineError::Length { found, wanted });
        }
        let code = Zeroizing::new(code.to_ascii_uppercase());
        let wrong = |error: DecodeError| match error.kind {
            DecodeKind::Symbol => JoinLineError::Letter { place: error.position + 1 },
            // The last letter has bits that no code has.
            _ => JoinLineError::Checksum,
        };
        let bytes = Zeroizing::new(BASE32_NOPAD.decode(code.as_bytes()).map_err(wrong)?);
        let (content, found) = bytes.split_at(PIN_BYTES + SECRET_BYTES);
        if checksum(content) != found {
            return Err(JoinLineError::Checksum);
        }
        let (pin, secret) = content.split_at(PIN_BYTES);
        let parts = (pin.try_into(), Secret::from_bytes(secret));
        let (Ok(pin), Some(secret)) = parts else { return Err(JoinLineError::Checksum) };
        Ok(JoinLine { addresses: read_addresses(addresses)?, pin: Pin(pin), secret })
    }

    /// Reads a line for a coordinator that is known by its certificate: addresses, and the secret if there is a second part.
    ///
    /// # Errors
    /// See [`JoinLineError`].
    pub fn parse_certified(line: &str) -> Result<(Vec<String>, Option<Secret>), JoinLineError> {
        let line = line.trim();
        match line.contains('#') {
            true => JoinLine::parse(line).map(|line| (line.addresses, Some(line.secret))),
            false if line.len() > LINE_CHARS_MAX => Err(JoinLineError::TooLong),
            false => read_addresses(line).map(|addresses| (addresses, None)),
        }
    }

    /// The line, to be shown to whoever may join.
    pub fn to_line(&self) -> Zeroizing<String> {
        let mut bytes = Zeroizing::new(Vec::with_capacity(BYTES));
        bytes.extend_from_slice(&self.pin.0);
        bytes.extend_from_slice(self.secret.expose());
        let checksum = checksum(&bytes);
        bytes.extend_from_slice(&checksum);
        let code = Zeroizing::new(BASE32_NOPAD.encode(&bytes));
        let mut line = Zeroizing::new(String::with_capacity(256));
        // Writing to a String cannot fail.
        let _ = write!(line, "{}#{PREFIX}", self.addresses.join(","));
        line.extend(code.chars().map(|letter| letter.to_ascii_lowercase()));
        line
    }
}

fn read_addresses(text: &str) -> Result<Vec<String>, JoinLineError> {
    let addresses: Vec<String> = text.split(',').map(str::to_string).collect();
    let is_address = |text: &String| {
        let parts = text.rsplit_once(':');
        parts.is_some_and(|(host, port)| {
            let is_odd = |c: char| c.is_whitespace() || c.is_control() || matches!(c, '/' | '@');
            !host.is_empty() && !host.contains(is_odd) && port.parse::<u16>().is_ok_and(|p| p > 0)
        })
    };
    match addresses.iter().find(|address| !is_address(address)) {
        Some(wrong) => Err(JoinLineError::Address(wrong.chars().take(100).collect())),
        None if addresses.len() > ADDRESSES_MAX => {
            Err(JoinLineError::Address(format!("{} addresses", addresses.len())))
        }
        None => Ok(addresses),
    }
}

fn checksum(content: &[u8]) -> [u8; CHECKSUM_BYTES] {
    let named = Zeroizing::new([b"lockstep join line ", content].concat());
    let mut checksum = [0; CHECKSUM_BYTES];
    checksum.copy_from_slice(&digest(&SHA256, &named).as_ref()[..CHECKSUM_BYTES]);
    checksum
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line() -> (JoinLine, String) {
        let addresses = ["10.0.0.1:7070", "[fe80::1]:7070", "head.example:1"].map(String::from);
        let secret = Secret::from_bytes(&[7; SECRET_BYTES]).unwrap();
        let line = JoinLine { addresses: addresses.into(), pin: Pin([0x5a; 32]), secret };
        let text = line.to_line().to_string();
        (line, text)
    }

    #[test]
    fn a_line_is_read_as_it_was_written() {
        let (line, text) = line();
        assert!(text.starts_with("10.0.0.1:7070,[fe80::1]:7070,head.example:1#lk1-ljnf"), "{text}");
        let (addresses, secret) = JoinLine::parse_certified(&text).unwrap();
        assert!(addresses == line.addresses && secret.unwrap().is(line.secret.expose()));
        let (addresses, secret) = JoinLine::parse_certified(" [::1]:7070,a.example:1\n").unwrap();
        assert!(addresses == ["[::1]:7070", "a.example:1"] && secret.is_none());
        assert!(JoinLine::parse_certified("a.example").is_err());
        for text in [text.clone(), format!("  {text}\r\n"), text.replace("ljnf", "LJNF")] {
            let read = JoinLine::parse(&text).unwrap();
            assert_eq!((&read.addresses, read.pin), (&line.addresses, line.pin));
            assert!(read.secret.is(line.secret.expose()));
        }
        assert!(!format!("{line:?}").contains('7') || !format!("{line:?}").contains("7, 7"));
    }

    #[test]
    fn each_way_to_spoil_a_line_has_its_words() {
        let (_, text) = line();
        let parse = |text: &str| JoinLine::parse(text).unwrap_err();
        assert_eq!(parse("10.0.0.1:7070"), JoinLineError::NoCode);
        assert_eq!(parse(""), JoinLineError::NoCode);
        assert_eq!(parse(&text.replace("lk1-", "lk2-")), JoinLineError::OtherForm);
        for cut in 1..84 {
            let error = parse(&text[..text.len() - cut]);
            assert_eq!(error, JoinLineError::Length { found: 84 - cut, wanted: 84 });
        }
        let code = text.find("lk1-").unwrap() + 4;
        assert_eq!(
            parse(&text.replacen("#lk1-l", "#lk1-1", 1)),
            JoinLineError::Letter { place: 1 }
        );
        // Whichever letter is another one.
        for at in code..text.len() {
            let mut letters = text.clone().into_bytes();
            letters[at] = if letters[at] == b'a' { b'b' } else { b'a' };
            let error = parse(std::str::from_utf8(&letters).unwrap());
            assert_eq!(error, JoinLineError::Checksum, "{at}");
        }
        for wrong in ["", "host", "host:", ":1", "a b:1", "http://a:1", "a:0", "a:1,", "a:70000"] {
            let line = format!("{wrong}#{}", text.split_once('#').unwrap().1);
            assert!(matches!(parse(&line), JoinLineError::Address(_)), "{wrong}");
        }
        assert_eq!(parse(&"x".repeat(5000)), JoinLineError::TooLong);
    }

    #[test]
    fn no_error_shows_the_secret() {
        let (_, text) = line();
        let code = text.split_once("lk1-").unwrap().1;
        for spoilt in
            [code.replacen('l', "m", 1), code[1..].to_string(), format!("!{}", &code[1..])]
        {
            let error = JoinLine::parse(&format!("a:1#lk1-{spoilt}")).unwrap_err().to_string();
            assert!(!error.contains(&spoilt[10..20]), "{error}");
        }
    }
}
