//! The section `data` of a job file: the tables, and how they are read.

use std::path::{Path, PathBuf};

use lockstep_data::{Missing, TableFile, TableSource, TableSpec};
use lockstep_parameters::{Choice, Range, Slot};

use super::error::JobError;
use super::keys::{Bound, Key, Keys, choose};
use super::reader::{Section, Value, quoted};
use super::resolved::inline;

/// The section: the tables, and the format that is said of all those that are not in two files.
pub(super) struct DataSection<'a> {
    spec: &'a mut TableSpec,
    format: Option<String>,
}

impl DataSection<'_> {
    pub(super) fn of(spec: &mut TableSpec) -> DataSection<'_> {
        let format = files(spec).find_map(|file| file.format());
        DataSection { spec, format }
    }
}

impl Keys for DataSection<'_> {
    fn keys(&mut self) -> Vec<Key<'_>> {
        let spec = &mut *self.spec;
        let dialect = &mut spec.dialect;
        let source = |value: &Value<'_>| read_source(value).map(Some);
        let write_source = |found: &Option<TableSource>| found.as_ref().map(source_to_toml);
        let one = |value: &Value<'_>| character(value, "one character").map(Some);
        let write_one = |found: &Option<char>| found.map(|one| quoted(&one.to_string()));
        let train = |file: &TableFile| Some(table_to_toml(file));
        vec![
            Key::own("train", &mut spec.train, table_file, train).required(),
            Key::own("test", &mut spec.test, source, write_source),
            Key::own("validation", &mut spec.validation, source, write_source),
            Key::slot("format", Slot::Text(&mut self.format)),
            Key::own("target", &mut spec.target, columns, |names| Some(list(names))),
            Key::own(
                "features",
                &mut spec.features,
                |value| columns(value).map(Some),
                |names| names.as_deref().map(list),
            ),
            Key::slot("sample_weight", Slot::Text(&mut spec.sample_weight)),
            Key::own(
                "image",
                &mut spec.image,
                |value| image(value).map(Some),
                |sides| sides.map(|sides| format!("{sides:?}")),
            ),
            Key::slot("scale", Slot::Choice(&mut spec.scale)),
            Key::own("missing", &mut spec.missing, missing, |rule| {
                Slot::Choice(&mut rule.clone()).value().map(|value| inline(&value))
            }),
            Key::slot("missing_values", Slot::Texts(&mut dialect.missing_values)),
            Key::slot("stratify", Slot::Flag(&mut spec.stratify)),
            Key::own("delimiter", &mut dialect.delimiter, one, write_one),
            Key::own("quote", &mut dialect.quote, quote, |found| {
                Some(quoted(&found.map(String::from).unwrap_or_default()))
            }),
            Key::own("comment", &mut dialect.comment, one, write_one),
            Key::slot("header", Slot::Flag(&mut dialect.header)),
            Key::own(
                "decimal",
                &mut dialect.decimal,
                |value| character(value, "\".\" or \",\""),
                |sign| Some(quoted(&sign.to_string())),
            ),
            Key::new("columns", Bound::Columns(&mut spec.columns)),
        ]
    }

    fn finish(&mut self, section: &Section<'_>) -> Result<(), JobError> {
        if let (Some(value), Some(format)) = (section.get("format"), &self.format) {
            for file in files(self.spec) {
                let told = file.clone().in_format(format);
                *file = told.map_err(|problem| value.fail(problem))?;
            }
        }
        if section.get("target").is_none() {
            // What the table itself keeps as its targets.
            match self.spec.train.default_target() {
                Some(name) => self.spec.target = vec![name.to_string()],
                None => _ = section.require("target")?,
            }
        }
        match self.spec.dialect.problem() {
            Some((key, problem)) => Err(section.fail_at(key, problem)),
            None => Ok(()),
        }
    }
}

/// The tables that are not a share of another.
fn files(spec: &mut TableSpec) -> impl Iterator<Item = &mut TableFile> {
    let held_out = [&mut spec.validation, &mut spec.test].into_iter().flatten();
    let held_out = held_out.filter_map(|source| match source {
        TableSource::File(file) => Some(file),
        TableSource::Fraction(_) => None,
    });
    std::iter::once(&mut spec.train).chain(held_out)
}

/// A rule for all columns: any but the one that is for single ones alone.
fn missing(value: &Value<'_>) -> Result<Missing, JobError> {
    let mut rule = Missing::default();
    let mut names = <Missing as Choice>::names();
    names.retain(|name| *name != Missing::Category.name());
    choose(value, &mut rule, &names)?;
    Ok(rule)
}

/// Most values of a side of an image.
const IMAGE_SIDE_MAX: u64 = 1 << 16;

fn image(value: &Value<'_>) -> Result<[usize; 3], JobError> {
    let wanted = "wanted three: height, width and channels, such as `[28, 28, 1]`";
    if !value.is_list() {
        return Err(
            value.wanted("three numbers: height, width and channels, such as `[28, 28, 1]`")
        );
    }
    let sides: Vec<usize> = value
        .list()?
        .iter()
        .map(|side| side.integer(1, IMAGE_SIDE_MAX).map(|side| side as usize))
        .collect::<Result<_, _>>()?;
    let found = sides.len();
    sides.try_into().map_err(|_| value.fail(format!("found {found} numbers, {wanted}")))
}

fn quote(value: &Value<'_>) -> Result<Option<char>, JobError> {
    match value.string()? {
        "" => Ok(None),
        _ => character(value, "one character, or \"\" where nothing is quoted").map(Some),
    }
}

fn character(value: &Value<'_>, wanted: &str) -> Result<char, JobError> {
    let text = value.string()?;
    let mut characters = text.chars();
    match (characters.next(), characters.next()) {
        (Some(one), None) => Ok(one),
        _ => Err(value.fail(format!("found {text:?}, wanted {wanted}"))),
    }
}

/// Every key of tables in two files.
fn pair_keys() -> Vec<&'static str> {
    TableFile::pairs().flatten().collect()
}

/// A share of the training table's rows.
const FRACTION: Range =
    Range::new("a number above 0 and below 1", |number| number > 0.0 && number < 1.0);

/// A table of its own: a path, or the paths of two files.
fn table_file(value: &Value<'_>) -> Result<TableFile, JobError> {
    match value.table(&pair_keys()) {
        Some(section) => pair(value, &section?),
        None => Ok(TableFile::at(value.path()?)),
    }
}

/// A table in two files, in the format that has these keys.
fn pair(value: &Value<'_>, section: &Section<'_>) -> Result<TableFile, JobError> {
    let given: Vec<&str> =
        pair_keys().into_iter().filter(|key| section.get(key).is_some()).collect();
    let is_of = |keys: &[&str; 2]| given.iter().all(|key| keys.contains(key));
    let Some(keys) = TableFile::pairs().find(is_of).filter(|_| !given.is_empty()) else {
        let found = match &given[..] {
            [] => "an empty table".to_string(),
            given => format!("`{}`", given.join("`, `")),
        };
        let forms = TableFile::pairs()
            .map(|[features, targets]| format!("{{ {features} = \"...\", {targets} = \"...\" }}"));
        let forms = forms.collect::<Vec<_>>().join(" or ");
        return Err(value.fail(format!("found {found}, wanted a path, or {forms}")));
    };
    let [features, targets] = keys;
    let features = section.require(features)?.path()?;
    let targets = section.require(targets)?.path()?;
    let file = TableFile::pair(keys, features, targets);
    file.ok_or_else(|| value.fail("no format has these keys"))
}

fn read_source(value: &Value<'_>) -> Result<TableSource, JobError> {
    let pair_keys = pair_keys();
    let known = [&["fraction"], &pair_keys[..]].concat();
    let Some(section) = value.table(&known) else {
        return Ok(TableSource::File(table_file(value)?));
    };
    let section = section?;
    let is_pair = pair_keys.iter().any(|key| section.get(key).is_some());
    match section.get("fraction") {
        None if is_pair => Ok(TableSource::File(pair(value, &section)?)),
        Some(fraction) if is_pair => {
            Err(fraction.fail("wanted either a fraction or a table of its own, not both"))
        }
        _ => {
            let fraction = section.require("fraction")?;
            Ok(TableSource::Fraction(fraction.number(FRACTION)?))
        }
    }
}

fn columns(value: &Value<'_>) -> Result<Vec<String>, JobError> {
    if !value.is_list() {
        return Ok(vec![value.string()?.to_string()]);
    }
    let columns: Vec<String> = value
        .list()?
        .iter()
        .map(|column| column.string().map(str::to_string))
        .collect::<Result<_, _>>()?;
    if columns.is_empty() {
        return Err(value.fail("found an empty list, wanted at least one column"));
    }
    Ok(columns)
}

/// A path as it is wherever the job is read.
pub(super) fn absolute(path: &Path) -> String {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| PathBuf::from(path));
    quoted(&absolute.to_string_lossy())
}

fn list(texts: &[String]) -> String {
    let quoted: Vec<String> = texts.iter().map(|text| quoted(text)).collect();
    format!("[{}]", quoted.join(", "))
}

fn source_to_toml(source: &TableSource) -> String {
    match source {
        TableSource::File(file) => table_to_toml(file),
        TableSource::Fraction(fraction) => format!("{{ fraction = {fraction:?} }}"),
    }
}

fn table_to_toml(file: &TableFile) -> String {
    let files: Vec<String> = file
        .files()
        .into_iter()
        .map(|(key, file)| match key {
            None => absolute(file),
            Some(key) => format!("{key} = {}", absolute(file)),
        })
        .collect();
    match &files[..] {
        [file] => file.clone(),
        files => format!("{{ {} }}", files.join(", ")),
    }
}
