//! `data.scale`, `data.missing` and `data.columns`: what is done to columns, for all and for single ones. Which scales there
//! are, and which numbers they take, is the data crate's to say: this file knows none of them by name.

use std::collections::BTreeMap;

use lockstep_data::{ColumnEncoder, ColumnKind, ColumnOverride, Missing, Scale};

use super::reader::{JobError, Value, quoted};

/// What can be said of a column.
pub(super) const KEYS: &[&str] = &["kind", "encoder", "dimension", "scale", "missing", "indicator"];

/// What a table of columns looks like, for messages.
pub(super) const EXAMPLE: &str =
    "price = { scale = \"robust\", missing = \"mean\", indicator = true }";

/// What is said of single columns, by their names.
pub(super) fn read(value: &Value<'_>) -> Result<BTreeMap<String, ColumnOverride>, JobError> {
    let mut columns = BTreeMap::new();
    for (name, value) in value.open_section()?.entries() {
        let Some(section) = value.table(KEYS) else {
            return Err(value.wanted(format!("a table, as in `{EXAMPLE}`")));
        };
        let section = section?;
        let column = ColumnOverride {
            kind: section
                .get("kind")
                .map(|value| value.name(ColumnKind::NAMES, ColumnKind::named))
                .transpose()?,
            encoder: section
                .get("encoder")
                .map(|value| value.name(ColumnEncoder::NAMES, ColumnEncoder::named))
                .transpose()?,
            dimension: section.get("dimension").map(|value| dimension(&value)).transpose()?,
            scale: section.get("scale").map(|value| read_scale(&value)).transpose()?,
            missing: section.get("missing").map(|value| read_own_missing(&value)).transpose()?,
            indicator: section.get("indicator").map_or(Ok(false), |value| value.boolean())?,
        };
        columns.insert(name.to_string(), column);
    }
    Ok(columns)
}

/// A scale by its name, or `{ name = number }`.
pub(super) fn read_scale(value: &Value<'_>) -> Result<Scale, JobError> {
    let with_number = Scale::parameters();
    let keys: Vec<&'static str> = with_number.iter().map(|(name, _)| *name).collect();
    let Some(section) = value.table(&keys) else {
        return value.name(&Scale::names(), Scale::named);
    };
    let section = section?;
    let given: Vec<_> =
        with_number.iter().filter(|(name, _)| section.get(name).is_some()).collect();
    let (name, parameter) = match (&given[..], &with_number[..]) {
        ([one], _) => **one,
        ([], [first, ..]) => *first,
        _ => return Err(value.fail(format!("wanted one of: {}", keys.join(", ")))),
    };
    let value = section.require(name)?;
    let number = value.number(parameter.wanted, parameter.fits)?;
    Scale::with_parameter(name, number).ok_or_else(|| value.wanted(parameter.wanted))
}

/// A rule by its name, or `{ constant = number }`.
pub(super) fn read_missing(value: &Value<'_>) -> Result<Missing, JobError> {
    read_rule(value, Missing::NAMES)
}

/// The same of a single column.
fn read_own_missing(value: &Value<'_>) -> Result<Missing, JobError> {
    read_rule(value, Missing::COLUMN_NAMES)
}

fn read_rule(value: &Value<'_>, names: &[&'static str]) -> Result<Missing, JobError> {
    let Some(section) = value.table(&["constant"]) else {
        let named = |name: &str| Missing::named(name).filter(|_| names.contains(&name));
        return value.name(names, named);
    };
    let constant = section?.require("constant")?;
    let wanted = "a number of at most 1e100 in size";
    let number = constant.number(wanted, |number| Missing::constant(number).is_some())?;
    Ok(Missing::Constant(number))
}

/// Values of an embedding's vector.
fn dimension(value: &Value<'_>) -> Result<usize, JobError> {
    let fits = |number: f64| number.fract() == 0.0 && (1.0..=65_536.0).contains(&number);
    Ok(value.number("a whole number from 1 to 65536", fits)? as usize)
}

/// A column's table, as a job file has it.
pub(crate) fn to_toml(column: &ColumnOverride) -> String {
    let ColumnOverride { kind, encoder, dimension, .. } = *column;
    let ColumnOverride { scale: own_scale, missing: own_missing, indicator, .. } = *column;
    let parts = [
        kind.map(|own| format!("kind = {}", quoted(&own.to_string()))),
        encoder.map(|own| format!("encoder = {}", quoted(&own.to_string()))),
        dimension.map(|own| format!("dimension = {own}")),
        own_scale.map(|own| format!("scale = {}", scale(own))),
        own_missing.map(|own| format!("missing = {}", missing(own))),
        indicator.then(|| "indicator = true".to_string()),
    ];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    match parts.is_empty() {
        true => "{}".to_string(),
        false => format!("{{ {} }}", parts.join(", ")),
    }
}

pub(super) fn scale(scale: Scale) -> String {
    match scale.parameter() {
        Some(number) => format!("{{ {} = {number:?} }}", scale.name()),
        None => quoted(scale.name()),
    }
}

pub(super) fn missing(missing: Missing) -> String {
    match missing {
        Missing::Constant(number) => format!("{{ constant = {number:?} }}"),
        missing => quoted(&missing.to_string()),
    }
}
