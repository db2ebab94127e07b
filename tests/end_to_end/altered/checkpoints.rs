//! Checkpoints that a sound run did not write, checksum and all; which are kept, and what a full disk costs.

use std::collections::HashMap;
use std::fs;

use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView, serialize};
use serde_json::{Value, json};

use super::{Case, base};
use crate::failpoints::{each, folder, train};
use crate::folder::{Folder, edited};

const NEWEST: &str = "checkpoints/step-000000000036.safetensors";

/// A checkpoint's parts.
struct Parts {
    position: Value,
    /// The weights, then the moments.
    vectors: Vec<Vec<f32>>,
}

type Change = fn(&mut Parts);

/// Changes a checkpoint, and makes its checksum right again.
fn forge(case: &Case, change: Change) {
    let path = case.path(NEWEST);
    let bytes = fs::read(&path).unwrap();
    let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
    let position = &header.metadata().as_ref().unwrap()["lockstep"];
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let vector = |name: &str| {
        let view = file.tensor(name).ok()?;
        let values =
            view.data().chunks(4).map(|value| f32::from_le_bytes(value.try_into().unwrap()));
        Some(values.collect::<Vec<f32>>())
    };
    let moments = (0..).map_while(|i| vector(&format!("moments.{i}")));
    let mut parts = Parts {
        position: serde_json::from_str(position).unwrap(),
        vectors: std::iter::once(vector("weights").unwrap()).chain(moments).collect(),
    };
    change(&mut parts);
    let position = parts.position.to_string();
    let frames: Vec<Vec<u8>> = parts
        .vectors
        .iter()
        .map(|values| values.iter().flat_map(|value| value.to_le_bytes()).collect())
        .collect();
    let mut hasher = blake3::Hasher::new();
    hasher.update(position.as_bytes());
    for frame in &frames {
        hasher.update(&(frame.len() as u64).to_le_bytes());
        hasher.update(frame);
    }
    let checksum = hasher.finalize().to_hex().to_string();
    let name = |i: usize| if i == 0 { "weights".into() } else { format!("moments.{}", i - 1) };
    let views = frames.iter().enumerate().map(|(i, frame)| {
        (name(i), TensorView::new(Dtype::F32, vec![frame.len() / 4], frame).unwrap())
    });
    let metadata = HashMap::from([("lockstep".into(), position), ("blake3".into(), checksum)]);
    fs::write(path, serialize(views, Some(metadata)).unwrap()).unwrap();
}

/// Step 36 of 60; 15 an epoch of 45 rows.
#[test]
fn one_that_does_not_hold_together_is_passed_over() {
    let cases: Vec<(Change, &str)> = vec![
        (|parts| parts.position["step"] = json!(35), "it says pass 36 and step 35"),
        (|parts| parts.position["pass"] = json!(37), "it says pass 37 and step 36"),
        (|parts| parts.position["pass"] = json!(4_000_000_000_u64), "the job ends with pass 60"),
        (|parts| parts.position["records"]["epoch"] = json!(2), "it says epoch 2, 18 rows in it"),
        (|parts| parts.position["records"]["rows"] = json!(1), "1 in all, wanted epoch 3, 18 rows"),
        (|parts| parts.position["records"]["epoch_rows"] = json!(0), "0 rows in it"),
        (
            |parts| parts.position["records"]["epoch_sums"] = json!([]),
            "its sums or its seconds are none",
        ),
        (
            |parts| parts.position["records"]["seconds"] = json!(-1.0),
            "its sums or its seconds are none",
        ),
        (
            |parts| parts.position["origin"]["run_id"] = json!("x"),
            "it is of run x, this is points-",
        ),
        (|parts| parts.position["origin"]["tensors"][0][1] = json!([3, 13]), "of another network"),
        (|parts| parts.position = json!({"format": 1}), "not a checkpoint of this version"),
        (|parts| parts.vectors[0][5] = f32::NAN, "value 5 of its weights is NaN"),
        (|parts| parts.vectors[1][0] = f32::INFINITY, "value 0 of its moments.0 is inf"),
        (|parts| parts.vectors[2][7] = -1e-9, "value 7 of its moments.1 is -0.000000001"),
        (|parts| parts.vectors.truncate(2), "it has no tensor moments.1"),
        (|parts| parts.vectors.push(vec![0.0; 46]), "its tensor moments.2 is none"),
        (|parts| parts.vectors[0].truncate(45), "its tensor weights is F32 [45], wanted F32 [46]"),
    ];
    each(&cases, |(change, message)| {
        let case = Case::of("begun");
        forge(&case, *change);
        let ended = case.resume();
        ended.expect_with(0, &format!("{} is skipped: ", "step-000000000036.safetensors"));
        ended.expect_with(0, message);
        ended.expect_with(0, "continuing after step 30\n");
        case.is_whole(&ended);
    });
    let case = Case::of("begun");
    forge(&case, |_| {});
    let ended = case.resume();
    ended.expect_with(0, "continuing after step 36\n");
    case.is_whole(&ended);
}

fn steps(folder: &Folder) -> Vec<u64> {
    let entries = fs::read_dir(folder.path().join("run/checkpoints")).unwrap();
    let mut steps: Vec<u64> = entries
        .map(|entry| {
            let name = entry.unwrap().file_name().into_string().unwrap();
            name["step-".len()..].split('.').next().unwrap().parse().unwrap()
        })
        .collect();
    steps.sort_unstable();
    steps
}

/// The newest is damaged, and only one is kept: what is written next stays, and the damaged one goes.
#[test]
fn good_ones_are_not_given_up_for_a_damaged_one() {
    let folder = folder();
    train(&folder, &[], Some(("checkpoint:done", 6, "die"))).expect(5);
    let job = folder.read("job.toml");
    folder.write(
        "job.toml",
        &edited(&job, "keep = 2", "keep = 1").replace("every_steps = 6", "every_steps = 2"),
    );
    assert_eq!(steps(&folder), [24, 30, 36]);
    fs::write(folder.path().join("run").join(NEWEST), "no checkpoint").unwrap();
    let died = train(&folder, &["--resume"], Some(("checkpoint:create", 2, "die")));
    died.expect_with(5, "continuing after step 30\n");
    assert_eq!(steps(&folder), [32]);
    let ended = train(&folder, &["--resume"], None);
    ended.expect_with(0, "continuing after step 32\n");
    assert_eq!(folder.hash(), base().hash);
    assert_eq!(steps(&folder), [60]);
}

/// On a disk that stays full, old checkpoints make room, but never the last.
#[test]
fn a_full_disk_costs_old_checkpoints_before_new_ones() {
    let folder = folder();
    let ended = train(&folder, &[], Some(("checkpoint:half", 4, "full")));
    ended.expect_with(
        0,
        "warning: no room for the checkpoint of step 24 (No space left on device): removed ",
    );
    ended.expect_with(0, "step-000000000012.safetensors\n");
    assert!(!ended.stderr.contains("cannot write a checkpoint"), "{ended}");
    assert_eq!((folder.hash(), steps(&folder)), (base().hash.clone(), vec![54, 60]));
}

/// The lock's file is deleted: the folder is locked all the same.
#[test]
fn a_deleted_lock_lets_nobody_in() {
    let folder = folder();
    let coordinator = folder.coordinator(&[]);
    coordinator.address();
    fs::remove_file(folder.path().join("run/lock")).unwrap();
    let resume = ["coordinator", "job.toml", "--out", "run", "--listen", "127.0.0.1:0", "--resume"];
    folder
        .run(&resume)
        .expect_with(3, "error: run: the run folder is in use by another process: stop that first");
}
