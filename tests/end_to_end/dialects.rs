//! How tables are written: by whatever program, with whatever holes, and files that are no tables at all.

use std::fs::File;
#[cfg(target_os = "linux")]
use std::process::Command;

use crate::folder::Folder;
#[cfg(target_os = "linux")]
use crate::process::{run, through};

fn job(data: &str) -> String {
    format!(
        "[data]\ntrain = \"train.csv\"\n{data}\n[model]\nloss = \"mse\"\nlayers = [{{ type = \"dense\", units = 1 }}]\n\
         [train]\noptimizer = \"sgd\"\nepochs = 1\nbatch_size = 2\n"
    )
}

#[test]
fn evaluate_says_how_many_rows_it_leaves_out() {
    let folder = Folder::new(&[
        ("job.toml", &job("target = \"y\"\nmissing = \"drop\"")),
        ("train.csv", "a,y\n1,2\n2,N/A\n3,4\nNone,1\n0,1\n"),
    ]);
    folder.write("test.csv", "a,y\n1,2\n#N/A,2\n3,-\n");
    folder.train_into("run");
    let evaluated = folder.run(&["evaluate", "run", "--data", "test.csv"]);
    evaluated.expect(0);
    let first = evaluated.stdout.lines().next();
    assert_eq!(first, Some("1 row, and 2 left out for a missing cell"), "{evaluated}");
}

/// What the job says of its files holds for the model's, too.
#[test]
fn a_model_reads_tables_as_its_job_did() {
    let data = "target = \"column3\"\nheader = false\ndelimiter = \"|\"\nquote = \"'\"\nmissing = \"mean\"\n\
                missing_values = [\"-9\"]";
    let folder = Folder::new(&[("job.toml", &job(data))]);
    folder.write("train.csv", "'1'|True|3\n-9|False|5\n3|true|4\n");
    folder.write("test.csv", "2|1\n-9|TRUE\n");
    folder.train_into("run");
    let predicted = folder.run(&["predict", "run", "--data", "test.csv", "--output", "-"]);
    predicted.expect(0);
    let lines: Vec<&str> = predicted.stdout.lines().collect();
    // The mean of 1 and 3 is 2, and true is 1.
    assert_eq!((lines.len(), lines[0], lines[1]), (3, "column3", lines[2]), "{predicted}");
    // The resolved job in the run folder is the same job.
    folder.run(&["verify", "run"]).expect(0);
}

#[test]
fn keys_that_no_file_can_follow_are_refused_with_their_place() {
    for (key, message) in [
        (
            "delimiter = \";;\"",
            "job.toml:4:13: `data.delimiter`: found \";;\", wanted one character",
        ),
        (
            "delimiter = \"\\n\"",
            "job.toml:4:13: `data.delimiter`: found '\\n', wanted one ASCII character",
        ),
        ("quote = \"ab\"", "job.toml:4:9: `data.quote`: found \"ab\", wanted one character"),
        (
            "missing_values = \"x\"",
            "job.toml:4:18: `data.missing_values`: found \"x\", wanted a list",
        ),
        ("header = 1", "job.toml:4:10: `data.header`: found 1, wanted true or false"),
    ] {
        let folder = Folder::new(&[("job.toml", &job(&format!("target = \"y\"\n{key}")))]);
        folder.write("train.csv", "a,y\n1,2\n3,4\n");
        folder.run(&["check", "job.toml"]).expect_with(3, message);
    }
}

/// A file that claims to be more than it holds takes no more memory than what is read of it.
#[cfg(target_os = "linux")]
#[test]
fn what_is_read_sets_what_is_allocated() {
    let limited = |folder: &Folder| {
        let mut command = Command::new("sh");
        // In KiB of address space: a gigabyte for all that a process of many threads reserves and never touches.
        command.args([
            "-c",
            "ulimit -v 1000000; exec \"$0\" \"$@\"",
            env!("CARGO_BIN_EXE_lockstep"),
        ]);
        run(through(command, folder.path(), &["check", "job.toml"]))
    };
    let folder = Folder::new(&[("job.toml", &job("target = \"y\""))]);
    let header = File::create(folder.path().join("train.csv")).unwrap();
    header.set_len(1 << 30).unwrap();
    limited(&folder).expect_with(3, "found an IDX file");
    folder.write("train.csv", "a,y");
    File::options()
        .write(true)
        .open(folder.path().join("train.csv"))
        .unwrap()
        .set_len(1 << 30)
        .unwrap();
    limited(&folder).expect_with(3, "train.csv: found zero bytes in the first line");
    folder.write("train.csv", &"a".repeat(17 << 20));
    limited(&folder).expect_with(3, "train.csv: found no end of the first line in 16 MiB");
    folder.write("train.csv", "a,y\n1,2\n3,");
    File::options()
        .write(true)
        .open(folder.path().join("train.csv"))
        .unwrap()
        .set_len(1 << 26)
        .unwrap();
    limited(&folder).expect_with(3, "train.csv:3: found no end of the row in 16 MiB");
    // Labels for as many images as there are not.
    let job = job("").replace("\"train.csv\"", "{ images = \"i\", labels = \"l\" }");
    folder.write("job.toml", &job);
    let file = |name: &str, header: &[u8], len: u64| {
        folder.write(name, header);
        File::options().write(true).open(folder.path().join(name)).unwrap().set_len(len).unwrap();
    };
    file("i", &[0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 1], 18);
    file("l", &[0, 0, 8, 1, 0xff, 0xff, 0xff, 0xff], (1 << 32) + 7);
    limited(&folder)
        .expect_with(3, "l: found 4294967295 labels, wanted one for each of the 2 images");
    file("i", &[0, 0, 8, 3, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 1, 0, 0, 0, 1], (1 << 32) + 15);
    limited(&folder).expect_with(3, "i: found 4294967295 images, wanted at most 2147483647");
}
