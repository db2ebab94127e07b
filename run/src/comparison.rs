//! What the jobs of several runs differ in, key by key. Knows no key by name: the job files of run folders have every one.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

use lockstep_status::value::KeyDifference;
use toml::de::DeValue;

use crate::error::{Error, Result};
use crate::job_keys::{Leaf, each_key};
use crate::run_folder::read_job;

/// Most characters of a value that are kept.
const VALUE_CHARS_MAX: usize = 200;

/// The keys that are not the same in the jobs of all these run folders, in order of their names.
///
/// # Errors
/// If a folder has no job, or one that is no TOML.
pub fn differences(runs: &[impl AsRef<Path>]) -> Result<Vec<KeyDifference>> {
    let jobs = runs.iter().map(|run| {
        let run = run.as_ref();
        let problem = |problem| Error::File { path: run.join("job.toml"), problem };
        keys(&read_job(run)?).map_err(problem)
    });
    Ok(between(&jobs.collect::<Result<Vec<_>>>()?))
}

/// Keys and values of a job, as they are written.
type Keys = BTreeMap<String, String>;

fn between(jobs: &[Keys]) -> Vec<KeyDifference> {
    let mut names: Vec<&String> = jobs.iter().flat_map(BTreeMap::keys).collect();
    names.sort_unstable();
    names.dedup();
    let of = |key: &String| {
        let values: Vec<Option<String>> = jobs.iter().map(|job| job.get(key).cloned()).collect();
        let differ = values.iter().any(|value| *value != values[0]);
        differ.then(|| KeyDifference { key: key.clone(), values })
    };
    names.into_iter().filter_map(of).collect()
}

/// The keys of a document and what is written there; lists are values, but for those of tables.
fn keys(text: &str) -> std::result::Result<Keys, String> {
    let has_tables =
        |all: &[Leaf<'_>]| all.iter().any(|one| matches!(one.get_ref(), DeValue::Table(_)));
    let mut keys = Keys::new();
    each_key(text, has_tables, |name, value| drop(keys.insert(name, written(text, value.span()))))?;
    Ok(keys)
}

fn written(text: &str, span: Range<usize>) -> String {
    let value = text.get(span).unwrap_or_default().trim();
    match value.char_indices().nth(VALUE_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &value[..end]),
        None => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const JOB: &str = r#"
name = "one"
[data]
features = ["a", "b"]
[model]
layers = [{ type = "dense", units = 8 }, { type = "dense", units = 1 }]
[train]
optimizer = { type = "adam", learning_rate = 0.001 }
batch_size = 32
"#;

    fn compared(jobs: &[&str]) -> Vec<(String, Vec<Option<String>>)> {
        let jobs: Vec<Keys> = jobs.iter().map(|job| keys(job).unwrap()).collect();
        between(&jobs).into_iter().map(|found| (found.key, found.values)).collect()
    }

    #[test]
    fn jobs_differ_in_single_keys() {
        assert_eq!(compared(&[JOB, JOB]), []);
        let other = JOB.replace("units = 8", "units = 16").replace("0.001", "0.01");
        let other = other.replace("batch_size = 32\n", "") + "epochs = 3\n";
        let some = |value: &str| Some(value.to_string());
        let wanted = [
            ("model.layers.0.units", [some("8"), some("16")]),
            ("train.batch_size", [some("32"), None]),
            ("train.epochs", [None, some("3")]),
            ("train.optimizer.learning_rate", [some("0.001"), some("0.01")]),
        ];
        let wanted = wanted.map(|(key, values)| (key.to_string(), values.to_vec()));
        assert_eq!(compared(&[JOB, &other]), wanted);
        let listed = JOB.replace("\"b\"", "\"c\"");
        assert_eq!(compared(&[JOB, JOB, &listed])[0].1[2], some("[\"a\", \"c\"]"));
    }

    #[test]
    fn a_long_value_is_cut_and_what_is_no_toml_is_an_error() {
        let job = format!("x = \"{}\"", "ä".repeat(1000));
        assert_eq!(keys(&job).unwrap()["x"].chars().count(), VALUE_CHARS_MAX + 1);
        assert!(keys("x = ").is_err());
    }
}
