//! That the README says what the program does: examples run as they are printed, and what is named is there.

use std::path::{Path, PathBuf};

use crate::bad_job::TRAIN;
use crate::folder::Folder;
use crate::process::{Ended, lockstep, run};

/// The least job that there is: every key in it is required, and every section is there to put others in.
pub(crate) const LEAST: &str = r#"
[data]
train = "train.csv"
target = "y"

[model]
loss = "mse"
layers = [{ type = "dense", units = 1 }]

[train]
optimizer = "adam"
epochs = 1
batch_size = 4

[cluster]

[checkpoint]

[journal]
"#;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A document, with each command on one line.
pub(crate) fn document(name: &str) -> String {
    std::fs::read_to_string(root().join(name)).unwrap().replace("\\\n", "")
}

/// The text of every block of a language in a document.
fn blocks(text: &str, language: &str) -> Vec<String> {
    let fence = format!("```{language}\n");
    let blocks = text.split(&fence).skip(1);
    blocks.map(|rest| rest.split("```").next().unwrap().to_string()).collect()
}

/// The one hash of weights that the README prints, however often.
fn hash_in(readme: &str) -> String {
    let lines = readme.lines().filter_map(|line| line.strip_prefix("weights_blake3 "));
    let mut hashes: Vec<&str> = lines.collect();
    hashes.dedup();
    assert_eq!(hashes.len(), 1, "{hashes:?}");
    hashes[0].to_string()
}

/// A command of the README, run where it would be, but for its run folder.
fn run_in_clone(command: &str, out: &Path) -> Ended {
    let words = command.split_whitespace().skip_while(|word| *word != "local");
    let mut arguments: Vec<&str> = words.collect();
    if let Some(at) = arguments.iter().position(|word| *word == "--out") {
        arguments.drain(at..at + 2);
    }
    let out = out.join("run");
    arguments.extend(["--out", out.to_str().unwrap()]);
    run(lockstep(root(), &arguments))
}

#[test]
fn the_quickstart_ends_in_the_printed_hash() {
    let readme = document("README.md");
    let command = readme.lines().find(|line| line.starts_with("cargo run --release -- local"));
    let folder = Folder::new(&[]);
    let ended = run_in_clone(command.unwrap(), folder.path());
    ended.expect(0);
    assert_eq!(folder.hash(), hash_in(&readme), "{ended}");
}

/// The printed command meets faults however fast the machine is, and ends in the quickstart's hash.
#[test]
#[cfg(target_os = "linux")]
fn the_printed_faults_come() {
    let readme = document("README.md");
    let is_chaos = |line: &&str| line.starts_with("cargo run ") && line.contains(" --chaos ");
    let command = readme.lines().find(is_chaos).unwrap();
    let folder = Folder::new(&[]);
    let ended = run_in_clone(command, folder.path());
    ended.expect(0);
    assert_eq!(folder.hash(), hash_in(&readme), "{ended}");
    // What is planned for the first tenth of a second, which no machine trains in.
    for fault in ["chaos: stopped worker process ", "chaos: killed worker process "] {
        assert!(ended.stderr.contains(fault), "no {fault:?} in\n{ended}");
    }
}

#[test]
#[cfg(target_os = "linux")]
fn a_run_too_short_for_its_faults_says_so() {
    let folder = Folder::new(&[("job.toml", LEAST), ("train.csv", TRAIN)]);
    let rates = "3,kill=0.001,stop=0.001,slow=0,coordinator=0.001";
    let ended = folder.run(&["local", "job.toml", "--out", "run", "--chaos", rates]);
    ended.expect_with(0, "the training was over before any fault (the first was due after ");
    ended.expect_with(
        0,
        " s): train longer, or ask for more, such as --chaos 3,kill=600,coordinator=600",
    );
    let none = "3,kill=0,stop=0,slow=0,coordinator=0";
    let ended = folder.run(&["local", "job.toml", "--out", "again", "--chaos", none]);
    ended.expect(0);
    assert!(!ended.stderr.contains("the training was over before"), "{ended}");
}

#[test]
fn the_job_file_example_runs_as_it_is() {
    let readme = document("README.md");
    let jobs: Vec<String> =
        blocks(&readme, "toml").into_iter().filter(|block| block.contains("[data]")).collect();
    assert_eq!(jobs.len(), 1);
    let folder = Folder::new(&[("job.toml", &jobs[0])]);
    for table in ["train.csv", "test.csv"] {
        folder.write(table, &document(&format!("examples/boston/{table}")));
    }
    folder.run(&["check", "job.toml"]).expect(0);
    folder.run(&["--quiet", "local", "job.toml", "--out", "run"]).expect(0);
    folder.hash();
}

/// Every document, by its place in the repository.
fn documents() -> Vec<String> {
    let entries = |folder: &Path| {
        let entries = std::fs::read_dir(folder).unwrap();
        entries.map(|entry| entry.unwrap().path()).collect::<Vec<PathBuf>>()
    };
    let mut folders = vec![root().to_path_buf(), root().join("docs"), root().join("fuzz")];
    folders.extend(entries(&root().join("examples")).into_iter().filter(|path| path.is_dir()));
    let paths = folders.iter().flat_map(|folder| entries(folder));
    let documents =
        paths.filter(|path| path.extension().is_some_and(|extension| extension == "md"));
    documents.map(|path| path.strip_prefix(root()).unwrap().display().to_string()).collect()
}

/// Links inside the documents lead somewhere.
#[test]
fn documents_that_are_named_are_there() {
    let names = documents();
    assert!(names.len() > 15, "{names:?}");
    for name in names {
        // What stands between fences is no text.
        let text: String = document(&name).split("```").step_by(2).collect();
        for link in text.split("](").skip(1) {
            let target = link.split([')', '#']).next().unwrap();
            if target.is_empty() || target.contains("://") {
                continue;
            }
            let path: PathBuf = root().join(&name).parent().unwrap().join(target);
            assert!(path.exists(), "{name} names {target}");
        }
    }
}
