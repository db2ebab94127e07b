//! The keys of a job file one by one, each by its whole name, as it stands in the text. Knows TOML and no key.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// A value that is no table, with its place in the text.
pub(crate) type Leaf<'d> = Spanned<DeValue<'d>>;

/// Calls `f` with each key of a document, points between its parts, and its value. What is in a list goes by its place if
/// `opens` says so of the list, or else the list is a value.
///
/// # Errors
/// What is wrong, if it is no TOML.
pub(crate) fn each_key(
    text: &str,
    opens: fn(&[Leaf<'_>]) -> bool,
    mut f: impl FnMut(String, &Leaf<'_>),
) -> Result<(), String> {
    let table = DeTable::parse(text).map_err(|error| error.message().to_string())?;
    in_table("", table.get_ref(), opens, &mut f);
    Ok(())
}

fn in_table(
    before: &str,
    table: &DeTable<'_>,
    opens: fn(&[Leaf<'_>]) -> bool,
    f: &mut impl FnMut(String, &Leaf<'_>),
) {
    for (key, value) in table.iter() {
        let key = key.get_ref();
        let name = if before.is_empty() { key.to_string() } else { format!("{before}.{key}") };
        in_value(name, value, opens, f);
    }
}

fn in_value(
    name: String,
    value: &Leaf<'_>,
    opens: fn(&[Leaf<'_>]) -> bool,
    f: &mut impl FnMut(String, &Leaf<'_>),
) {
    match value.get_ref() {
        DeValue::Table(table) => in_table(&name, table, opens, f),
        DeValue::Array(all) if opens(all) => {
            let placed = all.iter().enumerate();
            placed.for_each(|(place, one)| in_value(format!("{name}.{place}"), one, opens, f));
        }
        _ => f(name, value),
    }
}
