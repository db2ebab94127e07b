use lockstep_coordinator::Optimizer;
use lockstep_proto::batches::Batches;

use std::fs;

use super::newest::files_of;
use super::*;
use crate::whole_file::PARTIAL;

/// One batch an epoch, of 10 rows.
fn expected() -> Expected {
    Expected {
        origin: Origin { run_id: "run".to_string(), tensors: vec![("w".to_string(), vec![3])] },
        weights: 3,
        trained: 3,
        optimizer: Optimizer::Adam { beta_1: 0.9, beta_2: 0.99, epsilon: 1e-7, weight_decay: None },
        batches: Batches { rows: 10, shards: 2, batch_size: 10 },
        epochs: 1000,
        has_validation: false,
        early_stopping: None,
        plateau: None,
        steps_per_update: 1,
        averages: false,
        sums_len: 1,
    }
}

fn checkpoint(step: u64) -> Checkpoint {
    let records = RecordState { rows: step * 10, epoch: step as u32, ..Default::default() };
    let snapshot = Snapshot {
        pass: Pass(step),
        step: Step(step),
        weights: vec![1.0, -0.0, 3.5e-42],
        moments: vec![vec![0.5; 3], vec![0.25; 3]],
        average: None,
        accumulated: None,
        plateau: None,
        watch: None,
        best_weights: None,
    };
    Checkpoint { snapshot, records }
}

fn write(kept: &mut Kept, step: u64) {
    kept.write(&checkpoint(step), &|warning| panic!("{warning}")).unwrap();
    kept.prune().unwrap();
}

fn steps(run: &Path) -> Vec<u64> {
    files(run).unwrap().iter().map(|(step, _)| step.0).collect()
}

#[test]
fn the_newest_whole_one_is_read_and_old_ones_go() {
    let run = tempfile::tempdir().unwrap();
    let mut kept = Kept::new(run.path(), expected().origin, 3, 0);
    for step in [5, 9, 10, 200] {
        fs::create_dir_all(run.path().join("checkpoints")).unwrap();
        fs::write(run.path().join("checkpoints/step-000000000001.partial"), "half").unwrap();
        write(&mut kept, step);
    }
    assert_eq!(steps(run.path()), [9, 10, 200]);
    assert_eq!(files_of(run.path(), PARTIAL).unwrap(), []);
    let expected = expected();
    let until = |step| {
        let mut warn = |warning| panic!("{warning}");
        let found = newest_until(run.path(), Step(step), &expected, &mut warn);
        found.unwrap().map(|found| found.snapshot.step.0)
    };
    assert_eq!([8, 9, 199, 200].map(until), [None, Some(9), Some(10), Some(200)]);
    let mut warnings = Vec::new();
    let mut newest =
        || newest(run.path(), &expected, &mut |warning| warnings.push(warning)).unwrap();
    assert_eq!(newest(), Some(checkpoint(200)));
    let files = files(run.path()).unwrap();
    let bytes = fs::read(&files[2].1).unwrap();
    fs::write(&files[2].1, &bytes[..bytes.len() - 1]).unwrap();
    assert_eq!(newest(), Some(checkpoint(10)));
    let mut bytes = fs::read(&files[1].1).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(&files[1].1, &bytes).unwrap();
    assert_eq!(newest(), Some(checkpoint(9)));
    fs::write(&files[0].1, b"").unwrap();
    assert_eq!(newest(), None);
    assert!(warnings[0].contains("cut short") && warnings[1].contains("step-000000000200"));
    assert!(warnings[2].contains("checksum"), "{warnings:?}");
}

/// A run went on from step 10 because that of step 20 is damaged.
#[test]
fn what_was_passed_over_goes_and_what_was_just_written_stays() {
    for keep in [1, 2] {
        for next in [12, 20, 30] {
            let run = tempfile::tempdir().unwrap();
            let mut kept = Kept::new(run.path(), expected().origin, 9, 0);
            [5, 10, 20].into_iter().for_each(|step| write(&mut kept, step));
            fs::write(run.path().join("checkpoints/step-000000000020.safetensors"), "").unwrap();
            let mut kept = Kept::new(run.path(), expected().origin, keep, 10);
            write(&mut kept, next);
            let wanted = [10, next];
            assert_eq!(steps(run.path()), wanted[2 - keep..], "keep {keep}, next {next}");
            let found = newest(run.path(), &expected(), &mut |warning| panic!("{warning}"));
            assert_eq!(found.unwrap(), Some(checkpoint(next)));
        }
    }
}

#[test]
fn one_of_another_run_or_under_another_name_is_passed_over() {
    let run = tempfile::tempdir().unwrap();
    let mut kept = Kept::new(run.path(), expected().origin, 9, 0);
    [5, 10].into_iter().for_each(|step| write(&mut kept, step));
    let other = Origin { run_id: "other".to_string(), ..expected().origin };
    write(&mut Kept::new(run.path(), other, 9, 10), 30);
    let path = |step: u64| run.path().join(format!("checkpoints/step-{step:012}.safetensors"));
    fs::rename(path(5), path(20)).unwrap();
    let mut warnings = Vec::new();
    let found = newest(run.path(), &expected(), &mut |warning| warnings.push(warning)).unwrap();
    assert_eq!(found, Some(checkpoint(10)));
    assert!(warnings[0].ends_with("it is of run other, this is run"), "{warnings:?}");
    assert!(warnings[1].ends_with("its name says step 20, it holds step 5"), "{warnings:?}");
}

#[test]
fn one_of_a_later_format_is_not_passed_over() {
    let run = tempfile::tempdir().unwrap();
    write(&mut Kept::new(run.path(), expected().origin, 3, 0), 5);
    // A later program may lay out everything else as it likes.
    let (position, zero) = (format!("{{\"format\":{}}}", FORMAT + 1), [0; 8]);
    let view = TensorView::new(Dtype::F64, vec![1], &zero).unwrap();
    let metadata = HashMap::from([(POSITION.to_string(), position)]);
    let bytes = safetensors::serialize([("values", view)], Some(metadata)).unwrap();
    let path = run.path().join("checkpoints/step-000000000009.safetensors");
    fs::write(&path, bytes).unwrap();
    let error = newest(run.path(), &expected(), &mut |warning| panic!("{warning}")).unwrap_err();
    assert_eq!(error.exit_code(), 3);
    let error = error.to_string();
    assert!(error.contains("step-000000000009.safetensors: written in format 2"), "{error}");
    assert!(error.contains("reads up to 1: use a newer lockstep"), "{error}");
}

#[test]
fn a_folder_without_checkpoints_has_none() {
    let run = tempfile::tempdir().unwrap();
    let none = newest(run.path(), &expected(), &mut |_| panic!("nothing to warn of"));
    assert_eq!(none.unwrap(), None);
}
