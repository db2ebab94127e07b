//! What grows with the job still fits into messages, or is refused before anything starts.

use std::fmt::Write as _;

use crate::folder::Folder;

/// A table of one feature and so many targets.
fn table(rows: usize, targets: usize) -> String {
    let names: Vec<_> = (0..targets).map(|target| format!("y{target}")).collect();
    let mut text = format!("x,{}\n", names.join(","));
    for row in 0..rows {
        let _ = write!(text, "{}", row % 7);
        (0..targets).for_each(|target| text.push_str([",1", ",2"][(row + target) % 2]));
        text.push('\n');
    }
    text
}

fn job(targets: usize, shards: u32) -> String {
    let names: Vec<_> = (0..targets).map(|target| format!("\"y{target}\"")).collect();
    format!(
        "[data]\ntrain = \"train.csv\"\nvalidation = \"long.csv\"\ntest = \"long.csv\"\ntarget = [{}]\n\
         [model]\nloss = \"mse\"\nmetrics = [\"r2\", \"mae\"]\nlayers = [{{ type = \"dense\", units = {targets} }}]\n\
         [train]\noptimizer = \"sgd\"\nepochs = 1\nbatch_size = 64\nshards = {shards}\n",
        names.join(", ")
    )
}

/// Over 4096 shards the sums of 60 outputs are 6 MB.
#[test]
fn sums_of_thousands_of_shards_and_many_outputs() {
    let (train, long, job) = (table(64, 60), table(4200, 60), job(60, 4096));
    let files = [("train.csv", &train[..]), ("long.csv", &long[..]), ("job.toml", &job[..])];
    let hashes = [1, 2].map(|workers| {
        let folder = Folder::new(&files);
        folder.train(workers, 1)
    });
    assert_eq!(hashes[0], hashes[1]);
}

#[test]
fn sums_that_fit_into_no_message_are_refused() {
    let (train, job) = (table(64, 100_000), job(100_000, 2));
    let files = [("train.csv", &train[..]), ("long.csv", &train[..]), ("job.toml", &job[..])];
    let folder = Folder::new(&files);
    let wanted = "loss and metrics of 100000 outputs are 400002 sums, wanted at most 262144: leave out `r2`, which has 300000 of them";
    for command in [&["check", "job.toml"][..], &["local", "job.toml", "--workers", "1"]] {
        folder.run(command).expect_with(3, wanted);
    }
}
