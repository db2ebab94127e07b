//! Columns by their names, any number of which may be the same. Says which columns a name has. Where a format says no more of
//! two of a name, it is an error as everywhere.

use std::collections::HashMap;
use std::path::Path;

use crate::error::{DataError, quote};

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

    /// The column of a name; `path` and `rename`, what to do about two of them, are for the error.
    ///
    /// # Errors
    /// If two have it.
    pub(super) fn find(
        &self,
        name: &str,
        path: &Path,
        rename: &str,
    ) -> Result<Option<usize>, DataError> {
        match self.get(name) {
            Some((_, Some(_))) => {
                let problem = format!("two columns are named {}; {rename}", quote(name.as_bytes()));
                Err(DataError::table(path, problem))
            }
            found => Ok(found.map(|(column, _)| column)),
        }
    }

    /// The first column of a name, if any has it, and the second, if two have.
    pub(super) fn get(&self, name: &str) -> Option<(usize, Option<usize>)> {
        self.0.get(name).copied()
    }
}
