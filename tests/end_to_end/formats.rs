//! One table in every form that it may have on disk, from the job to predictions: one model.

use std::fs;
use std::io::{Cursor, Write as _};
use std::sync::Arc;

use parquet::data_type::{ByteArray, ByteArrayType, DoubleType};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use zip::write::{SimpleFileOptions, ZipWriter};

use crate::folder::Folder;
use crate::npy::{doubles, npy};
use crate::process::{lockstep, run};

/// A classification with holes, a part of the rows kept for validation.
const JOB: &str = r#"seed = 5
[data]
train = "TRAIN"
test = { fraction = 0.1 }
validation = { fraction = 0.2 }
target = "class"
scale = "standard"
missing = "median"
[model]
loss = "cross_entropy"
metrics = ["accuracy"]
layers = [{ type = "dense", units = 3, activation = "softmax" }]
[train]
optimizer = "adam"
epochs = 3
batch_size = 16
"#;

type Row = (f64, f64, &'static str);

fn rows() -> Vec<Row> {
    let row = |row: u32| {
        let a = if row % 11 == 3 { f64::NAN } else { f64::from(row * 37 % 101) / 7.0 };
        (a, 1e9 + f64::from(row * 53 % 97), ["10", "9", "nine"][(row * row % 7 % 3) as usize])
    };
    (0..200).map(row).collect()
}

fn text(rows: &[Row], delimiter: &str) -> Vec<u8> {
    let mut text = format!("# three columns\n{}\n", ["a", "b", "class"].join(delimiter));
    for (a, b, class) in rows {
        let a = if a.is_nan() { String::new() } else { a.to_string() };
        text += &format!("{}\n", [&a, &b.to_string(), *class].join(delimiter));
    }
    text.into_bytes()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    packed.write_all(bytes).unwrap();
    packed.finish().unwrap()
}

fn parquet(rows: &[Row]) -> Vec<u8> {
    let fields = "optional double a; required double b; required binary class (STRING);";
    let schema = Arc::new(parse_message_type(&format!("message t {{ {fields} }}")).unwrap());
    let mut file = SerializedFileWriter::new(Vec::new(), schema, Default::default()).unwrap();
    for rows in rows.chunks(33) {
        let mut group = file.next_row_group().unwrap();
        let mut column = group.next_column().unwrap().unwrap();
        let present: Vec<f64> = rows.iter().map(|row| row.0).filter(|a| !a.is_nan()).collect();
        let levels: Vec<i16> = rows.iter().map(|row| (!row.0.is_nan()).into()).collect();
        column.typed::<DoubleType>().write_batch(&present, Some(&levels), None).unwrap();
        column.close().unwrap();
        let mut column = group.next_column().unwrap().unwrap();
        let numbers: Vec<f64> = rows.iter().map(|row| row.1).collect();
        column.typed::<DoubleType>().write_batch(&numbers, None, None).unwrap();
        column.close().unwrap();
        let mut column = group.next_column().unwrap().unwrap();
        let texts: Vec<ByteArray> = rows.iter().map(|row| row.2.into()).collect();
        column.typed::<ByteArrayType>().write_batch(&texts, None, None).unwrap();
        column.close().unwrap();
        group.close().unwrap();
    }
    file.into_inner().unwrap()
}

fn npz(rows: &[Row]) -> Vec<u8> {
    let shape = format!("({},)", rows.len());
    let characters =
        |row: &Row| row.2.chars().chain("\0\0\0\0".chars()).take(4).collect::<Vec<_>>();
    let class: Vec<u8> =
        rows.iter().flat_map(characters).flat_map(|c| (c as u32).to_le_bytes()).collect();
    let mut file = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, array) in [
        ("a.npy", npy("'<f8'", &shape, &doubles(rows.iter().map(|row| row.0)))),
        ("b.npy", npy("'<f8'", &shape, &doubles(rows.iter().map(|row| row.1)))),
        ("class.npy", npy("'<U4'", &shape, &class)),
    ] {
        file.start_file(name, SimpleFileOptions::default()).unwrap();
        file.write_all(&array).unwrap();
    }
    file.finish().unwrap().into_inner()
}

fn folder() -> Folder {
    let rows = rows();
    let folder = Folder::new(&[]);
    folder.write("t.csv", &text(&rows, ","));
    folder.write("t.csv.gz", &gzip(&text(&rows, ",")));
    folder.write("t.tsv.zst", &zstd::encode_all(&text(&rows, "\t")[..], 3).unwrap());
    folder.write("t.npz", &npz(&rows));
    folder.write("t.parquet", &parquet(&rows));
    for parts in ["parts", "days"] {
        fs::create_dir(folder.path().join(parts)).unwrap();
    }
    folder.write("parts/_SUCCESS", b"");
    for (part, rows) in rows.chunks(70).enumerate() {
        folder.write(&format!("parts/{part}.csv"), &text(rows, ";"));
        folder.write(&format!("days/{part}.parquet"), &parquet(rows));
    }
    folder
}

fn job(train: &str) -> String {
    let told = format!("{train}\"\ncomment = \"#");
    JOB.replace("TRAIN", &told)
}

#[test]
fn one_model_from_every_form() {
    let folder = folder();
    folder.write("job.toml", job("t.csv").as_bytes());
    let hash = folder.train(1, 1);
    for train in ["t.csv.gz", "t.tsv.zst", "t.npz", "t.parquet", "parts", "days/*.parquet"] {
        folder.write("job.toml", job(train).as_bytes());
        assert_eq!(folder.train(1, 1), hash, "{train}");
    }
    for (workers, threads) in [(3, 2), (8, 1)] {
        assert_eq!(folder.train(workers, threads), hash, "{workers} workers");
    }
    folder.train_into("run");
    folder.run(&["verify", "run"]).expect(0);
    let used = |arguments: &[&str]| {
        let ended = folder.run(arguments);
        ended.expect(0);
        ended.stdout
    };
    let loss = |data: &str| {
        let told = used(&["evaluate", "run", "--data", data]);
        told.lines().find(|line| line.starts_with("loss ")).map(str::to_owned).expect("a loss")
    };
    let predicted = |data: &str| used(&["predict", "run", "--data", data, "--output", "-"]);
    for data in ["t.csv.gz", "t.tsv.zst", "t.npz", "t.parquet", "parts", "days/*.parquet"] {
        assert_eq!(loss(data), loss("t.csv"), "{data}");
        assert_eq!(predicted(data), predicted("t.csv"), "{data}");
    }
    // No part of a table is written over, whatever was asked for.
    for (data, part) in [("parts", "parts/1.csv"), ("days/*.parquet", "days/1.parquet")] {
        let over = ["predict", "run", "--data", data, "--force", "--output", part];
        folder.run(&over).expect_with(3, "it is the table that is read");
    }
}

#[test]
fn the_place_of_an_error_names_the_part() {
    let folder = folder();
    folder.write("parts/1.csv", b"a,class,b\n1,9,2\n1,10,x\n");
    folder.write("job.toml", job("parts").as_bytes());
    let ended = folder.run(&["check", "job.toml"]);
    ended.expect_with(3, "parts/1.csv:3: column 3 (b): found \"x\" on line 3 of 1.csv");
    folder.write("job.toml", job("parts\"\nformat = \"xlsx").as_bytes());
    let ended = folder.run(&["check", "job.toml"]);
    ended.expect_with(3, "found \"xlsx\", wanted one of csv, tsv, idx, npy, npz, parquet");
}

/// One table of predictions, whatever it was read from, with however many threads, and whatever it is written to.
#[test]
fn predictions_are_one_table_in_every_format() {
    let folder = folder();
    folder.write("job.toml", job("t.csv").as_bytes());
    folder.train_into("run");
    let keep = ["predict", "run", "--keep", "b", "--data"];
    let mut wanted = None;
    for (data, threads) in [("t.csv", "1"), ("t.csv", "3"), ("parts", "2"), ("t.tsv.zst", "2")] {
        let mut command = lockstep(folder.path(), &[&keep[..], &[data]].concat());
        command.env("RAYON_NUM_THREADS", threads);
        let ended = run(command);
        ended.expect(0);
        assert!(ended.stdout.starts_with("b,class,class_9,class_10,class_nine\n"), "{ended}");
        assert_eq!(&ended.stdout, wanted.get_or_insert(ended.stdout.clone()), "{data} {threads}");
    }
    let wanted = wanted.unwrap_or_default();
    let outputs = ["p.csv", "p.csv.gz", "p.tsv.zst", "p.parquet", "p.npy"];
    for output in outputs {
        let data =
            if output == "p.npy" { ["t.csv", "--output"] } else { ["t.parquet", "--output"] };
        let keep = if output == "p.npy" { &["predict", "run", "--data"][..] } else { &keep[..] };
        folder.run(&[keep, &data, &[output]].concat()).expect_with(0, "200 predictions in p.");
    }
    assert_eq!(folder.read("p.csv").lines().count(), wanted.lines().count());
    for (arguments, code, message) in [
        (&["--data", "t.csv", "--keep", "class"][..], 2, "--keep class: the predictions have"),
        (&["--data", "t.csv", "--keep", "b,b"], 2, "--keep b: found it twice"),
        (&["--data", "t.csv", "--keep", "c"], 3, "found no column \"c\", wanted by `--keep`"),
        (&["--data", "t.csv", "--output", "q.npz"], 3, "its name is that of an NPZ file"),
        (&["--data", "t.csv", "--keep", "b", "--output", "q.npy"], 3, "holds texts of any length"),
        (&["--data", "parts", "--output", "parts/q.csv"], 3, "one more part of the table"),
        (&["--data", "days/*.parquet", "--output", "days/q.parquet"], 3, "one more part"),
    ] {
        let before = folder.files();
        folder.run(&[&["predict", "run"], arguments].concat()).expect_with(code, message);
        assert_eq!(folder.files(), before, "{arguments:?}");
    }
    fs::remove_dir_all(folder.path().join("run")).unwrap();
    // Each file that is written is a table that can be read again, with the same cells.
    let other = JOB.replace("\"class\"", "\"class_9\"").replace("cross_entropy", "mse");
    let other = other.replace(", activation = \"softmax\"", "").replace("units = 3", "units = 1");
    let other = other.replace("metrics = [\"accuracy\"]", "");
    let mut hashes = Vec::new();
    for output in outputs {
        // Unscaled: the shortest text of an `f32` is rounded to it again.
        let job = other.replace("TRAIN", output);
        let features = "features = [\"class_10\", \"class_nine\"]";
        folder.write("job.toml", job.replace("scale = \"standard\"", features).as_bytes());
        hashes.push(folder.train(1, 1));
    }
    assert!(hashes.iter().all(|hash| *hash == hashes[0]), "{hashes:?}");
}

/// A table on standard input, plain or compressed, through a pipe or from a file.
#[test]
#[cfg(unix)]
fn a_table_may_come_on_standard_input() {
    let folder = folder();
    folder.write("job.toml", job("t.csv").as_bytes());
    folder.train_into("run");
    let wanted = folder.run(&["predict", "run", "--data", "t.csv"]);
    wanted.expect(0);
    let program = env!("CARGO_BIN_EXE_lockstep");
    let shell = |line: &str| {
        let mut command = std::process::Command::new("sh");
        command.arg("-c").arg(line.replace("PREDICT", &format!("{program} predict run --data")));
        command.current_dir(folder.path());
        run(command)
    };
    for line in ["PREDICT - < t.csv", "cat t.csv | PREDICT -", "cat t.csv.gz | PREDICT -"] {
        let ended = shell(line);
        ended.expect(0);
        assert_eq!(ended.stdout, wanted.stdout, "{line}");
    }
    let before = folder.files();
    shell("PREDICT - --force --output t.csv < t.csv")
        .expect_with(3, "it is the table that is read");
    shell("PREDICT t.csv >> t.csv").expect_with(3, "standard output: it is the table");
    shell("printf 'a,b\\n1,x\\n' | PREDICT -").expect_with(3, "standard input:2: column 2 (b)");
    // Whoever has seen enough ends it, and that is no error.
    let ended = shell("(PREDICT t.csv; echo ended with $? >&2) | head -n 1");
    ended.expect_with(0, "ended with 0");
    assert_eq!(ended.stdout.lines().count(), 1);
    assert_eq!(folder.files(), before);
}
