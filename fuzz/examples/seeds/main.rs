//! Writes the seeds of every target into `corpus/`: small files as the program writes and reads them. Run it again when a
//! format gains something new; it removes nothing.
//!
//! `cargo run --manifest-path fuzz/Cargo.toml --example seeds`

mod frames;
mod packed;
mod runs;
mod tables;

use std::fs;
use std::path::Path;

fn main() {
    frames::from_worker();
    frames::from_peer();
    frames::to_worker();
    tables::csv();
    tables::idx();
    tables::npy();
    packed::npz();
    packed::parquet();
    runs::jobs();
    runs::models();
    runs::weights();
    runs::checkpoints();
    runs::journals();
    runs::manifests();
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Writes seeds of a target, numbered.
fn write(target: &str, seeds: impl IntoIterator<Item = Vec<u8>>) {
    let folder = root().join("corpus").join(target);
    fs::create_dir_all(&folder).expect("a writable folder");
    for (number, seed) in seeds.into_iter().enumerate() {
        fs::write(folder.join(format!("seed-{number:02}")), seed).expect("a writable folder");
    }
}

fn below(choices: &str, file: impl AsRef<[u8]>) -> Vec<u8> {
    [choices.as_bytes(), b"\n", file.as_ref()].concat()
}
