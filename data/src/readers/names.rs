//! Columns by their names, any number of which may be the same. Says which columns a name has; whether that is an error,
//! and in which words, is the format's to say.

use std::collections::HashMap;

/// The first column of each name, and the second where there is one.
#[derive(Debug)]
pub(super) struct NamedColumns(HashMap<String, (usize, Option<usize>)>);

impl NamedColumns {
    /// Of these columns and their names, in file order.
    pub(super) fn new<'a>(columns: impl Iterator<Item = (usize, &'a String)>) -> NamedColumns {
        let mut places: HashMap<String, (usize, Option<usize>)> = HashMap::new();
        for (column, name) in columns {
            match places.get_mut(name) {
                Some((_, second)) => *second = second.or(Some(column)),
                None => drop(places.insert(name.clone(), (column, None))),
            }
        }
        NamedColumns(places)
    }

    /// The first column of a name, if any has it, and the second, if two have.
    pub(super) fn get(&self, name: &str) -> Option<(usize, Option<usize>)> {
        self.0.get(name).copied()
    }
}
