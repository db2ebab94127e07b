//! Tables in IDX files: what comes out of right ones, and the whole message of everything that can be wrong.

use std::fs;
use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use lockstep_data::{
    ColumnOverride, Rows, Scale, Schema, TableFile, TableSource, TableSpec, TargetKind,
    TargetSummary, Want,
};

use crate::{Files, divide, load, names, scale_named, strings};

const TWO_CLASSES: TargetKind = TargetKind::Classes { outputs: 2 };

/// An IDX file of one-byte elements.
fn idx(dimensions: &[u32], values: &[u8]) -> Vec<u8> {
    with_elements(0x08, dimensions, values)
}

fn with_elements(code: u8, dimensions: &[u32], bytes: &[u8]) -> Vec<u8> {
    let mut file = vec![0, 0, code, dimensions.len() as u8];
    dimensions.iter().for_each(|dimension| file.extend(dimension.to_be_bytes()));
    file.extend(bytes);
    file
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).expect("memory is writable");
    encoder.finish().expect("memory is writable")
}

/// Three images of 1 x 2 pixels and their labels.
fn images() -> Vec<u8> {
    idx(&[3, 1, 2], &[0, 255, 51, 0, 102, 204])
}

fn labels() -> Vec<u8> {
    idx(&[3], &[7, 3, 7])
}

fn files(images: &[u8], labels: &[u8]) -> Files {
    let files = Files::new(&[]);
    fs::write(files.path("i"), images).expect("a writable temporary folder");
    fs::write(files.path("l"), labels).expect("a writable temporary folder");
    files
}

fn table(files: &Files) -> TableFile {
    let file = TableFile::pair(["images", "labels"], files.path("i"), files.path("l"));
    file.expect("a form of tables")
}

fn spec(files: &Files) -> TableSpec {
    TableSpec {
        train: table(files),
        target: strings(&["label"]),
        scale: divide(255.0),
        ..files.spec("")
    }
}

#[test]
fn rows_are_pixels_and_a_label_plain_or_packed() {
    let wanted = Rows::new(2, 1, vec![0.0, 1.0, 1.0, 0.2, 0.0, 0.0, 0.4, 0.8, 1.0]);
    for (images, labels) in
        [(images(), labels()), (gzip(&images()), labels()), (images(), gzip(&labels()))]
    {
        let files = files(&images, &labels);
        let data = load(&spec(&files), TWO_CLASSES, 1).unwrap();
        assert_eq!(data.train, wanted);
        assert_eq!(names(&data.schema.features), ["pixel0", "pixel1"]);
        assert_eq!(data.schema.labels, Some(vec![strings(&["3", "7"])]));
        assert_eq!(data.warnings.len(), 1, "{:?}", data.warnings);
        assert!(data.warnings[0].ends_with("add rows, or join classes"), "{:?}", data.warnings);
        let counts = vec![("3".to_owned(), 1), ("7".to_owned(), 2)];
        let target = TargetSummary::Classes { name: "label".to_owned(), counts };
        assert_eq!(data.summary.tables[0].targets, [target]);
    }
}

#[test]
fn elements_of_every_type_are_read() {
    let labels = labels();
    let numbers = [-2.0_f64, 0.5, 3.0];
    let integers = [-2_i32, 7, 3];
    let of = |bytes: &dyn Fn(usize) -> Vec<u8>| (0..3).flat_map(bytes).collect::<Vec<u8>>();
    for (code, bytes, wanted) in [
        (0x09, of(&|i| (integers[i] as i8).to_be_bytes().to_vec()), [-2.0, 7.0, 3.0]),
        (0x0b, of(&|i| (integers[i] as i16).to_be_bytes().to_vec()), [-2.0, 7.0, 3.0]),
        (0x0c, of(&|i| integers[i].to_be_bytes().to_vec()), [-2.0, 7.0, 3.0]),
        (0x0d, of(&|i| (numbers[i] as f32).to_be_bytes().to_vec()), [-2.0, 0.5, 3.0]),
        (0x0e, of(&|i| numbers[i].to_be_bytes().to_vec()), [-2.0, 0.5, 3.0]),
    ] {
        let files = files(&with_elements(code, &[3, 1], &bytes), &labels);
        let spec = TableSpec { scale: Scale::NONE, ..spec(&files) };
        let data = load(&spec, TargetKind::Numbers, 1).unwrap();
        let [a, b, c] = wanted;
        assert_eq!(data.train.values, [a, 7.0, b, 3.0, c, 7.0], "0x{code:02x}");
    }
}

#[test]
fn scales_splits_and_columns_are_as_for_any_table() {
    let files = files(&images(), &labels());
    let mut spec = spec(&files);
    spec.scale = scale_named("minmax");
    spec.features = Some(strings(&["pixel1"]));
    let data = load(&spec, TargetKind::Numbers, 1).unwrap();
    assert_eq!(data.train.values, [1.0, 7.0, 0.0, 3.0, 0.8, 7.0]);
    spec.test = Some(TableSource::Fraction(0.4));
    let data = load(&spec, TargetKind::Numbers, 1).unwrap();
    assert_eq!((data.train.len(), data.test.unwrap().len()), (1, 2));
    fs::write(files.path("t.csv"), "label,pixel1\n5,0\n").unwrap();
    spec.test = files.file("t.csv");
    let data = load(&spec, TargetKind::Numbers, 1).unwrap();
    assert_eq!(data.test.unwrap().values, [0.0, 5.0]);
}

#[test]
fn a_pixel_may_have_a_scale_of_its_own() {
    let files = files(&images(), &labels());
    let mut spec = spec(&files);
    let robust = ColumnOverride { scale: Some(scale_named("robust")), ..Default::default() };
    spec.columns = [("pixel0".to_owned(), robust)].into();
    let data = load(&spec, TWO_CLASSES, 1).unwrap();
    assert_eq!(data.train.values, [-1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 1.0, 0.8, 1.0]);
    // All of them alike, by what they were in training.
    let spec = TableSpec { scale: scale_named("robust"), ..self::spec(&files) };
    let data = load(&spec, TWO_CLASSES, 1).unwrap();
    let wanted = [-1.0, 0.4, 1.0, 0.0, -1.6, 0.0, 1.0, 0.0, 1.0];
    assert_eq!(data.train.values, wanted);
}

#[test]
fn a_schema_reads_images_with_labels_or_without() {
    let files = files(&images(), &gzip(&labels()));
    let data = load(&spec(&files), TWO_CLASSES, 1).unwrap();
    let json = serde_json::to_string(&data.schema).unwrap();
    assert!(json.contains(r#""image":[1,2]"#) && json.contains(r#""scale":{"divide":255.0}"#));
    let schema: Schema = serde_json::from_str(&json).unwrap();
    assert_eq!(schema, data.schema);
    let damaged = json.replacen("\"divisor\":255.0", "\"divisor\":25.0", 1);
    assert!(serde_json::from_str::<Schema>(&damaged).is_err());
    assert_eq!(schema.read(&table(&files), Want::FeaturesAndTargets).unwrap().0, data.train);

    let unlabelled = TableFile::guess(files.path("i"), None);
    assert_ne!(unlabelled, TableFile::at(files.path("i")));
    assert_eq!(TableFile::guess(files.path("i"), Some(files.path("l"))), table(&files));
    let rows = schema.read(&unlabelled, Want::Features).unwrap().0;
    assert_eq!(rows, Rows::new(2, 0, vec![0.0, 1.0, 0.2, 0.0, 0.4, 0.8]));
    let message = |file: &TableFile, want| files.message(&schema.read(file, want).unwrap_err());
    assert_eq!(
        message(&unlabelled, Want::FeaturesAndTargets),
        "i: found images without labels, wanted their labels too; give the labels' file with `--labels`"
    );
    fs::write(files.path("l"), idx(&[3], &[3, 9, 7])).unwrap();
    assert_eq!(
        message(&table(&files), Want::FeaturesAndTargets),
        "l: label 1: found label \"9\", wanted one that the training rows have: \"3\", \"7\""
    );
    fs::write(files.path("i"), gzip(&idx(&[3, 2, 1], &[0; 6]))).unwrap();
    assert_eq!(
        message(&TableFile::guess(files.path("i"), None), Want::Features),
        "i: found images of 2 x 1, wanted 1 x 2 as in the training table"
    );
}

#[test]
fn constant_pixels_are_told_where_they_do_harm() {
    let files = files(&idx(&[2, 2], &[0, 255, 0, 0]), &idx(&[2], &[0, 1]));
    let warnings =
        |scale| load(&TableSpec { scale, ..spec(&files) }, TWO_CLASSES, 1).unwrap().warnings.len();
    // One in any case: that there are so few rows.
    assert_eq!([Scale::NONE, divide(255.0)].map(warnings), [1, 1]);
    assert_eq!([scale_named("standard"), scale_named("minmax")].map(warnings), [2, 2]);
    let hint = |scale| {
        let data = load(&TableSpec { scale, ..spec(&files) }, TWO_CLASSES, 1).unwrap();
        data.summary.scaling_hint(&data.schema)
    };
    assert!(hint(Scale::NONE).unwrap().contains("`data.scale = { divide = 255 }`"));
    assert_eq!(hint(divide(255.0)), None);
}

/// The error of these two files.
fn check(images: &[u8], labels: &[u8], wanted: &str) {
    let files = files(images, labels);
    match load(&spec(&files), TWO_CLASSES, 1) {
        Ok(data) => panic!("loaded as {:?}, wanted {wanted:?}", data.train),
        Err(error) => assert_eq!(files.message(&error), wanted),
    }
}

#[test]
fn files_that_are_no_idx_files() {
    let (images, labels) = (images(), labels());
    let wanted = "wanted an IDX file, which begins with 00 00 (00 00 08 03 for images, 00 00 08 01 for labels); give a \
                  CSV file by its path alone";
    check(b"a,b\n1", &labels, &format!("i: found 61 2c 62 0a at its beginning, {wanted}"));
    check(&images, b"", &format!("l: found nothing at its beginning, {wanted}"));
    check(&images, &[0, 0, 8], &format!("l: found 00 00 08 at its beginning, {wanted}"));
    let wanted = "wanted 0x08 (u8), 0x09 (i8), 0x0b (i16), 0x0c (i32), 0x0d (f32) or 0x0e (f64)";
    let unknown = with_elements(0x0a, &[1], &[0, 0]);
    check(&images, &unknown, &format!("l: found element type 0x0a, {wanted}"));
    check(&[0, 0, 8, 9, 0], &labels, "i: found 9 dimensions, wanted 1 to 8");
    check(&[0, 0, 8, 0], &labels, "i: found 0 dimensions, wanted 1 to 8");
    check(&images[..15], &labels, "i: the file ends in its header; fetch it again");
}

#[test]
fn files_whose_length_is_not_what_their_header_says() {
    let labels = labels();
    let cut = "the file is cut short; fetch it again";
    let said = "i: the header says 3 x 1 x 2 of 1 byte each, but";
    let there = |found: &str| format!("{said} there are only {found} for that: {cut}");
    check(&images()[..21], &labels, &there("5 bytes"));
    check(&gzip(&images()[..17]), &labels, &there("1 byte"));
    let long = [&images()[..], b"x"].concat();
    let goes_on = format!("{said} the file goes on after that");
    check(&long, &labels, &goes_on);
    check(&gzip(&long), &labels, &goes_on);
    check(
        &idx(&[0, 2, 2], &[]),
        &labels,
        "i: the header says 0 x 2 x 2 of 1 byte each: there is nothing in it",
    );
    for header in [[u32::MAX; 3], [1 << 20, 1 << 10, 1 << 10]] {
        let shape = header.map(|dimension| dimension.to_string()).join(" x ");
        let problem = format!("the header says {shape} of 8 bytes each, but there are only");
        let file = with_elements(0x0e, &header, &[0; 8]);
        check(&file, &labels, &format!("i: {problem} 8 bytes for that: {cut}"));
        // No gzip file of that length can hold so much: refused before memory is taken.
        let packed = gzip(&file);
        let most = packed.len() * 1032 - 16;
        check(&packed, &labels, &format!("i: {problem} {most} bytes for that: {cut}"));
    }
}

#[test]
fn damaged_gzip_files() {
    let packed = gzip(&images());
    let mut flipped = packed.clone();
    let checksum = flipped.len() - 8;
    flipped[checksum] ^= 1;
    for damaged in [&packed[..packed.len() - 3], &packed[..14], &flipped, b"\x1f\x8bxxxxxxxxxx"] {
        let files = files(damaged, &labels());
        let error = files.message(&load(&spec(&files), TWO_CLASSES, 1).unwrap_err());
        assert!(error.starts_with("i: its gzip data are damaged or cut short ("), "{error}");
        assert!(error.ends_with("); fetch it again"), "{error}");
    }
}

#[test]
fn files_that_do_not_go_together() {
    let (images, labels) = (images(), labels());
    check(
        &images,
        &idx(&[2], &[7, 3]),
        "l: found 2 labels, wanted one for each of the 3 images in i; give two files of one set",
    );
    check(
        &labels,
        &images,
        "i: found one dimension, which is how labels are kept, wanted at least two; give the file of the images",
    );
    check(
        &images,
        &images,
        "l: found 1 x 2 numbers for each item, wanted one label for each; give the file of the labels",
    );
    check(
        &images,
        &idx(&[3], &[1, 2, 3]),
        "l: target \"label\" has 3 classes in the training rows (\"1\", \"2\", \"3\"), but the network has 2 outputs; \
         set the last layer's `units` to 3, or give another `data.target`",
    );
    let nan = with_elements(0x0d, &[3, 1], &[[0; 4], f32::NAN.to_be_bytes(), [0; 4]].concat());
    check(
        &nan,
        &labels,
        "i: item 1, number 0 (both from 0): found \"NaN\", wanted a finite number up to 3.4028235e38",
    );
    check(
        &idx(&[1, 65_536], &[0; 65_536]),
        &labels,
        "i: found images of 65536 pixels, wanted at most 65535",
    );
}

#[test]
fn settings_that_do_not_fit() {
    let files = files(&images(), &labels());
    let message = |spec: &TableSpec| files.message(&load(spec, TWO_CLASSES, 1).unwrap_err());
    let mut wrong = spec(&files);
    wrong.target = strings(&["pixel0"]);
    assert_eq!(
        message(&wrong),
        "data.target: found \"pixel0\", wanted \"label\", the only one that tables in IDX files have; leave it out"
    );
    let mut wrong = spec(&files);
    wrong.features = Some(strings(&["pixel2"]));
    assert!(
        message(&wrong).starts_with("i: found no column \"pixel2\", wanted by `data.features`")
    );
    let mut wrong = spec(&files);
    wrong.train = TableFile::at(files.path("i"));
    assert_eq!(
        message(&wrong),
        "i: found an IDX file, wanted a CSV file; give IDX files as `{ images = \"...\", labels = \"...\" }`"
    );
    let mut wrong = spec(&files);
    wrong.train = TableFile::guess(files.path("none"), Some(files.path("l")));
    assert_eq!(message(&wrong), "cannot read none: No such file or directory");
}
