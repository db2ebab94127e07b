//! Every file of a run folder, altered in every way, read by every command.

use std::fs;
use std::path::Path;

use super::{Case, at, base, lengthen};
use crate::failpoints::each;
use crate::process::Ended;

const JOB: &str = "job.toml";
const MANIFEST: &str = "manifest.json";
const METRICS: &str = "metrics.jsonl";
const JOURNAL: &str = "journal.jsonl";
const DESCRIPTION: &str = "model/model.json";
const WEIGHTS: &str = "model/weights.safetensors";
const CHECKPOINT: &str = "checkpoints/step-000000000036.safetensors";
const LOCK: &str = "lock";

#[derive(Clone, Copy, Debug, PartialEq)]
enum Command {
    Evaluate,
    Predict,
    Verify,
    Resume,
}

use Command::*;

/// Each file, with the run in which it is altered and who reads it then.
const READERS: [(&str, &str, &[Command]); 14] = [
    ("whole", MANIFEST, &[Evaluate, Verify, Resume]),
    ("whole", JOURNAL, &[Verify]),
    ("whole", JOB, &[Verify]),
    ("whole", DESCRIPTION, &[Predict, Verify]),
    ("whole", WEIGHTS, &[Evaluate, Predict, Verify, Resume]),
    ("begun", MANIFEST, &[Predict, Resume]),
    ("begun", WEIGHTS, &[Evaluate, Verify, Resume]),
    ("begun", DESCRIPTION, &[Evaluate, Resume]),
    ("begun", JOB, &[Resume]),
    ("begun", JOURNAL, &[Verify, Resume]),
    ("begun", METRICS, &[Resume]),
    ("begun", CHECKPOINT, &[Verify, Resume]),
    ("begun", LOCK, &[Resume]),
    ("other", MANIFEST, &[Evaluate]),
];

/// What happens to a file.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Alteration {
    Cut(f64),
    /// One bit, at this part of its length.
    Flipped(f64),
    Emptied,
    Removed,
    /// By that of another run.
    Swapped,
    Folder,
    /// By a link to a device that never ends.
    Endless,
    /// By a pipe that nobody writes to.
    Pipe,
    Long,
    Noise,
}

use Alteration::*;

const ALTERATIONS: [Alteration; 16] = [
    Cut(0.1),
    Cut(0.5),
    Cut(0.99),
    Flipped(0.0),
    Flipped(0.2),
    Flipped(0.4),
    Flipped(0.6),
    Flipped(0.8),
    Emptied,
    Removed,
    Swapped,
    Folder,
    Endless,
    Pipe,
    Long,
    Noise,
];

impl Alteration {
    fn apply(self, case: &Case, file: &str) {
        let path = case.path(file);
        let bytes = fs::read(&path).unwrap();
        let place = |part: f64| ((bytes.len() as f64 * part) as usize).min(bytes.len() - 1);
        let write = |bytes: &[u8]| fs::write(&path, bytes).unwrap();
        let remove = || fs::remove_file(&path).unwrap();
        match self {
            Cut(part) => write(&bytes[..place(part)]),
            Flipped(part) => {
                let mut bytes = bytes.clone();
                bytes[place(part)] ^= 1;
                write(&bytes);
            }
            Emptied => write(b""),
            Removed => remove(),
            Swapped => {
                remove();
                let other = at(&base().folder, "other").join(file);
                let other = if other.exists() { other } else { any_checkpoint() };
                fs::copy(other, &path).unwrap();
            }
            Folder => {
                remove();
                fs::create_dir(&path).unwrap();
            }
            Endless => {
                remove();
                std::os::unix::fs::symlink("/dev/zero", &path).unwrap();
            }
            Pipe => {
                remove();
                assert!(
                    std::process::Command::new("mkfifo").arg(&path).status().unwrap().success()
                );
            }
            Long => lengthen(&path),
            Noise => {
                write(&(0..bytes.len().max(100)).map(|i| (i * 167 % 251) as u8).collect::<Vec<_>>())
            }
        }
    }
}

/// One of another run.
fn any_checkpoint() -> std::path::PathBuf {
    let folder = at(&base().folder, "other").join("checkpoints");
    fs::read_dir(folder).unwrap().next().unwrap().unwrap().path()
}

/// What a command does with a run as it should be.
struct Truth {
    evaluated: String,
    predicted: String,
}

fn truth(run: &str) -> Truth {
    let case = Case::of(run);
    let (evaluated, predicted) = (case.evaluate(), case.predict());
    evaluated.expect(0);
    predicted.expect(0);
    Truth { evaluated: evaluated.stdout, predicted: predicted.stdout }
}

/// That a command refused the file, by its name, or did as if nothing had happened.
fn check(run: &str, file: &str, alteration: Alteration, command: Command, truth: &Truth) {
    let what = format!("{command:?}: {file} of {run}, {alteration:?}");
    let case = Case::of(run);
    alteration.apply(&case, file);
    let ended = command.run(&case);
    match ended.code() {
        Some(0) => {
            let is_right = match command {
                Evaluate => ended.stdout == truth.evaluated,
                Predict => ended.stdout == truth.predicted,
                Verify => ended.stdout.contains(" agree ") && !is_claim(run, file, alteration),
                Resume => {
                    case.is_whole(&ended);
                    true
                }
            };
            assert!(is_right, "{what}: a wrong result\n{ended}");
        }
        Some(code @ (3 | 8)) => {
            ended.expect(code);
            let path = Path::new(file);
            // A step that differs names who says otherwise; a job's altered path names what is not there.
            let name = if code == 8 { path.file_stem() } else { path.file_name() };
            let name = name.unwrap().to_str().unwrap();
            let is_named =
                ended.stderr.contains(name) || file == JOB && ended.stderr.contains("train");
            assert!(is_named, "{what}: it does not name {name}\n{ended}");
        }
        _ => panic!("{what}\n{ended}"),
    }
}

impl Command {
    fn run(self, case: &Case) -> Ended {
        match self {
            Evaluate => case.evaluate(),
            Predict => case.predict(),
            Verify => case.verify(),
            Resume => case.resume(),
        }
    }
}

/// Whether a verified run must not be found good.
fn is_claim(run: &str, file: &str, alteration: Alteration) -> bool {
    match (file, alteration) {
        // What stands before the values says more than is needed.
        (WEIGHTS, Flipped(part)) => part > 0.9,
        // A run that was killed may have none yet.
        (WEIGHTS, Removed) => run == "whole",
        (WEIGHTS, _) => true,
        // A bit of the name of a worker changes no claim.
        (MANIFEST | JOURNAL, Flipped(_)) => false,
        // A run that was killed may have got further than its newest checkpoint, or not.
        (JOURNAL, Cut(part)) => run == "whole" || part < 0.9,
        (DESCRIPTION, Swapped) => false,
        (MANIFEST | JOURNAL | DESCRIPTION, _) => true,
        _ => false,
    }
}

fn check_all(cases: &[(&str, &str, Alteration, Command)]) {
    let truths = ["whole", "begun", "other"].map(|run| (run, truth(run)));
    each(cases, |&(run, file, alteration, command)| {
        let (_, truth) = truths.iter().find(|(of, _)| *of == run).unwrap();
        check(run, file, alteration, command, truth);
    });
}

#[test]
fn every_file_in_every_way() {
    let mut cases = Vec::new();
    for (run, file, commands) in READERS {
        for alteration in ALTERATIONS {
            // A lock says nothing that can be altered.
            if file != LOCK || !matches!(alteration, Cut(_) | Flipped(_)) {
                cases.extend(commands.iter().map(|&command| (run, file, alteration, command)));
            }
        }
    }
    check_all(&cases);
}

/// A bit here and there, the same every time.
#[test]
fn one_bit_anywhere() {
    let mut state = 12_345_u64;
    let mut next = || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 11) as f64 / (1_u64 << 53) as f64
    };
    let cases: Vec<_> = (0..48)
        .map(|i| {
            let (run, file, commands) = READERS[i % READERS.len()];
            let command = commands[i / READERS.len() % commands.len()];
            (run, file, Flipped(next()), command)
        })
        .collect();
    check_all(&cases);
}

/// Whoever uses a model needs nothing but it and the manifest.
#[test]
fn what_is_not_read_does_not_matter() {
    let truth = truth("begun");
    let case = Case::of("begun");
    for file in [JOB, METRICS, JOURNAL, CHECKPOINT, LOCK] {
        Noise.apply(&case, file);
    }
    assert_eq!(case.evaluate().stdout, truth.evaluated);
    assert_eq!(case.predict().stdout, truth.predicted);
}

/// What each of the commonest cases says.
#[test]
fn messages() {
    for (run, file, alteration, command, code, message) in [
        ("whole", WEIGHTS, Flipped(0.99), Evaluate, 3, "damaged: the hash of its weights is "),
        ("whole", WEIGHTS, Flipped(0.99), Predict, 3, "damaged: the hash of its weights is "),
        ("whole", WEIGHTS, Flipped(0.99), Verify, 3, "damaged: the hash of its weights is "),
        ("whole", WEIGHTS, Swapped, Evaluate, 3, "of another run than manifest.json there"),
        ("whole", WEIGHTS, Swapped, Verify, 3, "of another run than manifest.json there"),
        ("whole", DESCRIPTION, Swapped, Predict, 0, ""),
        ("whole", MANIFEST, Swapped, Predict, 3, "of another run than manifest.json there"),
        ("whole", MANIFEST, Flipped(0.6), Verify, 3, "manifest.json: "),
        ("whole", JOURNAL, Emptied, Verify, 3, "journal.jsonl: 8 of the 8 lines are missing"),
        ("begun", JOURNAL, Emptied, Verify, 3, "is in the journal: it is empty"),
        (
            "begun",
            JOB,
            Swapped,
            Verify,
            3,
            "job.toml: altered since the run began, or of another run",
        ),
        (
            "begun",
            JOB,
            Swapped,
            Resume,
            0,
            "job.toml: altered since the run began, or of another run",
        ),
        ("begun", JOB, Emptied, Resume, 0, "; it is rewritten from the given job"),
        ("begun", CHECKPOINT, Swapped, Resume, 0, "is skipped: it is of run points-"),
        ("begun", LOCK, Folder, Resume, 3, "lock: cannot open the lock: "),
        (
            "begun",
            METRICS,
            Flipped(0.2),
            Resume,
            0,
            "metrics.jsonl: lines of earlier steps are not those that the run wrote; training continues",
        ),
        ("begun", METRICS, Endless, Resume, 3, "metrics.jsonl: it is no ordinary file: remove it"),
    ] {
        let case = Case::of(run);
        alteration.apply(&case, file);
        let ended = command.run(&case);
        ended.expect_with(code, message);
    }
}
