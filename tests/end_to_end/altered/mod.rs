//! Run folders in which a file was cut, altered, emptied, or replaced: whoever reads it says so or gets the right result,
//! and never waits for something that does not end.

mod checkpoints;
mod files;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use serde_json::Value;

use crate::failpoints;
use crate::folder::Folder;
use crate::process::Ended;

/// What all cases begin with; made once.
pub(crate) struct Base {
    folder: Folder,
    /// The hash of the weights of the whole run.
    hash: String,
    /// The bytes of its model.
    weights: Vec<u8>,
}

/// `whole` is a finished run, `begun` one that was killed, `other` a finished run of another seed.
pub(crate) fn base() -> &'static Base {
    static BASE: OnceLock<Base> = OnceLock::new();
    BASE.get_or_init(|| {
        let folder = failpoints::folder();
        let keep = |name: &str| fs::rename(at(&folder, "run"), at(&folder, name)).unwrap();
        failpoints::train(&folder, &[], None).expect(0);
        let hash = folder.hash();
        let weights = fs::read(at(&folder, "run/model/weights.safetensors")).unwrap();
        keep("whole");
        let killed = failpoints::train(&folder, &[], Some(("checkpoint:done", 6, "die")));
        killed.expect_with(5, "the coordinator ended early");
        keep("begun");
        let job = folder.read("job.toml");
        folder.write("job.toml", &format!("seed = 9\n{job}"));
        failpoints::train(&folder, &[], None).expect(0);
        keep("other");
        folder.write("job.toml", &job);
        Base { folder, hash, weights }
    })
}

pub(crate) fn at(folder: &Folder, name: &str) -> PathBuf {
    folder.path().join(name)
}

/// A copy of one of the runs, to be altered.
pub(crate) struct Case {
    folder: tempfile::TempDir,
}

impl Case {
    pub(crate) fn of(run: &str) -> Case {
        let folder = tempfile::tempdir().unwrap();
        copy(&at(&base().folder, run), &folder.path().join("run"));
        Case { folder }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join("run").join(name)
    }

    fn run(&self) -> String {
        self.path("").to_str().unwrap().trim_end_matches('/').to_string()
    }

    pub(crate) fn verify(&self) -> Ended {
        base().folder.run(&["verify", &self.run()])
    }

    pub(crate) fn evaluate(&self) -> Ended {
        base().folder.run(&["--quiet", "evaluate", &self.run(), "--data", "train.csv"])
    }

    pub(crate) fn predict(&self) -> Ended {
        base().folder.run(&[
            "--quiet",
            "predict",
            &self.run(),
            "--data",
            "train.csv",
            "--output",
            "-",
        ])
    }

    pub(crate) fn resume(&self) -> Ended {
        let run = self.run();
        base().folder.run(&[
            "local",
            "job.toml",
            "--workers",
            "1",
            "--threads",
            "1",
            "--resume",
            "--out",
            &run,
        ])
    }

    /// That the run is finished, with the weights that it has when nothing happens to it.
    #[track_caller]
    pub(crate) fn is_whole(&self, ended: &Ended) {
        let manifest = fs::read(self.path("manifest.json")).unwrap();
        let manifest: Value = serde_json::from_slice(&manifest).unwrap();
        assert_eq!(manifest["status"], "finished", "{ended}");
        assert_eq!(manifest["weights_blake3"], base().hash, "{ended}");
        let tensors = |bytes: &[u8]| {
            let file = safetensors::SafeTensors::deserialize(bytes).unwrap();
            let mut tensors: Vec<_> =
                file.iter().map(|(name, view)| (name.to_string(), view.data().to_vec())).collect();
            tensors.sort();
            tensors
        };
        let found = fs::read(self.path("model/weights.safetensors")).unwrap();
        assert!(tensors(&found) == tensors(&base().weights), "{ended}");
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy(&entry.path(), &to),
            false => drop(fs::copy(entry.path(), to).unwrap()),
        }
    }
}

/// Makes a file long, without using the disk.
fn lengthen(path: &Path) {
    File::options().append(true).open(path).unwrap().set_len(1 << 36).unwrap();
}
