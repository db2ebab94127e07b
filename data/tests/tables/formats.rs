//! One table in every form that it may have on disk: the same rows, bit for bit. What is wrong with a file is told once,
//! with its place.

use std::fs;
use std::io::{Cursor, Write as _};
use std::sync::Arc;

use lockstep_data::{Dialect, Missing, TableFile, TableSpec, TargetKind};
use parquet::basic::Compression;
use parquet::data_type::{ByteArray, ByteArrayType, DoubleType, Int64Type};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use zip::write::{SimpleFileOptions, ZipWriter};

use crate::npy::{NUMBERS, files, floats, gzip, npy};
use crate::{Files, load, strings};

const THREE_CLASSES: TargetKind = TargetKind::Classes { outputs: 3 };

/// A float with holes, a whole number, and a class in no order.
pub(crate) type Row = (Option<f64>, i64, &'static str);

pub(crate) fn rows() -> Vec<Row> {
    let row = |row: i64| {
        let a = (row % 11 != 3).then_some((row * 37 % 101) as f64 / 7.0);
        (a, 1_700_000_000 + row * 53 % 97, ["10", "9", "nine"][(row * row % 7 % 3) as usize])
    };
    (0..150).map(row).collect()
}

pub(crate) fn text(rows: &[Row], delimiter: char) -> Vec<u8> {
    let mut text = ["a", "b", "class\n"].join(&delimiter.to_string());
    for (a, b, class) in rows {
        let a = a.map(|a| a.to_string()).unwrap_or_default();
        text += &format!("{a}{delimiter}{b}{delimiter}{class}\n");
    }
    text.into_bytes()
}

/// A column of these numbers that are all there.
fn parquet_numbers(numbers: &[f64], dictionary: bool, compression: Compression) -> Vec<u8> {
    let message = "message t { required double a; required double y; }";
    let schema = Arc::new(parse_message_type(message).expect("it is one"));
    let properties = WriterProperties::builder()
        .set_compression(compression)
        .set_dictionary_enabled(dictionary)
        .set_data_page_row_count_limit(numbers.len())
        .build();
    let mut file = SerializedFileWriter::new(Vec::new(), schema, Arc::new(properties))
        .expect("memory is writable");
    let mut group = file.next_row_group().expect("memory is writable");
    while let Some(mut column) = group.next_column().expect("memory is writable") {
        column.typed::<DoubleType>().write_batch(numbers, None, None).expect("memory is writable");
        column.close().expect("memory is writable");
    }
    group.close().expect("memory is writable");
    file.into_inner().expect("memory is writable")
}

/// The bytes with the first of some replaced.
fn altered(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let at = bytes.windows(from.len()).position(|found| found == from).expect("they are there");
    [&bytes[..at], to, &bytes[at + from.len()..]].concat()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 1).expect("memory is writable")
}

const MESSAGE: &str =
    "message t { optional double a; required int64 b; required binary class (STRING); }";

/// Row groups of so many rows.
pub(crate) fn parquet(rows: &[Row], group: usize, compression: Compression) -> Vec<u8> {
    let schema = Arc::new(parse_message_type(MESSAGE).expect("memory is writable"));
    let properties = Arc::new(WriterProperties::builder().set_compression(compression).build());
    let mut file =
        SerializedFileWriter::new(Vec::new(), schema, properties).expect("memory is writable");
    for rows in rows.chunks(group) {
        let mut group = file.next_row_group().expect("memory is writable");
        let mut column =
            group.next_column().expect("memory is writable").expect("memory is writable");
        let present: Vec<f64> = rows.iter().filter_map(|row| row.0).collect();
        let levels: Vec<i16> = rows.iter().map(|row| row.0.is_some().into()).collect();
        column
            .typed::<DoubleType>()
            .write_batch(&present, Some(&levels), None)
            .expect("memory is writable");
        column.close().expect("memory is writable");
        let mut column =
            group.next_column().expect("memory is writable").expect("memory is writable");
        let whole: Vec<i64> = rows.iter().map(|row| row.1).collect();
        column.typed::<Int64Type>().write_batch(&whole, None, None).expect("memory is writable");
        column.close().expect("memory is writable");
        let mut column =
            group.next_column().expect("memory is writable").expect("memory is writable");
        let texts: Vec<ByteArray> = rows.iter().map(|row| row.2.into()).collect();
        column
            .typed::<ByteArrayType>()
            .write_batch(&texts, None, None)
            .expect("memory is writable");
        column.close().expect("memory is writable");
        group.close().expect("memory is writable");
    }
    file.into_inner().expect("memory is writable")
}

pub(crate) fn zipped(arrays: &[(&str, Vec<u8>)], method: zip::CompressionMethod) -> Vec<u8> {
    let mut file = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in arrays {
        let options = SimpleFileOptions::default().compression_method(method);
        file.start_file(*name, options).expect("memory is writable");
        file.write_all(bytes).expect("memory is writable");
    }
    file.finish().expect("memory is writable").into_inner()
}

fn utf32(texts: &[&str], length: usize) -> Vec<u8> {
    let characters =
        texts.iter().flat_map(|text| text.chars().chain(std::iter::repeat('\0')).take(length));
    characters.flat_map(|c| (c as u32).to_le_bytes()).collect()
}

pub(crate) fn npz(rows: &[Row], method: zip::CompressionMethod) -> Vec<u8> {
    let shape = format!("({},)", rows.len());
    let a: Vec<f64> = rows.iter().map(|row| row.0.unwrap_or(f64::NAN)).collect();
    let b: Vec<u8> = rows.iter().flat_map(|row| row.1.to_be_bytes()).collect();
    let class = utf32(&rows.iter().map(|row| row.2).collect::<Vec<_>>(), 4);
    let arrays = [
        ("a.npy", floats(&shape, &a)),
        ("version.npy", npy("'<i8'", "False", "()", &[0; 8])),
        ("b.npy", npy("'>i8'", "False", &shape, &b)),
        ("class.npy", npy("'<U4'", "False", &shape, &class)),
    ];
    zipped(&arrays, method)
}

pub(crate) fn spec(files: &Files, train: &str) -> TableSpec {
    TableSpec { target: strings(&["class"]), missing: Missing::Mean, ..files.spec(train) }
}

#[test]
fn one_table_in_every_form_has_the_same_rows() {
    let rows = rows();
    let (stored, deflated) = (zip::CompressionMethod::Stored, zip::CompressionMethod::Deflated);
    let csv = text(&rows, ',');
    let files = files(&[
        ("t.csv", csv.clone()),
        ("t.csv.gz", gzip(&csv)),
        ("packed", zstd(&csv)),
        ("t.tsv", text(&rows, '\t')),
        ("t.tsv.zst", zstd(&text(&rows, '\t'))),
        ("t.npz", npz(&rows, stored)),
        ("c.npz", npz(&rows, deflated)),
        ("c.npz.gz", gzip(&npz(&rows, deflated))),
        ("t.parquet", parquet(&rows, 1000, Compression::SNAPPY)),
        ("g.parquet", parquet(&rows, 7, Compression::ZSTD(Default::default()))),
        ("z.parquet", parquet(&rows, 64, Compression::GZIP(Default::default()))),
        ("g.parquet.gz", gzip(&parquet(&rows, 7, Compression::UNCOMPRESSED))),
        ("told", parquet(&rows, 50, Compression::UNCOMPRESSED)),
    ]);
    for (folder, ending) in
        [("csvs", "csv"), ("packs", "csv.gz"), ("pqs", "parquet"), ("npzs", "npz")]
    {
        fs::create_dir(files.path(folder)).unwrap();
        fs::write(files.path(&format!("{folder}/_SUCCESS")), "").unwrap();
        fs::write(files.path(&format!("{folder}/.part.crc")), "x").unwrap();
        for (part, rows) in rows.chunks(40).enumerate() {
            let bytes = match ending {
                "csv" => text(rows, ','),
                "csv.gz" => gzip(&text(rows, ';')),
                "npz" => npz(rows, deflated),
                _ => parquet(rows, 30, Compression::SNAPPY),
            };
            fs::write(files.path(&format!("{folder}/part-{part}.{ending}")), bytes).unwrap();
        }
    }
    let told = |name: &str, format| TableFile::at(files.path(name)).in_format(format).unwrap();
    let at = |name: &str| TableFile::at(files.path(name));
    let wanted = load(&spec(&files, "t.csv"), THREE_CLASSES, 3).unwrap();
    for train in [
        at("t.csv.gz"),
        at("packed"),
        at("t.tsv"),
        at("t.tsv.zst"),
        told("t.csv", "csv"),
        at("t.npz"),
        at("c.npz"),
        at("c.npz.gz"),
        at("t.parquet"),
        at("g.parquet"),
        at("z.parquet"),
        at("g.parquet.gz"),
        told("told", "parquet"),
        TableFile::guess(files.path("told"), None),
        at("csvs"),
        at("packs"),
        at("pqs"),
        at("npzs"),
        at("csvs/part-*.csv"),
        at("p?s/*[0-9].parquet"),
    ] {
        let name = format!("{train:?}");
        let found = load(&TableSpec { train, ..spec(&files, "") }, THREE_CLASSES, 3).expect(&name);
        assert_eq!(found.train, wanted.train, "{name}");
    }
}

#[test]
fn lines_of_comments_are_left_out() {
    let table = "# made by hand\n#\"\na,b,class\n1,2,x\n# 3,4,y\n,6,y\n\n#\n7,8,\"z\n#z\"\n";
    let files =
        files(&[("t.csv", table.into()), ("bad.csv", format!("{table}#\nno,1,x\n").into())]);
    let dialect = Dialect { comment: Some('#'), ..Dialect::default() };
    let spec = |name| TableSpec { dialect: dialect.clone(), ..spec(&files, name) };
    let found = load(&spec("t.csv"), THREE_CLASSES, 1).unwrap();
    assert_eq!(found.train.len(), 3);
    let error = load(&spec("bad.csv"), THREE_CLASSES, 1).unwrap_err();
    assert!(files.message(&error).starts_with("bad.csv:12: column 1 (a): found \"no\""), "{error}");
}

#[test]
fn comments_end_where_lines_do() {
    let dialect = Dialect { comment: Some('#'), ..Dialect::default() };
    let table = "# made by hand\n#\"\na,b,class\n1,2,x\n# 3,4,y\n5,6,y\n\n#\n7,8,\"z#\"\n#\"";
    let read = |content: String| {
        let files = files(&[("t.csv", content.into())]);
        load(&TableSpec { dialect: dialect.clone(), ..spec(&files, "t.csv") }, THREE_CLASSES, 1)
            .map(|found| found.train)
            .map_err(|error| files.message(&error))
    };
    let wanted = read(table.to_owned()).unwrap();
    assert_eq!(wanted.len(), 3);
    for end in ["\r", "\r\n"] {
        assert_eq!(read(table.replace('\n', end)), Ok(wanted.clone()), "{end:?}");
        let bad = table.replace("5,6", "no,6").replace('\n', end);
        let error = read(bad).unwrap_err();
        assert!(error.starts_with("t.csv:6: column 1 (a): found \"no\""), "{error}");
    }
}

#[test]
fn a_matrix_has_columns_by_its_name_or_as_they_are_named() {
    let x = floats("(3, 2)", &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    let y = floats("(3,)", &[7.0, 8.0, 9.0]);
    let columns =
        |texts: &[&str]| npy("'<U3'", "False", &format!("({},)", texts.len()), &utf32(texts, 3));
    let load = |arrays: &[(&str, Vec<u8>)], features: &[&str]| {
        let files = files(&[("t.npz", zipped(arrays, zip::CompressionMethod::Deflated))]);
        let features = Some(strings(features));
        let found = load(&TableSpec { features, ..files.spec("t.npz") }, NUMBERS, 1);
        found.map(|found| found.train).map_err(|error| files.message(&error))
    };
    let plain = load(&[("x.npy", x.clone()), ("y.npy", y.clone())], &["x1", "x0"]).unwrap();
    let fortran = npy(
        "'<f8'",
        "True",
        "(3, 2)",
        &[1.0_f64, 3.0, 5.0, 2.0, 4.0, 6.0].map(f64::to_le_bytes).concat(),
    );
    let named = [("columns.npy", columns(&["p", "q"])), ("x.npy", fortran), ("y.npy", y.clone())];
    assert_eq!(load(&named, &["q", "p"]), Ok(plain));
    let array =
        |name: &'static str, array: &[u8]| vec![(name, array.to_vec()), ("y.npy", y.clone())];
    for (arrays, wanted) in [
        (
            vec![("columns.npy", columns(&["p"])), ("x.npy", x.clone()), ("y.npy", y.clone())],
            "t.npz: found 1 name in the array \"columns\", wanted one for each of the 2 columns of the array \"x\"",
        ),
        (
            array("x.npy", &floats("(2,)", &[1.0, 2.0])),
            "t.npz: array \"x\" has 2 rows and array \"y\" has 3 rows",
        ),
        (
            array("x.npy", &npy("'|O'", "False", "(3,)", b"\x80")),
            "t.npz: array \"x\": found dtype \"|O\", objects of Python",
        ),
        (array("../x.txt", b"x"), "t.npz: found \"../x.txt\" in it, wanted arrays alone"),
        (array("xl/workbook.xml", b"x"), "t.npz: found a workbook of Excel, wanted a table"),
        (array("x.npy", &x[..70]), "t.npz: array \"x\": the header says"),
    ] {
        let error = load(&arrays, &["x0"]).unwrap_err();
        assert!(error.starts_with(wanted), "{error}");
    }
}

#[test]
fn parts_that_differ_are_told_with_their_names() {
    let message = |second: &str| {
        let files = Files::new(&[]);
        fs::create_dir(files.path("d")).unwrap();
        fs::write(files.path("d/1.csv"), "a,y\n1,2\n").unwrap();
        fs::write(files.path("d/2.csv"), second).unwrap();
        let found = load(&files.spec("d"), NUMBERS, 1);
        found.map(|found| found.train).map_err(|error| files.message(&error))
    };
    assert_eq!(message("y,a\n4,3\n").map(|rows| rows.len()), Ok(2));
    let wanted = "wanted the columns of 1.csv: all parts of a table have the same";
    for (second, found) in [
        ("a\n1\n", "no column \"y\""),
        ("a,y,z\n1,2,3\n", "the column \"z\" as well"),
        ("a,z\n1,2\n", "no column \"y\", but \"z\""),
        ("a,y,a\n1,2,3\n", "a name twice"),
    ] {
        assert_eq!(message(second), Err(format!("d/2.csv: found {found}, {wanted}")));
    }
    let error = message("y,a\n\n4,x\n").unwrap_err();
    assert!(
        error.starts_with("d/2.csv:3: column 2 (a): found \"x\" on line 3 of 2.csv"),
        "{error}"
    );
}

#[test]
fn folders_and_patterns_without_a_table() {
    let files = Files::new(&[("t.csv", "a,y\n1,2\n"), ("n.npy", "x")]);
    fs::create_dir_all(files.path("e")).unwrap();
    fs::write(files.path("e/_SUCCESS"), "").unwrap();
    fs::create_dir_all(files.path("f/g")).unwrap();
    let message = |name: &str| files.message(&load(&files.spec(name), NUMBERS, 1).unwrap_err());
    assert_eq!(message("e"), "e: found no file in this folder, wanted the parts of a table");
    assert!(message("f").starts_with("f: found the folder \"g\" in it, wanted files alone"));
    assert!(
        message("x*.csv").starts_with("x*.csv: found no file of this pattern, wanted at least one")
    );
    assert!(message("[.csv").starts_with("[.csv: not a pattern of file names"));
    assert!(message("*.[cn]*").starts_with("t.csv: found CSV beside NPY"));
    assert!(
        TableFile::at("t".into()).in_format("xlsx").unwrap_err().ends_with("npy, npz, parquet")
    );
}

#[test]
fn files_that_are_cut_short_or_damaged() {
    let rows = rows();
    let csv = text(&rows, ',');
    let whole = parquet(&rows, 20, Compression::SNAPPY);
    let deflated = npz(&rows, zip::CompressionMethod::Deflated);
    let message = |name: &str, bytes: &[u8]| {
        let files = files(&[(name, bytes.to_vec())]);
        let found = load(&spec(&files, name), THREE_CLASSES, 3);
        found.map(|found| found.train).map_err(|error| files.message(&error))
    };
    for (name, bytes, wanted) in [
        ("t.csv.gz", &gzip(&csv)[..400], "t.csv.gz: its gzip data are damaged or cut short ("),
        ("t.csv.zst", &zstd(&csv)[..400], "t.csv.zst: its zstd data are damaged or cut short ("),
        (
            "t.parquet",
            &whole[..whole.len() - 9],
            "t.parquet: its Parquet data are damaged, cut short",
        ),
        ("t.parquet", b"PAR1", "t.parquet: its Parquet data are damaged, cut short"),
        ("t.parquet", b"PAREabcdPARE", "t.parquet: the file is encrypted"),
        (
            "t.parquet",
            b"a,class\n1,2",
            "t.parquet: found 61 2c 63 6c at its beginning, wanted a Parquet file",
        ),
        (
            "t.npz",
            &deflated[..deflated.len() - 30],
            "t.npz: its zip data are damaged or cut short (",
        ),
        ("t.npz", b"a,class\n1,2", "t.npz: found 61 2c 63 6c at its beginning, wanted an NPZ file"),
        (
            "t.csv",
            &whole,
            "t.csv: found a Parquet file, wanted a CSV file; give it a name that ends in .parquet",
        ),
    ] {
        let error = message(name, bytes).unwrap_err();
        assert!(error.starts_with(wanted), "{error}");
    }
    // Whatever byte is altered, the answer is rows or one message.
    for at in (0..whole.len()).step_by(7) {
        let mut altered = whole.clone();
        altered[at] ^= 0x55;
        let _ = message("t.parquet", &altered);
    }
    for at in (0..deflated.len()).step_by(7) {
        let mut altered = deflated.clone();
        altered[at] ^= 0x55;
        let _ = message("t.npz", &altered);
    }
}

/// What pyarrow wrote with a key of its own for column `b`, its footer in plain text or encrypted.
#[test]
fn encrypted_parquet_files_are_told_as_such() {
    let (columns, footer) =
        (include_bytes!("encrypted-column.parquet"), include_bytes!("encrypted-footer.parquet"));
    let files = files(&[("c.parquet", columns.to_vec()), ("f.parquet", footer.to_vec())]);
    let mut spec = files.spec("c.parquet");
    let error = load(&spec, NUMBERS, 1).unwrap_err();
    assert_eq!(
        files.message(&error),
        "c.parquet: column \"b\": it is encrypted, wanted a plain one; decrypt the file, or leave it out of `data.features`"
    );
    spec.features = Some(strings(&["a"]));
    let found = load(&spec, NUMBERS, 1).unwrap().train;
    assert_eq!((found.len(), &found.values[..4]), (40, &[0.0, 0.0, 1.5, 1.0][..]));
    let error = load(&files.spec("f.parquet"), NUMBERS, 1).unwrap_err();
    let wanted = "f.parquet: the file is encrypted, wanted a plain one; decrypt it first";
    assert_eq!(files.message(&error), wanted);
}

/// Nothing is made room for that so few bytes cannot hold.
#[test]
fn parquet_pages_that_claim_to_be_huge() {
    let message = |bytes: Vec<u8>| {
        let files = files(&[("t.parquet", bytes)]);
        let found = load(&files.spec("t.parquet"), NUMBERS, 1);
        found.map(|found| found.train.len()).map_err(|error| files.message(&error))
    };
    // A page of 2^20 bytes, which is twice that as Thrift counts, then one that claims 2^27 - 1.
    let zeros = vec![0.0; 1 << 17];
    for compression in [Compression::ZSTD(Default::default()), Compression::SNAPPY] {
        let whole = parquet_numbers(&zeros, false, compression);
        assert_eq!(message(whole.clone()), Ok(1 << 17));
        let size = [0x15, 0, 0x15, 0x80, 0x80, 0x80, 0x01];
        let error = message(altered(&whole, &size, &[0x15, 0, 0x15, 0xfe, 0xff, 0xff, 0x7f]));
        let error = error.unwrap_err();
        let wanted = "t.parquet: its Parquet data are damaged, cut short or not understood (found a page of ";
        assert!(error.starts_with(wanted), "{error}");
        let wanted = "bytes that claims to have 134217727 when it is unpacked, wanted at most 1032 times as much, or 16 MiB)";
        assert!(error.contains(wanted), "{error}");
    }
    // A dictionary of 20,000 numbers, then one that claims 2^20 - 1.
    let numbers: Vec<f64> = (0..20_000).map(f64::from).collect();
    let whole = parquet_numbers(&numbers, true, Compression::UNCOMPRESSED);
    assert_eq!(message(whole.clone()), Ok(20_000));
    let count = [0x4c, 0x15, 0xc0, 0xb8, 0x02];
    let error = message(altered(&whole, &count, &[0x4c, 0x15, 0xfe, 0xff, 0x7f])).unwrap_err();
    let wanted = "(found a dictionary of 160000 bytes that claims to have 1048575 values)";
    assert!(error.contains(wanted), "{error}");
}

#[test]
fn nested_columns_of_parquet_files_are_refused_by_name() {
    let message =
        "message t { required int32 a; required group s { required int32 u; } required int32 y; }";
    let schema = Arc::new(parse_message_type(message).unwrap());
    let mut file = SerializedFileWriter::new(Vec::new(), schema, Default::default()).unwrap();
    let mut group = file.next_row_group().unwrap();
    while let Some(mut column) = group.next_column().unwrap() {
        column.typed::<parquet::data_type::Int32Type>().write_batch(&[1, 2], None, None).unwrap();
        column.close().unwrap();
    }
    group.close().unwrap();
    let files = files(&[("t.parquet", file.into_inner().unwrap())]);
    let mut spec = files.spec("t.parquet");
    let error = load(&spec, NUMBERS, 1).unwrap_err();
    assert_eq!(
        files.message(&error),
        "t.parquet: column \"s\": it is nested, wanted a column of numbers or texts; leave it out of `data.features`"
    );
    spec.features = Some(strings(&["a"]));
    assert_eq!(load(&spec, NUMBERS, 1).unwrap().train.len(), 2);
}
