//! The section `data` of a job file: the tables, and how they are read.

use std::path::Path;

use lockstep_data::{Dialect, Source, TableFile, TableSpec};

use super::columns::{read_missing, read_scale};
use super::reader::{JobError, Section, Value};
use super::sections::path;

/// The section's keys.
pub(super) const KEYS: &[&str] = &[
    "train",
    "test",
    "validation",
    "target",
    "features",
    "sample_weight",
    "scale",
    "missing",
    "columns",
    "missing_values",
    "stratify",
    "delimiter",
    "format",
    "quote",
    "comment",
    "header",
];

/// Reads the section.
pub(super) fn read(value: &Value<'_>, folder: &Path) -> Result<TableSpec, JobError> {
    let section = value.section(KEYS)?;
    let format = section.get("format");
    let in_format = |file: TableFile| match &format {
        Some(value) => file.in_format(value.string()?).map_err(|problem| value.fail(problem)),
        None => Ok(file),
    };
    let source = |key| match section.get(key).map(|value| source(&value, folder)).transpose()? {
        Some(Source::File(file)) => Ok(Some(Source::File(in_format(file)?))),
        found => Ok::<_, JobError>(found),
    };
    let train = in_format(table_file(&section.require("train")?, folder)?)?;
    let target = match (train.default_target(), section.get("target")) {
        // What the table itself keeps as its targets.
        (Some(name), None) => vec![name.to_string()],
        _ => columns(&section.require("target")?)?,
    };
    Ok(TableSpec {
        train,
        test: source("test")?,
        validation: source("validation")?,
        target,
        features: section.get("features").map(|value| columns(&value)).transpose()?,
        sample_weight: section
            .get("sample_weight")
            .map(|value| value.string().map(str::to_string))
            .transpose()?,
        scale: section
            .get("scale")
            .map(|value| read_scale(&value))
            .transpose()?
            .unwrap_or_default(),
        missing: section
            .get("missing")
            .map(|value| read_missing(&value))
            .transpose()?
            .unwrap_or_default(),
        columns: section
            .get("columns")
            .map(|value| super::columns::read(&value))
            .transpose()?
            .unwrap_or_default(),
        stratify: section.get("stratify").map_or(Ok(true), |value| value.boolean())?,
        dialect: dialect(&section)?,
    })
}

/// How CSV files are written.
fn dialect(section: &Section<'_>) -> Result<Dialect, JobError> {
    let mut dialect = Dialect::default();
    // Each is checked by itself, for its place, and the two together at the end.
    if let Some(value) = section.get("delimiter") {
        dialect.delimiter = Some(character(&value, "one character")?);
        check(&value, &dialect)?;
    }
    if let Some(value) = section.get("quote") {
        dialect.quote = match value.string()? {
            "" => None,
            _ => Some(character(&value, "one character, or \"\" where nothing is quoted")?),
        };
        check(&value, &dialect)?;
    }
    if let Some(value) = section.get("comment") {
        dialect.comment = Some(character(&value, "one character")?);
        check(&value, &dialect)?;
    }
    if let Some(value) = section.get("header") {
        dialect.header = value.boolean()?;
    }
    if let Some(value) = section.get("missing_values") {
        let texts: Result<Vec<String>, JobError> =
            value.list()?.iter().map(|value| value.string().map(str::to_string)).collect();
        dialect.missing_values = Some(texts?);
    }
    Ok(dialect)
}

fn character(value: &Value<'_>, wanted: &str) -> Result<char, JobError> {
    let text = value.string()?;
    let mut characters = text.chars();
    match (characters.next(), characters.next()) {
        (Some(one), None) => Ok(one),
        _ => Err(value.fail(format!("found {text:?}, wanted {wanted}"))),
    }
}

fn check(value: &Value<'_>, dialect: &Dialect) -> Result<(), JobError> {
    dialect.problem().map_or(Ok(()), |(_, problem)| Err(value.fail(problem)))
}

/// Every key of tables in two files.
fn pair_keys() -> Vec<&'static str> {
    TableFile::pairs().flatten().collect()
}

/// A table of its own: a path, or the paths of two files.
fn table_file(value: &Value<'_>, folder: &Path) -> Result<TableFile, JobError> {
    match value.table(&pair_keys()) {
        Some(section) => pair(value, &section?, folder),
        None => Ok(TableFile::at(path(value, folder)?)),
    }
}

/// A table in two files, in the format that has these keys.
fn pair(value: &Value<'_>, section: &Section<'_>, folder: &Path) -> Result<TableFile, JobError> {
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
    let features = path(&section.require(features)?, folder)?;
    let targets = path(&section.require(targets)?, folder)?;
    let file = TableFile::pair(keys, features, targets);
    file.ok_or_else(|| value.fail("no format has these keys"))
}

fn source(value: &Value<'_>, folder: &Path) -> Result<Source, JobError> {
    let pair_keys = pair_keys();
    let known = [&["fraction"], &pair_keys[..]].concat();
    let Some(section) = value.table(&known) else {
        return Ok(Source::File(table_file(value, folder)?));
    };
    let section = section?;
    let is_pair = pair_keys.iter().any(|key| section.get(key).is_some());
    match section.get("fraction") {
        None if is_pair => Ok(Source::File(pair(value, &section, folder)?)),
        Some(fraction) if is_pair => {
            Err(fraction.fail("wanted either a fraction or a table of its own, not both"))
        }
        _ => {
            let fraction = section.require("fraction")?;
            let number = fraction.number("a number above 0 and below 1", |n| n > 0.0 && n < 1.0)?;
            Ok(Source::Fraction(number))
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
