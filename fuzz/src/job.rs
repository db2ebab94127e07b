//! Job files and `--set`: a job that is accepted is within its limits, and the same job once it is resolved.

use std::path::Path;

use lockstep_proto::tree::SHARDS_MAX;
use lockstep_run::job::{Job, Setting, to_toml};

use crate::budget::Budget;

/// A network of 2^32 parameters has a layout of 2^16 chunks; a parsed file is a tree.
const BUDGET: Budget = Budget { fixed: 16 << 20, per_byte: 1024 };

/// Lines of an input that begin so are settings of the command line. For TOML they are comments.
const SETTING: &str = "#set ";

/// Steps at which the learning rate is asked for.
const STEPS: [u64; 6] = [0, 1, 10, 1000, u32::MAX as u64, 1 << 62];

/// Reads a job file.
pub fn check(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    BUDGET.hold(text.len(), || {
        let settings = text.lines().filter_map(|line| line.strip_prefix(SETTING)?.parse().ok());
        let settings: Vec<Setting> = settings.collect();
        let at = Path::new("/jobs/job.toml");
        if let Ok(job) = Job::parse(at, text.to_owned(), &settings) {
            check_limits(&job);
            check_resolved(at, &job);
        }
    });
}

fn check_limits(job: &Job) {
    let train = &job.train;
    assert!((1..=SHARDS_MAX).contains(&train.shards));
    assert!(train.epochs > 0 && train.batch_size > 0);
    assert!(train.gradient_clip_norm.is_none_or(|norm| norm.is_finite() && norm > 0.0));
    assert!(job.checkpoint.keep > 0 && job.journal.every_steps > 0);
    assert!(!job.name.is_empty() && !job.name.contains(['/', '\0']) && !job.name.starts_with('.'));
    let network = job.network_unread().expect("a job's layers make a network");
    job.check_messages(&network).expect("what is accepted fits into a message");
    for step in STEPS {
        let rate = train.descent.learning_rate.after(step);
        assert!(rate >= 0.0, "a rate of {rate} after {step} steps");
    }
    // Whatever the table, the answer is one.
    let targets = ["y".to_owned()];
    for rows in [1, 100, u32::MAX.into()] {
        let _ = job.check_against(rows, &targets);
    }
}

fn check_resolved(at: &Path, job: &Job) {
    let resolved = to_toml(job);
    let again = Job::parse(at, resolved.clone(), &[])
        .unwrap_or_else(|error| panic!("{error}: a resolved job is a job:\n{resolved}"));
    assert_eq!(to_toml(&again), resolved);
    assert_eq!((&again.name, again.seed), (&job.name, job.seed));
    assert_eq!(again.data, job.data);
    assert_eq!(again.model, job.model);
    assert_eq!(again.train, job.train);
    assert_eq!(again.cluster, job.cluster);
    assert_eq!(again.checkpoint, job.checkpoint);
    assert_eq!(again.journal, job.journal);
}
