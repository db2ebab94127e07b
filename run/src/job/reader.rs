//! Reading a TOML document key by key, so that every complaint has a line, a column and the full name of the key.
//!
//! Knows TOML and nothing of jobs. Unknown keys are errors that name the nearest known one.

use std::borrow::Cow;
use std::fmt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use lockstep_parameters::Range;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::{JobError, Place};
use super::hints::{unknown_key, unknown_name};
use super::settings::{Placed, Setting};

/// A text and where it came from, with what the command line sets in it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Document {
    path: PathBuf,
    text: String,
    settings: Vec<Placed>,
}

impl Document {
    pub(crate) fn new(path: &Path, text: String, settings: &[Setting]) -> Document {
        let mut start = text.len() + 1;
        let mut placed = Vec::new();
        for setting in settings {
            let next = Placed::new(setting, start);
            start = next.end();
            placed.push(next);
        }
        Document { path: path.to_path_buf(), text, settings: placed }
    }

    /// The whole document as a section.
    pub(crate) fn parse(&self) -> Result<Spanned<DeTable<'_>>, JobError> {
        let mut table = DeTable::parse(&self.text).map_err(|error| {
            let place = error.span().map(|span| self.place(span.start));
            let problem = format!("broken TOML: {}", error.message().trim().replace('\n', ", "));
            JobError { path: self.path.clone(), place, problem }
        })?;
        for setting in &self.settings {
            let applied = setting.apply(table.get_mut());
            applied.map_err(|problem| self.error(setting.start, problem))?;
        }
        Ok(table)
    }

    /// Where a key stands, by its full name, or what around it is there; `None` where nothing is.
    pub(crate) fn place_of(&self, name: &str) -> Option<Place> {
        self.find(name).map(|(offset, _)| self.place(offset))
    }

    /// Whether a key is there, by its full name.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.find(name).is_some_and(|(_, is_it)| is_it)
    }

    /// Where a key stands, or the nearest around it, and which of both it is.
    fn find(&self, name: &str) -> Option<(usize, bool)> {
        let root = self.parse().ok()?;
        let (mut table, mut found) = (Some(root.get_ref()), None);
        for key in name.split('.') {
            let Some(value) = table.and_then(|table| table.get(key)) else {
                return found.map(|offset| (offset, false));
            };
            found = Some(value.span().start);
            table = value.get_ref().as_table();
        }
        found.map(|offset| (offset, true))
    }

    fn place(&self, offset: usize) -> Place {
        if let Some(setting) = self.settings.iter().rev().find(|setting| setting.start <= offset) {
            return Place::Setting(setting.shown.clone());
        }
        let before = &self.text[..self.text.floor_char_boundary(offset)];
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        Place::At {
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
        }
    }

    pub(crate) fn error(&self, offset: usize, problem: impl Into<String>) -> JobError {
        let place = Some(self.place(offset));
        JobError { path: self.path.clone(), place, problem: problem.into() }
    }
}

/// A table of the document whose keys have been checked.
#[derive(Clone)]
pub(crate) struct Section<'d> {
    document: &'d Document,
    /// The keys that lead here, with dots between.
    name: Rc<str>,
    table: &'d DeTable<'d>,
    offset: usize,
}

impl<'d> Section<'d> {
    /// `name` is the path of keys that leads here, empty for the document itself.
    pub(crate) fn new(
        document: &'d Document,
        name: &str,
        table: &'d DeTable<'d>,
        offset: usize,
        known: &[&str],
    ) -> Result<Section<'d>, JobError> {
        for key in table.keys() {
            if !known.contains(&key.get_ref().as_ref()) {
                let problem = unknown_key(name, key.get_ref(), known);
                return Err(document.error(key.span().start, problem));
            }
        }
        Ok(Section { document, name: name.into(), table, offset })
    }

    pub(crate) fn get(&self, key: &str) -> Option<Value<'d>> {
        let value = self.table.get(key)?;
        Some(Value { document: self.document, name: full_name(&self.name, key).into(), value })
    }

    /// Every key with its value, where keys are names that somebody else gave, in the order of the names.
    pub(crate) fn entries(&self) -> Vec<(&'d str, Value<'d>)> {
        let entry = |(key, value): (&'d Spanned<Cow<'d, str>>, &'d Spanned<DeValue<'d>>)| {
            let key = key.get_ref().as_ref();
            let name = full_name(&self.name, &written_key(key)).into();
            (key, Value { document: self.document, name, value })
        };
        let mut entries: Vec<_> = self.table.iter().map(entry).collect();
        entries.sort_by_key(|(key, _)| *key);
        entries
    }

    pub(crate) fn require(&self, key: &'static str) -> Result<Value<'d>, JobError> {
        self.get(key).ok_or_else(|| {
            let name = full_name(&self.name, key);
            self.document.error(self.offset, format!("`{name}` is missing"))
        })
    }

    /// An error about a key of it, by its full name.
    pub(crate) fn fail_at(&self, name: &str, problem: impl fmt::Display) -> JobError {
        let place = self.document.place_of(name);
        JobError {
            path: self.document.path.clone(),
            place,
            problem: format!("`{name}`: {problem}"),
        }
    }

    /// An error about the section as a whole.
    pub(crate) fn fail(&self, problem: impl fmt::Display) -> JobError {
        self.document.error(self.offset, format!("`{}`: {problem}", self.name))
    }
}

/// One value with its name.
#[derive(Clone)]
pub(crate) struct Value<'d> {
    document: &'d Document,
    /// The keys that lead to it, with dots between; a place in a list counts from 0.
    name: Rc<str>,
    value: &'d Spanned<DeValue<'d>>,
}

impl<'d> Value<'d> {
    /// The keys that lead to it, with dots between.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The last of them.
    pub(crate) fn key(&self) -> &str {
        self.name.rsplit('.').next().unwrap_or_default()
    }

    /// An error about this value.
    pub(crate) fn fail(&self, problem: impl fmt::Display) -> JobError {
        self.document.error(self.value.span().start, format!("`{}`: {problem}", self.name))
    }

    /// An error about this value, which is something else than what is wanted.
    pub(crate) fn wanted(&self, wanted: impl fmt::Display) -> JobError {
        let found = match self.value.get_ref() {
            DeValue::String(text) => format!("\"{text}\""),
            DeValue::Integer(integer) => integer.to_string(),
            DeValue::Float(float) => float.to_string(),
            DeValue::Boolean(boolean) => boolean.to_string(),
            DeValue::Array(_) => "a list".to_string(),
            DeValue::Table(_) => "a table".to_string(),
            DeValue::Datetime(date) => format!("the date {date}"),
        };
        self.fail(format!("found {found}, wanted {wanted}"))
    }

    pub(crate) fn string(&self) -> Result<&'d str, JobError> {
        self.value.get_ref().as_str().ok_or_else(|| self.wanted("a text in quotes"))
    }

    pub(crate) fn boolean(&self) -> Result<bool, JobError> {
        self.value.get_ref().as_bool().ok_or_else(|| self.wanted("true or false"))
    }

    /// A whole number in `min..=max`.
    pub(crate) fn integer(&self, min: u64, max: u64) -> Result<u64, JobError> {
        let wanted = || self.wanted(format!("a whole number from {min} to {max}"));
        let integer = self.value.get_ref().as_integer().ok_or_else(wanted)?;
        let digits = integer.as_str().replace('_', "");
        let number = u64::from_str_radix(&digits, integer.radix()).map_err(|_| wanted())?;
        if (min..=max).contains(&number) { Ok(number) } else { Err(wanted()) }
    }

    /// A number of this range.
    pub(crate) fn number(&self, range: Range) -> Result<f64, JobError> {
        let text = match self.value.get_ref() {
            DeValue::Float(float) => float.as_str(),
            DeValue::Integer(integer) if integer.radix() == 10 => integer.as_str(),
            _ => return Err(self.wanted(range.wanted)),
        };
        let number = text.replace('_', "").parse::<f64>().ok();
        number.filter(|&number| range.fits(number)).ok_or_else(|| self.wanted(range.wanted))
    }

    /// One of these names.
    pub(crate) fn one_of(&self, names: &[&'static str]) -> Result<&'static str, JobError> {
        let name = self.string()?;
        let found = names.iter().find(|known| **known == name);
        found.copied().ok_or_else(|| self.fail(unknown_name(name, names)))
    }

    /// A table whose key `tag` is one of the names and whose other keys are that name's own, which `keys_of` lists. The
    /// name is judged before the keys beside it.
    pub(crate) fn tagged(
        &self,
        tag: &'static str,
        names: &[&'static str],
        keys_of: impl Fn(&str) -> Vec<&'static str>,
    ) -> Result<(&'static str, Section<'d>), JobError> {
        let section = self.open_section()?;
        let Some(kind) = section.get(tag) else {
            let listed = names.join(", ");
            return Err(self.fail(format!("`{tag}` is missing, wanted one of: {listed}")));
        };
        let name = kind.one_of(names)?;
        let own = keys_of(name);
        for key in section.table.keys() {
            let text = key.get_ref().as_ref();
            if text == tag || own.contains(&text) {
                continue;
            }
            let owns = |name: &&str| keys_of(name).contains(&text);
            let owners: Vec<&str> = names.iter().copied().filter(owns).collect();
            if !owners.is_empty() {
                let has = if owners.len() == 1 { "has" } else { "have" };
                let problem = format!("{name} has no {text}, only {} {has}", owners.join(", "));
                return Err(self
                    .document
                    .error(key.span().start, format!("`{}.{text}`: {problem}", self.name)));
            }
        }
        Ok((name, self.section(&[&[tag], &own[..]].concat())?))
    }

    /// The value as a table, if it is one.
    pub(crate) fn table(&self, known: &[&str]) -> Option<Result<Section<'d>, JobError>> {
        let table = self.value.get_ref().as_table()?;
        let offset = self.value.span().start;
        Some(Section::new(self.document, &self.name, table, offset, known))
    }

    /// The value as a table whose keys are names that somebody else gave.
    pub(crate) fn open_section(&self) -> Result<Section<'d>, JobError> {
        let table = self.value.get_ref().as_table().ok_or_else(|| self.wanted("a table"))?;
        let keys: Vec<&str> = table.keys().map(|key| key.get_ref().as_ref()).collect();
        self.section(&keys)
    }

    pub(crate) fn section(&self, known: &[&str]) -> Result<Section<'d>, JobError> {
        self.table(known).unwrap_or_else(|| Err(self.wanted("a table")))
    }

    /// A path, relative to the job's folder.
    pub(crate) fn path(&self) -> Result<PathBuf, JobError> {
        let text = self.string()?;
        if text.is_empty() {
            return Err(self.fail("found \"\", wanted a path"));
        }
        Ok(self.document.path.parent().unwrap_or(Path::new("")).join(text))
    }

    pub(crate) fn list(&self) -> Result<Vec<Value<'d>>, JobError> {
        let array = self.value.get_ref().as_array().ok_or_else(|| self.wanted("a list"))?;
        let item = |(place, value)| {
            let name = format!("{}.{place}", self.name).into();
            Value { document: self.document, name, value }
        };
        Ok(array.iter().enumerate().map(item).collect())
    }

    pub(crate) fn is_number(&self) -> bool {
        matches!(self.value.get_ref(), DeValue::Integer(_) | DeValue::Float(_))
    }

    pub(crate) fn is_table(&self) -> bool {
        self.value.get_ref().is_table()
    }

    pub(crate) fn is_list(&self) -> bool {
        self.value.get_ref().is_array()
    }
}

pub(super) fn full_name(section: &str, key: &str) -> String {
    if section.is_empty() { key.to_string() } else { format!("{section}.{key}") }
}

/// A key as TOML has it: bare, or in quotes.
pub(crate) fn written_key(key: &str) -> Cow<'_, str> {
    let is_bare = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    match !key.is_empty() && key.chars().all(is_bare) {
        true => Cow::Borrowed(key),
        false => Cow::Owned(quoted(key)),
    }
}

/// A text in the quotes of TOML, whose basic strings escape as JSON's do.
pub(crate) fn quoted(text: &str) -> String {
    serde_json::Value::String(text.to_string()).to_string().replace('\u{7f}', "\\u007f")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        let document = Document::new(Path::new("job.toml"), text.to_string(), &[]);
        let table = match document.parse() {
            Ok(table) => table,
            Err(error) => return error.to_string(),
        };
        let known = ["epochs", "batch_size", "name", "layers"];
        let section = match Section::new(&document, "", table.get_ref(), 0, &known) {
            Ok(section) => section,
            Err(error) => return error.to_string(),
        };
        let read = || {
            section.require("epochs")?.integer(1, 100)?;
            if let Some(name) = section.get("name") {
                name.one_of(&["adam", "sgd"])?;
            }
            Ok(())
        };
        read().map_or_else(|error: JobError| error.to_string(), |()| "fine".to_string())
    }

    #[test]
    fn complaints_have_a_place_and_a_way_out() {
        for (text, wanted) in [
            ("epochs = 3", "fine"),
            ("epochs = 1_0", "fine"),
            ("\nepocs = 3", "job.toml:2:1: unknown key `epocs`, did you mean `epochs`?"),
            ("epochs = 0", "job.toml:1:10: `epochs`: found 0, wanted a whole number from 1 to 100"),
            (
                "epochs = -1",
                "job.toml:1:10: `epochs`: found -1, wanted a whole number from 1 to 100",
            ),
            (
                "epochs = \"x\"",
                "job.toml:1:10: `epochs`: found \"x\", wanted a whole number from 1 to 100",
            ),
            (
                "epochs = 1\nname = \"adm\"",
                "job.toml:2:8: `name`: found \"adm\", did you mean `adam`? There are: adam, sgd",
            ),
            (
                "epochs = 1\nname = \"lbfgs\"",
                "job.toml:2:8: `name`: found \"lbfgs\", wanted one of: adam, sgd",
            ),
            ("batch_size = 1", "job.toml:1:1: `epochs` is missing"),
        ] {
            assert_eq!(error(text), wanted, "{text}");
        }
        let broken = error("epochs = 3\nname = [1,");
        assert!(broken.starts_with("job.toml:2:"), "{broken}");
    }
}
