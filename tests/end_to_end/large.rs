//! Sizes at which something in the arithmetic of shapes could give way.

use std::fmt::Write as _;

use crate::folder::Folder;

/// Rows of one node: more than 2^18.
const ROWS: usize = 300_000;

fn folder(shards: u32) -> Folder {
    let job = format!(
        r#"
name = "large"
[data]
train = "train.csv"
target = "y"
[model]
loss = "mse"
layers = [{{ type = "dense", units = 3, activation = "relu" }}, {{ type = "dense", units = 1 }}]
[train]
optimizer = "adam"
epochs = 2
batch_size = {ROWS}
shards = {shards}
"#
    );
    let mut table = "x,y\n".to_string();
    for row in 0..ROWS {
        let x = row % 101;
        writeln!(table, "{x},{}", x % 7).unwrap();
    }
    Folder::new(&[("job.toml", &job), ("train.csv", &table)])
}

/// On any number of workers and threads, as ever.
#[test]
fn a_batch_of_very_many_rows() {
    for shards in [1, 2] {
        let folder = folder(shards);
        let hash = folder.train(1, 1);
        assert_eq!(folder.train(2, 2), hash);
    }
}
