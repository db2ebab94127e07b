//! A section of a job file as one list of keys, each bound to the place of its value. Which keys there are, how they are read,
//! what holds where one is not given, and how the run folder's job has them ([`resolved`](super::resolved)) follow from the list.
//!
//! Knows TOML, and no key by name.

use std::collections::BTreeMap;

use lockstep_data::ColumnOverride;
use lockstep_parameters::{AnyChoice, Form, Parameter, Slot, Value};

use super::error::JobError;
use super::hints::example;
use super::reader::{self, full_name};

/// Most values of a list: more than anybody writes.
const LISTED_MAX: usize = 1 << 16;

/// One key.
pub(super) struct Key<'a> {
    pub(super) name: &'static str,
    pub(super) is_required: bool,
    pub(super) value: Bound<'a>,
}

/// What a key's value is, and where it is kept. What is there is the default.
pub(super) enum Bound<'a> {
    /// What any crate may have.
    Slot(Slot<'a>),
    /// The same, each of its items on a line of its own.
    Lines(Slot<'a>),
    /// One of several keys, which are the names of a choice; this one has no name itself.
    OneOf(&'a mut dyn AnyChoice),
    /// A section of its own.
    Section(Box<dyn Keys + 'a>),
    /// A section of a table for each column, by its name.
    Columns(&'a mut BTreeMap<String, ColumnOverride>),
    /// What only job files have.
    Own(Box<dyn Own + 'a>),
}

/// What has keys.
pub(super) trait Keys {
    /// The keys, in the order in which they are written. Sections come last.
    fn keys(&mut self) -> Vec<Key<'_>>;

    /// Does what is left when all keys are read.
    fn finish(&mut self, _section: &reader::Section<'_>) -> Result<(), JobError> {
        Ok(())
    }
}

/// A value that is read and written in a way of its own.
pub(super) trait Own {
    fn read(&mut self, value: &reader::Value<'_>) -> Result<(), JobError>;

    /// `None` where it is left out.
    fn write(&self) -> Option<String>;
}

/// The place of the value, with a way to read it and one to write it.
impl<T> Own for (&mut T, Read<T>, Write<T>) {
    fn read(&mut self, value: &reader::Value<'_>) -> Result<(), JobError> {
        *self.0 = (self.1)(value)?;
        Ok(())
    }

    fn write(&self) -> Option<String> {
        (self.2)(self.0)
    }
}

type Read<T> = fn(&reader::Value<'_>) -> Result<T, JobError>;
type Write<T> = fn(&T) -> Option<String>;

impl<'a> Key<'a> {
    pub(super) fn new(name: &'static str, value: Bound<'a>) -> Key<'a> {
        Key { name, is_required: false, value }
    }

    pub(super) fn slot(name: &'static str, slot: Slot<'a>) -> Key<'a> {
        Key::new(name, Bound::Slot(slot))
    }

    pub(super) fn section(name: &'static str, keys: impl Keys + 'a) -> Key<'a> {
        Key::new(name, Bound::Section(Box::new(keys)))
    }

    pub(super) fn own<T>(
        name: &'static str,
        into: &'a mut T,
        read: Read<T>,
        write: Write<T>,
    ) -> Key<'a> {
        Key::new(name, Bound::Own(Box::new((into, read, write))))
    }

    pub(super) fn required(mut self) -> Key<'a> {
        self.is_required = true;
        self
    }

    /// As it is written in a section.
    fn names(&self) -> Vec<&'static str> {
        match &self.value {
            Bound::OneOf(choice) => choice.names(),
            _ => vec![self.name],
        }
    }
}

/// The names of all keys.
fn names(keys: &mut dyn Keys) -> Vec<&'static str> {
    keys.keys().iter().flat_map(Key::names).collect()
}

/// Reads the keys of a section, which is opened with their names.
pub(super) fn read<'d>(
    keys: &mut dyn Keys,
    open: &dyn Fn(&[&str]) -> Result<reader::Section<'d>, JobError>,
) -> Result<(), JobError> {
    let section = open(&names(keys))?;
    for key in keys.keys() {
        if let Bound::OneOf(choice) = key.value {
            read_one_of(&section, choice)?;
            continue;
        }
        let value = match section.get(key.name) {
            Some(value) => value,
            None if key.is_required => section.require(key.name)?,
            None => continue,
        };
        match key.value {
            Bound::Slot(slot) | Bound::Lines(slot) => fill(&value, slot)?,
            Bound::Section(mut keys) => read(&mut *keys, &|names| value.section(names))?,
            Bound::Columns(columns) => {
                for (name, value) in value.open_section()?.entries() {
                    let mut column = ColumnOverride::default();
                    fill(&value, Slot::Table(&mut column))?;
                    columns.insert(name.to_string(), column);
                }
            }
            Bound::Own(mut own) => own.read(&value)?,
            Bound::OneOf(_) => {}
        }
    }
    keys.finish(&section)
}

/// Reads the one of a choice's names that is a key of the section, if one is.
fn read_one_of(section: &reader::Section<'_>, choice: &mut dyn AnyChoice) -> Result<(), JobError> {
    let names = choice.names();
    let given: Vec<_> = names.iter().filter(|name| section.get(name).is_some()).collect();
    match given[..] {
        [] => Ok(()),
        [name] => {
            choice.choose(name);
            fill_all(section, choice.parameters())
        }
        _ => Err(section.fail(format!("wanted one of: {}", names.join(", ")))),
    }
}

fn fill_all(section: &reader::Section<'_>, parameters: Vec<Parameter<'_>>) -> Result<(), JobError> {
    for parameter in parameters {
        match section.get(parameter.name) {
            Some(value) => fill(&value, parameter.slot)?,
            None if parameter.is_required => _ = section.require(parameter.name)?,
            None => {}
        }
    }
    Ok(())
}

fn fill(value: &reader::Value<'_>, slot: Slot<'_>) -> Result<(), JobError> {
    match slot {
        Slot::Flag(into) => into.set(value.boolean()?),
        Slot::Whole(into, min, max) => into.set(value.integer(min, max)?),
        Slot::Wholes(into, min, max) => {
            into.set(all(value, LISTED_MAX, |item| item.integer(min, max))?);
        }
        Slot::Sides(into, min, max) => into.set(match value.is_list() {
            true => {
                let sides = all(value, LISTED_MAX, |item| item.integer(min, max))?;
                let found = sides.len();
                let wanted = "one whole number, or two: height and width";
                <[u64; 2]>::try_from(sides)
                    .map_err(|_| value.fail(format!("found {found} numbers, wanted {wanted}")))?
            }
            false => [value.integer(min, max)?; 2],
        }),
        Slot::Number(into, range) => into.set(value.number(range)?),
        Slot::Numbers(into, range) => {
            into.set(all(value, LISTED_MAX, |item| item.number(range))?);
        }
        Slot::Number32(into, range) => into.set(value.number(range)? as f32),
        Slot::Text(into) => into.set(value.string()?.to_string()),
        Slot::Texts(into) => {
            into.set(all(value, LISTED_MAX, |item| item.string().map(str::to_string))?);
        }
        Slot::Choice(choice) => {
            let names = choice.names();
            choose(value, choice, &names)?;
        }
        Slot::Choices(choices, most) => {
            choices.empty();
            let choose = |item: &reader::Value<'_>| {
                let choice = choices.add();
                let names = choice.names();
                choose(item, choice, &names)
            };
            all(value, most, choose)?;
        }
        Slot::Table(table) => {
            let names = lockstep_parameters::names(table.open());
            let Some(section) = value.table(&names) else {
                return Err(value.wanted(format!("a table, as in `{}`", example(value.name()))));
            };
            fill_all(&section?, table.open())?;
        }
    }
    Ok(())
}

/// The items of a list, each read.
fn all<'d, T>(
    value: &reader::Value<'d>,
    most: usize,
    read: impl FnMut(&reader::Value<'d>) -> Result<T, JobError>,
) -> Result<Vec<T>, JobError> {
    let items = value.list()?;
    if items.len() > most {
        let (found, what) = (items.len(), value.key());
        return Err(value.fail(format!("found {found} {what}, wanted at most {most}")));
    }
    items.iter().map(read).collect()
}

/// Chooses by a name, by a table, or by the number that stands for one, among these names.
pub(super) fn choose(
    value: &reader::Value<'_>,
    choice: &mut dyn AnyChoice,
    names: &[&'static str],
) -> Result<(), JobError> {
    if let Some(range) = choice.numbers()
        && !value.is_table()
    {
        if !value.is_number() {
            let wanted = format!("{}, or a table such as {}", range.plain(), example(value.name()));
            return Err(value.wanted(wanted));
        }
        choice.choose_number(value.number(range)? as f32);
        return Ok(());
    }
    match choice.form() {
        Form::Tag(tag) => choose_tagged(value, choice, names, tag)?,
        Form::Key => choose_keyed(value, choice, names)?,
    }
    // Written as a number, and one, it is the same job.
    if let Some(Value::Number32(number)) = choice.value() {
        choice.choose_number(number);
    }
    Ok(())
}

fn choose_tagged(
    value: &reader::Value<'_>,
    choice: &mut dyn AnyChoice,
    names: &[&'static str],
    tag: &'static str,
) -> Result<(), JobError> {
    if !value.is_table() {
        let name = value.one_of(names)?;
        choice.choose(name);
        if choice.parameters().iter().any(|found| found.is_required) {
            let example = example(value.name());
            let problem = format!("found \"{name}\" alone, wanted a table such as {example}");
            return Err(value.fail(problem));
        }
        return Ok(());
    }
    let (name, section) = value.tagged(tag, names, |name| choice.parameters_of(name))?;
    choice.choose(name);
    fill_all(&section, choice.parameters())?;
    choice.check().map_err(|wrong| match section.get(&wrong.parameter) {
        Some(value) => value.fail(wrong.problem),
        None => value.fail(format!("{}: {}", wrong.parameter, wrong.problem)),
    })
}

fn choose_keyed(
    value: &reader::Value<'_>,
    choice: &mut dyn AnyChoice,
    names: &[&'static str],
) -> Result<(), JobError> {
    let has_value = |name: &&&'static str| !choice.parameters_of(name).is_empty();
    let (keys, alone): (Vec<_>, Vec<_>) = names.iter().partition(has_value);
    let Some(section) = value.table(&keys) else {
        choice.choose(value.one_of(&alone)?);
        return Ok(());
    };
    let section = section?;
    let given: Vec<_> = keys.iter().filter(|name| section.get(name).is_some()).collect();
    let name = match (&given[..], &keys[..]) {
        ([name], _) => name,
        ([], [first, ..]) => first,
        _ => return Err(value.fail(format!("wanted one of: {}", keys.join(", ")))),
    };
    choice.choose(name);
    fill_all(&section, choice.parameters())
}

/// The keys of every table of a job by the name of where it stands: of what is chosen by name those of all its names.
pub(super) fn all_keys(name: &str, keys: &mut dyn Keys) -> Vec<(String, Vec<&'static str>)> {
    let mut found = vec![(name.to_string(), names(keys))];
    for key in keys.keys() {
        let name = full_name(name, key.name);
        match key.value {
            Bound::Slot(slot) | Bound::Lines(slot) => found.extend(keys_of(&name, slot)),
            Bound::Section(mut keys) => found.extend(all_keys(&name, &mut *keys)),
            Bound::Columns(_) => {
                found.extend(keys_of(&name, Slot::Table(&mut ColumnOverride::default())));
            }
            Bound::OneOf(_) | Bound::Own(_) => {}
        }
    }
    found
}

fn keys_of(name: &str, slot: Slot<'_>) -> Vec<(String, Vec<&'static str>)> {
    // Layers may have layers, without end.
    let mut keys = name.rsplit('.');
    if keys.next().is_some_and(|last| keys.any(|key| key == last)) {
        return Vec::new();
    }
    let (mut own, mut below) = (Vec::new(), Vec::new());
    let mut add = |parameters: Vec<Parameter<'_>>| {
        for parameter in parameters {
            own.push(parameter.name);
            below.extend(keys_of(&full_name(name, parameter.name), parameter.slot));
        }
    };
    let mut add_choice = |choice: &mut dyn AnyChoice| {
        for each in choice.names() {
            choice.choose(each);
            add(choice.parameters());
        }
    };
    match slot {
        Slot::Choice(choice) => add_choice(choice),
        Slot::Choices(choices, _) => add_choice(choices.add()),
        Slot::Table(table) => add(table.open()),
        _ => return Vec::new(),
    }
    below.insert(0, (name.to_string(), own));
    below
}
