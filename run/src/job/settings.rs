//! Keys of a job that the command line sets: `--set train.seed=2`. They take the place of the file's before anything is read,
//! so that they are typed and checked exactly like those, and complaints name the option instead of a line.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// One `KEY=VALUE`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// As it was given.
    key: String,
    /// The keys that lead to the value; a number is a place in a list, from 0.
    path: Vec<String>,
    /// As TOML writes it; a text may come without quotes.
    value: String,
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.key, self.value)
    }
}

impl FromStr for Setting {
    type Err = String;

    fn from_str(text: &str) -> Result<Setting, String> {
        let wanted = "wanted KEY=VALUE, such as train.epochs=20";
        let end = end_of_key(text).ok_or_else(|| wanted.to_string())?;
        let (key, value) = (text[..end].trim(), text[end + 1..].trim());
        let path = keys(key).ok_or_else(|| format!("found the key {key:?}: {wanted}"))?;
        if value.is_empty() {
            return Err(format!("`{key}` is given no value: {wanted}"));
        }
        Ok(Setting { key: key.to_string(), path, value: value.to_string() })
    }
}

/// Where the first `=` is that stands in no quotes.
fn end_of_key(text: &str) -> Option<usize> {
    let mut quote = None;
    let mut is_escaped = false;
    text.char_indices().find_map(|(at, c)| {
        match (quote, c) {
            _ if is_escaped => is_escaped = false,
            (Some('"'), '\\') => is_escaped = true,
            (Some(open), c) if open == c => quote = None,
            (None, '"' | '\'') => quote = Some(c),
            (None, '=') => return Some(at),
            _ => {}
        }
        None
    })
}

/// The keys of a dotted key, each bare or in quotes, as TOML has them.
fn keys(key: &str) -> Option<Vec<String>> {
    if key.contains('\n') || key.starts_with(['[', '#']) {
        return None;
    }
    let text = format!("{key} = 0");
    let mut table = DeTable::parse(&text).ok()?.into_inner();
    let mut path = Vec::new();
    loop {
        let (key, value) = table.into_iter().next()?;
        path.push(key.into_inner().into_owned());
        match value.into_inner() {
            DeValue::Table(inner) => table = inner,
            _ => return Some(path),
        }
    }
}

/// A setting as TOML text, its value at an offset at which no other text has anything, so that an offset names the setting.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Placed {
    pub(super) shown: String,
    path: Vec<String>,
    /// Blanks up to the offset, then the value under a key of its own.
    text: String,
    pub(super) start: usize,
}

/// Where a name alone is short for a table with nothing but its type; elsewhere a text makes way for the table.
const SHORT_FOR_TYPE: &[&str] = &["optimizer", "loss", "activation"];

/// The key under which a value is parsed.
const VALUE_KEY: &str = "v";

impl Placed {
    pub(super) fn new(setting: &Setting, start: usize) -> Placed {
        let text = format!("{:start$}{VALUE_KEY} = {}", "", setting.value);
        Placed { shown: setting.to_string(), path: setting.path.clone(), text, start }
    }

    /// The first offset after the text.
    pub(super) fn end(&self) -> usize {
        self.text.len() + 1
    }

    /// Puts the value in its place in the document.
    ///
    /// # Errors
    /// If the value is broken TOML, or the key leads through something that has no keys.
    pub(super) fn apply<'d>(&'d self, root: &mut DeTable<'d>) -> Result<(), String> {
        self.put(root, &self.path, self.value()?)
    }

    /// A text that is no TOML value is taken for one without its quotes, as a shell leaves it.
    fn value(&self) -> Result<Spanned<DeValue<'_>>, String> {
        let bare = self.text[self.start + VALUE_KEY.len()..].trim_start_matches([' ', '=']);
        let parsed = DeTable::parse(&self.text);
        match parsed.map(|mut table| table.get_mut().remove(VALUE_KEY)) {
            Ok(Some(value)) => Ok(value),
            Err(error) if bare.starts_with(['"', '\'', '[', '{']) => {
                Err(format!("broken TOML: {}", error.message().trim().replace('\n', ", ")))
            }
            _ => Ok(self.spanned(DeValue::String(Cow::Borrowed(bare)))),
        }
    }

    fn put<'d>(
        &'d self,
        table: &mut DeTable<'d>,
        path: &'d [String],
        value: Spanned<DeValue<'d>>,
    ) -> Result<(), String> {
        let Some((key, rest)) = path.split_first() else { return Ok(()) };
        let name = self.spanned(Cow::from(key));
        if rest.is_empty() {
            // Its place is the setting's from now on.
            table.remove(key.as_str());
            table.insert(name, value);
            return Ok(());
        }
        let nothing = || self.spanned(DeValue::Table(DeTable::new()));
        self.put_below(table.entry(name).or_insert_with(nothing), rest, value)
    }

    fn put_below<'d>(
        &'d self,
        parent: &mut Spanned<DeValue<'d>>,
        path: &'d [String],
        value: Spanned<DeValue<'d>>,
    ) -> Result<(), String> {
        let span = parent.span();
        match parent.get_mut() {
            DeValue::Table(table) => self.put(table, path, value),
            DeValue::Array(list) => {
                let Some((place, rest)) = path.split_first() else { return Ok(()) };
                let len = list.len();
                let found = place.parse().ok().and_then(|place: usize| list.get_mut(place));
                let Some(item) = found else {
                    return Err(format!(
                        "found `{place}` for a place in a list of {len}, wanted 0 to {}",
                        len.saturating_sub(1)
                    ));
                };
                if rest.is_empty() {
                    *item = value;
                    return Ok(());
                }
                self.put_below(item, rest, value)
            }
            DeValue::String(name) => {
                let mut table = DeTable::new();
                let above = &self.path[self.path.len() - path.len() - 1];
                if SHORT_FOR_TYPE.contains(&above.as_str()) {
                    let name = Spanned::new(span.clone(), DeValue::String(std::mem::take(name)));
                    table.insert(Spanned::new(span, Cow::from("type")), name);
                }
                self.put(&mut table, path, value)?;
                *parent.get_mut() = DeValue::Table(table);
                Ok(())
            }
            _ => Err(format!("there are no keys below `{}`", self.above(path))),
        }
    }

    /// The keys that lead to the first of these.
    fn above(&self, path: &[String]) -> String {
        self.path[..self.path.len() - path.len()].join(".")
    }

    fn spanned<T>(&self, value: T) -> Spanned<T> {
        Spanned::new(self.start..self.end(), value)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    /// The document's values after the settings.
    fn set(text: &str, settings: &[&str]) -> Result<Value, String> {
        let settings: Vec<Setting> =
            settings.iter().map(|setting| setting.parse().unwrap()).collect();
        let placed: Vec<Placed> =
            settings.iter().map(|setting| Placed::new(setting, text.len() + 1)).collect();
        let mut table = DeTable::parse(text).unwrap();
        for setting in &placed {
            setting.apply(table.get_mut())?;
        }
        Ok(plain(table.get_ref()))
    }

    fn plain(table: &DeTable<'_>) -> Value {
        let pair = |(key, value): (&Spanned<Cow<'_, str>>, &Spanned<DeValue<'_>>)| {
            (key.get_ref().to_string(), plain_value(value.get_ref()))
        };
        table.iter().map(pair).collect()
    }

    fn plain_value(value: &DeValue<'_>) -> Value {
        match value {
            DeValue::Array(list) => list.iter().map(|item| plain_value(item.get_ref())).collect(),
            DeValue::Table(table) => plain(table),
            DeValue::String(text) => text.as_ref().into(),
            DeValue::Integer(number) => number.as_str().parse::<i64>().unwrap().into(),
            DeValue::Float(number) => number.as_str().parse::<f64>().unwrap().into(),
            other => panic!("no {} in these tests", other.type_str()),
        }
    }

    #[test]
    fn a_setting_takes_the_place_of_the_files_value() {
        let text = "seed = 1\n[train]\noptimizer = \"adam\"\nepochs = 2\n[model]\nlayers = [{ units = 1 }, { units = 2 }]\n\
                    [data]\ntest = \"t.csv\"\n";
        for (settings, wanted) in [
            (&["seed=2"][..], ("seed = 1", "seed = 2")),
            (&["seed=2", "seed = 3"], ("seed = 1", "seed = 3")),
            (&["name=2024-run"], ("seed = 1", "seed = 1\nname = \"2024-run\"")),
            (&["train.optimizer=sgd"], ("\"adam\"", "\"sgd\"")),
            (&["train.optimizer=\"sgd\""], ("\"adam\"", "\"sgd\"")),
            (&["train.optimizer.beta_1=0.5"], ("\"adam\"", "{ type = \"adam\", beta_1 = 0.5 }")),
            (&["model.layers.1.units=7"], ("{ units = 2 }", "{ units = 7 }")),
            (&["model.layers.0={units=9}"], ("{ units = 1 }", "{ units = 9 }")),
            (&["cluster.workers_min=2"], ("[model]", "[cluster]\nworkers_min = 2\n[model]")),
            (&["data.test.fraction=0.5"], ("\"t.csv\"", "{ fraction = 0.5 }")),
            (&["data.test=a=b.csv"], ("\"t.csv\"", "\"a=b.csv\"")),
            (
                &["data.columns.\"net = price\".scale=robust", "data.columns.'a.b'.indicator=1"],
                (
                    "test = \"t.csv\"",
                    "test = \"t.csv\"\n[data.columns]\n\"net = price\" = { scale = \"robust\" }\n\
                     \"a.b\" = { indicator = 1 }",
                ),
            ),
        ] {
            let wanted = text.replacen(wanted.0, wanted.1, 1);
            let wanted = plain(DeTable::parse(&wanted).unwrap().get_ref());
            assert_eq!(set(text, settings).unwrap(), wanted, "{settings:?}");
        }
    }

    #[test]
    fn what_cannot_be_set_is_said() {
        for (setting, message) in [
            ("seed.x=1", "there are no keys below `seed`"),
            ("layers.2.units=1", "found `2` for a place in a list of 1, wanted 0 to 0"),
            ("layers.first=1", "found `first` for a place in a list of 1"),
            ("layers=[1,", "broken TOML: "),
            ("layers=\"x", "broken TOML: "),
        ] {
            let error = set("seed = 1\nlayers = [{}]", &[setting]).unwrap_err();
            assert!(error.starts_with(message), "{setting}: {error}");
        }
        for text in [
            "seed", "=1", "a..b=1", "a b=1", "seed=", "seed=  ", "\"a=1", "[a]\nb=1", "#=1",
            "\"a\"b=1",
        ] {
            assert!(text.parse::<Setting>().is_err(), "{text:?}");
        }
    }
}
