//! Reading a TOML document key by key, so that every complaint has a line, a column and the full name of the key.
//!
//! Knows TOML and nothing of jobs. Unknown keys are errors that name the nearest known one.

use std::fmt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// A job file that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobError {
    /// The file.
    pub path: PathBuf,
    /// Line and column, from 1, if the complaint has a place.
    pub place: Option<Place>,
    /// What was found, what was wanted, what to do.
    pub problem: String,
}

/// A place in a text, counted from 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// Line.
    pub line: usize,
    /// Column, in characters.
    pub column: usize,
}

impl fmt::Display for JobError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.path.display())?;
        if let Some(Place { line, column }) = self.place {
            write!(f, "{line}:{column}:")?;
        }
        write!(f, " {}", self.problem)
    }
}

impl std::error::Error for JobError {}

/// A text and where it came from.
pub(crate) struct Document {
    path: PathBuf,
    text: String,
}

impl Document {
    pub(crate) fn new(path: &Path, text: String) -> Document {
        Document { path: path.to_path_buf(), text }
    }

    /// The whole document as a section.
    pub(crate) fn parse(&self) -> Result<Spanned<DeTable<'_>>, JobError> {
        DeTable::parse(&self.text).map_err(|error| {
            let place = error.span().map(|span| self.place(span.start));
            let problem = format!("broken TOML: {}", error.message().trim().replace('\n', ", "));
            JobError { path: self.path.clone(), place, problem }
        })
    }

    fn place(&self, offset: usize) -> Place {
        let before = &self.text[..self.text.floor_char_boundary(offset)];
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        Place {
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
                let found = full_name(name, key.get_ref());
                let problem = format!("unknown key `{found}`{}", suggestion(key.get_ref(), known));
                return Err(document.error(key.span().start, problem));
            }
        }
        Ok(Section { document, name: name.into(), table, offset })
    }

    pub(crate) fn get(&self, key: &'static str) -> Option<Value<'d>> {
        let value = self.table.get(key)?;
        Some(Value { document: self.document, section: self.name.clone(), key, value })
    }

    pub(crate) fn require(&self, key: &'static str) -> Result<Value<'d>, JobError> {
        self.get(key).ok_or_else(|| {
            let name = full_name(&self.name, key);
            self.document.error(self.offset, format!("`{name}` is missing"))
        })
    }

    pub(crate) fn place(&self) -> Place {
        self.document.place(self.offset)
    }
}

/// One value with its name.
#[derive(Clone)]
pub(crate) struct Value<'d> {
    document: &'d Document,
    section: Rc<str>,
    key: &'static str,
    value: &'d Spanned<DeValue<'d>>,
}

impl<'d> Value<'d> {
    pub(crate) fn place(&self) -> Place {
        self.document.place(self.value.span().start)
    }

    /// An error about this value.
    pub(crate) fn fail(&self, problem: impl fmt::Display) -> JobError {
        let name = full_name(&self.section, self.key);
        self.document.error(self.value.span().start, format!("`{name}`: {problem}"))
    }

    fn wanted(&self, wanted: impl fmt::Display) -> JobError {
        let found = match self.value.get_ref() {
            DeValue::String(text) => format!("\"{text}\""),
            DeValue::Integer(integer) => integer.to_string(),
            DeValue::Float(float) => float.to_string(),
            DeValue::Boolean(boolean) => boolean.to_string(),
            other => format!("a {}", other.type_str()),
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

    /// A finite number for which `fits` holds; `wanted` says which numbers those are.
    pub(crate) fn number(&self, wanted: &str, fits: impl Fn(f64) -> bool) -> Result<f64, JobError> {
        let text = match self.value.get_ref() {
            DeValue::Float(float) => float.as_str(),
            DeValue::Integer(integer) if integer.radix() == 10 => integer.as_str(),
            _ => return Err(self.wanted(wanted)),
        };
        let number = text.replace('_', "").parse::<f64>().ok();
        number.filter(|&n| n.is_finite() && fits(n)).ok_or_else(|| self.wanted(wanted))
    }

    /// A number as the training uses it: `f32`, finite after rounding.
    pub(crate) fn number32(
        &self,
        wanted: &str,
        fits: impl Fn(f32) -> bool,
    ) -> Result<f32, JobError> {
        let wanted = format!("{wanted}, as a 32-bit float");
        let number = self.number(&wanted, |n| (n as f32).is_finite() && fits(n as f32))?;
        Ok(number as f32)
    }

    /// One of the names that `from_name` knows.
    pub(crate) fn name<T>(
        &self,
        names: &[&str],
        from_name: impl Fn(&str) -> Option<T>,
    ) -> Result<T, JobError> {
        let name = self.string()?;
        from_name(name)
            .ok_or_else(|| self.fail(format!("found \"{name}\"{}", suggestion(name, names))))
    }

    /// The value as a table, if it is one.
    pub(crate) fn table(&self, known: &[&str]) -> Option<Result<Section<'d>, JobError>> {
        let table = self.value.get_ref().as_table()?;
        let offset = self.value.span().start;
        let name = full_name(&self.section, self.key);
        Some(Section::new(self.document, &name, table, offset, known))
    }

    /// The value as a table of any of several kinds: keys are checked later, against the kind's.
    pub(crate) fn raw_table(&self) -> Option<&'d DeTable<'d>> {
        self.value.get_ref().as_table()
    }

    pub(crate) fn section(&self, known: &[&str]) -> Result<Section<'d>, JobError> {
        self.table(known).unwrap_or_else(|| Err(self.wanted("a table")))
    }

    pub(crate) fn list(&self) -> Result<Vec<Value<'d>>, JobError> {
        let array = self.value.get_ref().as_array().ok_or_else(|| self.wanted("a list"))?;
        Ok(array.iter().map(|value| Value { value, ..self.clone() }).collect())
    }

    pub(crate) fn is_list(&self) -> bool {
        self.value.get_ref().is_array()
    }
}

/// `, did you mean "x"?` or the list of what is known.
pub(crate) fn suggestion(found: &str, known: &[&str]) -> String {
    let nearest = known
        .iter()
        .map(|name| (strsim::damerau_levenshtein(found, name), *name))
        .min()
        .filter(|(distance, name)| *distance <= 2.max(name.len() / 3));
    match nearest {
        Some((_, name)) => format!(", did you mean `{name}`?"),
        None => format!(", wanted one of: {}", known.join(", ")),
    }
}

fn full_name(section: &str, key: &str) -> String {
    if section.is_empty() { key.to_string() } else { format!("{section}.{key}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        let document = Document::new(Path::new("job.toml"), text.to_string());
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
                name.name(&["adam", "sgd"], |name| (name == "adam").then_some(()))?;
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
                "job.toml:2:8: `name`: found \"adm\", did you mean `adam`?",
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
