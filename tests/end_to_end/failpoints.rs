//! A run that dies, or whose disk is full, between any two steps of writing its folder: it goes on to the same weights
//! and the same records.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::folder::Folder;
use crate::process::{Ended, lockstep, run};
use crate::resume::records;

/// 60 steps, nine checkpoints and the last one's at the end.
const JOB: &str = r#"
name = "points"
[data]
train = "train.csv"
target = "y"
test = { fraction = 0.1 }
[model]
loss = "mse"
layers = [{ type = "dense", units = 3, activation = "tanh" }, { type = "dense", units = 1 }]
[train]
optimizer = "adam"
epochs = 4
batch_size = 3
shards = 2
[checkpoint]
every_steps = 6
keep = 2
"#;

/// How often the model's weights are written: with nine checkpoints, and at the end.
const WEIGHTS_WRITTEN: usize = 10;

/// Each file, by the times that it is written in a run, with what a place in it is good for.
const FILES: [(&str, &[usize]); 5] = [
    ("job.toml", &[1]),
    // At the beginning and at the end.
    ("manifest.json", &[1, 2]),
    ("checkpoint", &[1, 4]),
    // With the first checkpoint, and at the end.
    ("weights.safetensors", &[1, WEIGHTS_WRITTEN]),
    ("model.json", &[1]),
];

/// What is next: making the temporary file, its second half, fsync, rename, fsync of the folder, what follows.
const PLACES: [&str; 6] = ["create", "half", "written", "synced", "renamed", "done"];

/// Places outside the writing of a file.
const OTHERS: [(&str, usize); 5] = [
    ("folder:made", 1),
    ("folder:model", 1),
    ("folder:locked", 1),
    ("checkpoint:pruned", 1),
    ("checkpoint:pruned", 3),
];

/// Whether a full disk there costs a checkpoint or the model as it is then, not the run.
fn is_in_training(place: &str, time: usize) -> bool {
    let is_model = place.starts_with("weights") || place.starts_with("model");
    place.starts_with("checkpoint:") || is_model && time == 1
}

/// Every place, and at which of the times that it is reached.
fn points() -> Vec<(String, usize)> {
    let files = FILES.iter().flat_map(|(file, times)| {
        let places = PLACES.iter().map(move |place| format!("{file}:{place}"));
        places.flat_map(|place| times.iter().map(move |&time| (place.clone(), time)))
    });
    let others = OTHERS.iter().map(|&(place, time)| (place.to_string(), time));
    files.chain(others).collect()
}

pub(crate) fn folder() -> Folder {
    Folder::with_table(JOB, "boston-relu-adam-mse", 50)
}

/// Trains on one worker; `what` happens at a place the n-th time.
pub(crate) fn train(
    folder: &Folder,
    arguments: &[&str],
    point: Option<(&str, usize, &str)>,
) -> Ended {
    let points = point.map_or(String::new(), |(place, time, what)| {
        format!("{place}={}*off->1*return({what})->off", time - 1)
    });
    train_with(folder, arguments, &points)
}

/// The same, with failure points as they are written.
fn train_with(folder: &Folder, arguments: &[&str], points: &str) -> Ended {
    let all = ["local", "job.toml", "--workers", "1", "--threads", "1", "--out", "run"];
    let mut command = lockstep(folder.path(), &[&all[..], arguments].concat());
    // However slow the disk is, no checkpoint is left out.
    command.env("FAILPOINTS", format!("checkpoint:handed=return(full);{points}"));
    run(command)
}

fn undisturbed() -> (String, Vec<String>) {
    let folder = folder();
    train(&folder, &[], None).expect(0);
    (folder.hash(), records(&folder))
}

/// For runs that faults are to meet: a pass takes a millisecond at least, however fast the machine is.
pub(crate) const SLOW: &str = "pass=sleep(1)";

/// Does something with every item, three at a time: most of it is waiting for processes.
pub(crate) fn each<T: Sync>(items: &[T], check: impl Fn(&T) + Sync) {
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed)) {
                    check(item);
                }
            });
        }
    });
}

#[test]
fn a_run_that_dies_anywhere_goes_on() {
    let whole = undisturbed();
    each(&points(), |(place, time)| {
        let folder = folder();
        let died = train(&folder, &[], Some((place, *time, "die")));
        died.expect_with(5, "the coordinator ended early (signal: 9 (SIGKILL))");
        train(&folder, &["--resume"], None).expect(0);
        assert_eq!((folder.hash(), records(&folder)), whole, "{place}, time {time}\n{died}");
    });
}

/// A checkpoint that cannot be written costs nothing but itself.
#[test]
fn a_full_disk_during_the_training_is_a_warning() {
    let whole = undisturbed();
    let points: Vec<_> =
        points().into_iter().filter(|(place, time)| is_in_training(place, *time)).collect();
    assert!(points.len() > 3 * PLACES.len());
    each(&points, |(place, time)| {
        let folder = folder();
        let ended = train(&folder, &[], Some((place, *time, "full")));
        let problem = if place == "checkpoint:pruned" {
            "warning: cannot remove an old checkpoint: "
        } else if !place.starts_with("checkpoint:") {
            "warning: cannot write the model of step 6: "
        } else if *time == 4 || place.ends_with(":renamed") || place.ends_with(":done") {
            // An older one gives way, or what is there of it.
            "warning: no room for the checkpoint of step "
        } else {
            "warning: cannot write a checkpoint: "
        };
        ended.expect_with(0, problem);
        ended.expect_with(0, "No space left on device");
        assert_eq!((folder.hash(), records(&folder)), whole, "{place}, time {time}");
        let left: Vec<_> = folder.files().into_keys().collect();
        let count =
            |end: &str| left.iter().filter(|path| path.to_str().unwrap().ends_with(end)).count();
        assert_eq!(count(".partial"), 0, "{place}: {left:?}");
        // Later ones were written, and the model.
        assert_eq!(count(".safetensors"), 2 + 1, "{place}: {left:?}");
        assert_eq!(count("000060.safetensors"), 1, "{place}: {left:?}");
    });
}

/// What cannot be done without: the folder at the beginning, and the result at the end, which is not lost.
#[test]
fn a_full_disk_at_the_beginning_or_the_end_is_an_error() {
    let whole = undisturbed();
    let points: Vec<_> =
        points().into_iter().filter(|(place, time)| !is_in_training(place, *time)).collect();
    each(&points, |(place, time)| {
        let folder = folder();
        let ended = train(&folder, &[], Some((place, *time, "full")));
        ended.expect_with(3, ": No space left on device");
        let at_the_end = *time > 1;
        let told = ended.stderr.contains("the training is done, but its result is not saved");
        assert_eq!(told, at_the_end, "{place}, time {time}\n{ended}");
        assert_eq!(ended.stderr.matches("error: ").count(), 1, "{ended}");
        let again = train(&folder, &["--resume"], None);
        again.expect(0);
        let finished = again.stderr.contains("the run is already finished");
        // Only the sync of the folder was missing.
        assert!(
            !finished || at_the_end && (place.ends_with(":renamed") || place.ends_with(":done"))
        );
        let gone_on = again.stderr.contains("continuing after step 60");
        assert_eq!(gone_on, at_the_end && !finished, "{place}, time {time}\n{again}");
        assert_eq!((folder.hash(), records(&folder)), whole, "{place}, time {time}");
    });
}

/// Lines that cannot be written: the training goes on, what waits is limited, and what could not be written is said.
#[test]
fn a_disk_that_takes_no_lines() {
    let whole = undisturbed();
    let points = ["metrics.jsonl:line", "journal.jsonl:line"];
    each(&points, |point| {
        let folder = folder();
        let file = point.split(':').next().unwrap();
        // For a moment: nothing is missing.
        let ended = train(&folder, &[], Some((point, 1, "full")));
        let problem = format!("warning: {file}: cannot write it (No space left on device)");
        ended.expect_with(0, &problem);
        assert!(!ended.stderr.contains("missing"), "{ended}");
        assert_eq!((folder.hash(), records(&folder)), whole, "{point}");
        std::fs::remove_dir_all(folder.path().join("run")).unwrap();
        // For good.
        let ended = train_with(&folder, &[], &format!("{point}=return(full)"));
        ended.expect_with(0, &problem);
        let lines = if file.starts_with("metrics") { 60 + 3 + 4 + 1 } else { 6 + 4 - 2 };
        ended.expect_with(0, &format!("warning: {file}: {lines} lines are missing in it"));
        assert_eq!(folder.read(&format!("run/{file}")), "");
        assert_eq!(folder.hash(), whole.0, "{point}");
    });
}

/// A run that goes on from a checkpoint of such a time has each line once, and those of later steps all.
#[test]
fn a_run_whose_disk_takes_lines_again_goes_on() {
    let whole = undisturbed();
    let folder = folder();
    let points = "metrics.jsonl:line=return(full);manifest.json:create=1*off->1*return(die)->off";
    train_with(&folder, &[], points).expect_with(5, "the coordinator ended early");
    std::fs::remove_file(folder.path().join("run/checkpoints/step-000000000060.safetensors"))
        .unwrap();
    train(&folder, &["--resume"], None).expect_with(0, "continuing after step 54");
    assert_eq!(folder.hash(), whole.0);
    let found = records(&folder);
    assert_eq!(found, whole.1[whole.1.len() - found.len()..]);
    assert_eq!(found.len(), 6 + 1 + 1 + 1);
}

/// Something that is no file where records should be is not read: that might never end.
#[test]
fn records_that_are_no_file() {
    for name in ["metrics.jsonl", "journal.jsonl"] {
        let folder = folder();
        train(&folder, &[], Some(("manifest.json:create", 2, "die")))
            .expect_with(5, "the coordinator ended early");
        let path = folder.path().join("run").join(name);
        std::fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink("/dev/full", &path).unwrap();
        let ended = train(&folder, &["--resume"], None);
        ended.expect_with(3, &format!("{name}: it is no ordinary file: remove it"));
    }
}
