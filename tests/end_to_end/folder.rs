//! Folders with jobs and tables, gone when dropped, and the runs made in them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tempfile::TempDir;

use crate::process::{Ended, Process, lockstep, run};

/// A folder in which processes are started: paths in their messages are bare file names.
pub(crate) struct Folder(TempDir);

impl Folder {
    /// Files by name and content.
    pub(crate) fn new(files: &[(&str, &str)]) -> Folder {
        let folder = Folder(tempfile::tempdir().unwrap());
        for (name, content) in files {
            folder.write(name, content);
        }
        folder
    }

    /// `job.toml`, and as `train.csv` the first rows of a parity case's table.
    pub(crate) fn with_table(job: &str, table: &str, rows: usize) -> Folder {
        let text = fs::read_to_string(parity(table).join("train.csv")).unwrap();
        let lines: Vec<&str> = text.lines().take(rows + 1).collect();
        assert_eq!(lines.len(), rows + 1, "{table} has fewer rows");
        Folder::new(&[("job.toml", job), ("train.csv", &lines.join("\n"))])
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn write(&self, name: &str, content: &(impl AsRef<[u8]> + ?Sized)) {
        fs::write(self.path().join(name), content).unwrap();
    }

    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path().join(name)).unwrap()
    }

    /// Runs the program here, to its end.
    pub(crate) fn run(&self, arguments: &[&str]) -> Ended {
        run(lockstep(self.path(), arguments))
    }

    /// Starts the program here.
    pub(crate) fn start(&self, arguments: &[&str]) -> Process {
        Process::start(lockstep(self.path(), arguments))
    }

    /// Starts a coordinator of `job.toml` on a free port, its run folder `run`.
    pub(crate) fn coordinator(&self, arguments: &[&str]) -> Process {
        self.coordinator_with("", arguments)
    }

    /// The same, with these failpoints.
    pub(crate) fn coordinator_with(&self, failpoints: &str, arguments: &[&str]) -> Process {
        let mut all = vec!["--log-format", "json", "coordinator", "job.toml", "--out", "run"];
        all.extend(["--listen", "127.0.0.1:0"]);
        all.extend(arguments);
        let mut command = lockstep(self.path(), &all);
        command.env("FAILPOINTS", failpoints);
        Process::start(command)
    }

    /// Starts a worker of two threads.
    pub(crate) fn worker(&self, address: &str, arguments: &[&str]) -> Process {
        let mut all = vec!["worker", "--coordinator", address, "--threads", "2"];
        all.extend(arguments);
        self.start(&all)
    }

    /// Trains `job.toml` on a local cluster of two workers.
    #[track_caller]
    pub(crate) fn train_into(&self, out: &str) {
        self.run(&["--quiet", "local", "job.toml", "--out", out]).expect(0);
    }

    /// Trains `job.toml` on a local cluster, takes the run folder away and returns the hash of the weights.
    #[track_caller]
    pub(crate) fn train(&self, workers: usize, threads: usize) -> String {
        let (workers, threads) = (workers.to_string(), threads.to_string());
        let arguments =
            ["--quiet", "local", "job.toml", "--workers", &workers, "--threads", &threads];
        self.run(&[&arguments[..], &["--out", "run"]].concat()).expect(0);
        let hash = self.hash();
        fs::remove_dir_all(self.path().join("run")).unwrap();
        hash
    }

    /// That `job.toml` gives these weights, however many workers and threads train it.
    #[track_caller]
    pub(crate) fn expect_one_hash(&self, wanted: &str) {
        for workers in [1, 3, 8] {
            for threads in [1, 2] {
                let hash = self.train(workers, threads);
                assert_eq!(hash, wanted, "{workers} workers of {threads} threads");
            }
        }
    }

    /// The weights of the run in `run`, by tensor.
    pub(crate) fn weights(&self) -> BTreeMap<String, Vec<f32>> {
        let bytes = fs::read(self.path().join("run/model/weights.safetensors")).unwrap();
        let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        let values = |tensor: safetensors::tensor::TensorView<'_>| {
            tensor.data().as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect()
        };
        file.iter().map(|(name, tensor)| (name.to_string(), values(tensor))).collect()
    }

    /// The hash of the weights of the finished run in `run`.
    #[track_caller]
    pub(crate) fn hash(&self) -> String {
        self.hash_of("run")
    }

    /// That of the finished run in this folder.
    #[track_caller]
    pub(crate) fn hash_of(&self, run: &str) -> String {
        let manifest = self.read(&format!("{run}/manifest.json"));
        let manifest: Value = serde_json::from_str(&manifest).unwrap();
        assert_eq!(manifest["status"], "finished");
        manifest["weights_blake3"].as_str().unwrap().to_string()
    }

    /// Every file here with its content.
    pub(crate) fn files(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut files = BTreeMap::new();
        let mut folders = vec![self.path().to_path_buf()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path.clone());
                    files.insert(path, Vec::new());
                } else {
                    files.insert(path.clone(), fs::read(path).unwrap());
                }
            }
        }
        files
    }
}

/// The folder of a parity case.
pub(crate) fn parity(case: &str) -> PathBuf {
    cases().join(case)
}

/// The folder of all parity cases.
pub(crate) fn cases() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/parity")
}

/// A text with one part of it replaced.
#[track_caller]
pub(crate) fn edited(text: &str, from: &str, to: &str) -> String {
    assert_eq!(text.matches(from).count(), 1, "{from:?} is not there once in\n{text}");
    text.replace(from, to)
}

/// The job with clipped gradients in bf16.
pub(crate) fn clipped_bf16(job: &str) -> String {
    edited(job, "[train]\n", "[train]\nprecision = \"bf16\"\ngradient_clip_norm = 0.5\n")
}

/// `metrics.jsonl`, line by line.
pub(crate) fn metrics(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The lines of one kind.
pub(crate) fn of_kind<'a>(lines: &'a [Value], kind: &str) -> Vec<&'a Value> {
    lines.iter().filter(|line| line["kind"] == kind).collect()
}
