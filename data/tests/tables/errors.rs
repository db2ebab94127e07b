//! The whole message of everything that can be wrong with a job's tables.

use lockstep_data::{DataError, Missing, TableSource, TableSpec, TargetKind};

use crate::{Files, load, load_one, strings};

const NUMBERS: TargetKind = TargetKind::Numbers;
const TWO_CLASSES: TargetKind = TargetKind::Classes { outputs: 2 };

fn check(content: &str, kind: TargetKind, wanted: &str) {
    check_with(content, kind, |_| {}, wanted);
}

fn check_with(content: &str, kind: TargetKind, adjust: impl FnOnce(&mut TableSpec), wanted: &str) {
    match load_one(content, kind, adjust) {
        Ok(data) => panic!("{content:?} was loaded as {:?}, wanted {wanted:?}", data.train),
        Err(message) => assert_eq!(message, wanted, "{content:?}"),
    }
}

#[test]
fn files_that_are_no_tables() {
    check("", NUMBERS, "t.csv: the file is empty, wanted a header and rows");
    check("\u{feff}\r\n\n", NUMBERS, "t.csv: the file is empty, wanted a header and rows");
    check("a,y\r\n", NUMBERS, "t.csv: no rows below the header, wanted at least one");
    check("a,y,a\n1,2,3\n", NUMBERS, "t.csv: columns 1 and 3 are both named \"a\"; rename one");
    check(
        ",y\n1,2\n",
        NUMBERS,
        "t.csv: column 1 has no name; give it one, or list the columns to use in `data.features`",
    );
    check(
        "y\n1\n",
        NUMBERS,
        "t.csv: found no column besides the target, wanted at least one feature",
    );

    let files = Files::new(&[("latin.csv", "")]);
    std::fs::write(files.path("latin.csv"), b"h\xf6he,y\n1,2\n").unwrap();
    let error = load(&files.spec("latin.csv"), NUMBERS, 1).unwrap_err();
    assert_eq!(
        files.message(&error),
        "latin.csv: the name of column 1: found \"h\u{fffd}he\" (the byte f6), wanted UTF-8; save the file as UTF-8, or, if it is in \
         Latin-1, as Windows writes it, turn it into UTF-8 with `iconv -f WINDOWS-1252 -t UTF-8`"
    );
    std::fs::write(files.path("utf16.csv"), b"\xff\xfea\0,\0").unwrap();
    let error = load(&files.spec("utf16.csv"), NUMBERS, 1).unwrap_err();
    assert_eq!(files.message(&error), "utf16.csv: found UTF-16, wanted UTF-8; save it as UTF-8");
    let json = Files::new(&[("t.csv", "[{\"a\": 1, \"y\": 2}]\n")]);
    let error = load(&json.spec("t.csv"), NUMBERS, 1).unwrap_err();
    assert!(json.message(&error).starts_with("t.csv: found JSON, wanted a CSV file"), "{error}");
    let wide = format!("{}\n", ",".repeat(65_536));
    check(&wide, NUMBERS, "t.csv: found 65537 columns, wanted at most 65536");
}

#[test]
fn files_that_cannot_be_read() {
    let files = Files::new(&[("t.csv", "a,y\n1,2\n")]);
    let error = load(&files.spec("none.csv"), NUMBERS, 1).unwrap_err();
    assert_eq!(files.message(&error), "cannot read none.csv: No such file or directory");
    assert!(matches!(&error, DataError::Read { cause, .. }
        if cause.kind() == std::io::ErrorKind::NotFound));
    let mut spec = files.spec("t.csv");
    spec.test = files.file("none.csv");
    let error = load(&spec, NUMBERS, 1).unwrap_err();
    assert_eq!(files.message(&error), "cannot read none.csv: No such file or directory");
}

#[test]
fn rows_that_do_not_fit_the_header() {
    check("a,b,y\n1,2,3\n1,2\n", NUMBERS, "t.csv:3: found 2 columns, wanted 3 as in the header");
    check("a,y\n1,2\n\n1,2,3\n", NUMBERS, "t.csv:4: found 3 columns, wanted 2 as in the header");
    check("a,b,y\n1\n", NUMBERS, "t.csv:2: found 1 column, wanted 3 as in the header");
    check(
        "\"a\n\",y\n\"1\n\n\",2\n1\n",
        NUMBERS,
        "t.csv:6: found 1 column, wanted 2 as in the header",
    );
}

#[test]
fn cells_that_are_not_numbers() {
    check(
        "a,y\n1,2\n1,-inf\n",
        NUMBERS,
        "t.csv:3: column 2 (y): found \"-inf\", wanted a finite number",
    );
    check("a,y\n1,x\n", NUMBERS, "t.csv:2: column 2 (y): found \"x\", wanted a number");
}

#[test]
fn a_decimal_comma_is_no_category() {
    check(
        "a;y\n1,5;2\n2;3\n",
        NUMBERS,
        "t.csv:2: column 1 (a): found \"1,5\" on line 2, wanted numbers with a decimal point; for commas set `data.decimal = \
         \",\"`",
    );
    check(
        "a,y\n1.5,2\n\"1,234.5\",3\n",
        NUMBERS,
        "t.csv:3: column 1 (a): found \"1,234.5\" on line 3, wanted numbers with nothing between thousands, such as 1234.5; write \
         it so; if they are names of something, set `data.columns.a = { kind = \"category\" }`",
    );
    check(
        "a,y\n1.5,2\n2,$3\n",
        NUMBERS,
        "t.csv:3: column 2 (y): found \"$3\", wanted a number without the sign of a currency; take that out of the table",
    );
}

#[test]
fn the_first_bad_cell_of_a_row_is_named_whatever_the_order_of_features() {
    check_with(
        "a,b,y\n1,inf,NA\n",
        NUMBERS,
        |spec| spec.features = Some(strings(&["b", "a"])),
        "t.csv:2: column 2 (b): found \"inf\", wanted a finite number",
    );
}

#[test]
fn missing_cells() {
    let feature = "wanted a number; give it one, or set `data.missing` to \"mean\" or \"drop\"";
    let target = "wanted a number; give it one, or set `data.missing` to \"drop\"";
    check(
        "a,y\n1,2\n,4\n",
        NUMBERS,
        &format!("t.csv:3: column 1 (a): found an empty cell, {feature}"),
    );
    check(
        "a,y\n Nan ,2\n",
        NUMBERS,
        &format!("t.csv:2: column 1 (a): found \"Nan\", which means a missing cell, {feature}"),
    );
    let mean = |spec: &mut TableSpec| spec.missing = Missing::Mean;
    check_with(
        "a,y\n1,2\n1,?\n",
        NUMBERS,
        mean,
        &format!("t.csv:3: column 2 (y): found \"?\", which means a missing cell, {target}"),
    );
    check(
        "a,y\n1,\n",
        TWO_CLASSES,
        "t.csv:2: column 2 (y): found an empty cell, wanted a label; give it one, or set `data.missing` to \"drop\"",
    );
    check_with(
        "a,b,y\n,1,2\nNA,1,2\n",
        NUMBERS,
        mean,
        "t.csv: feature \"a\" has no value in any training row, so no mean to fill with; leave it out of `data.features`",
    );
    check_with(
        "a,y\n,2\n1,\n",
        NUMBERS,
        |spec| spec.missing = Missing::Drop,
        "t.csv: every row has a missing cell, so `data.missing = \"drop\"` leaves none",
    );
}

#[test]
fn columns_that_are_not_there() {
    let content = "rm,lstat,medv\n1,2,3\n";
    check_with(
        content,
        NUMBERS,
        |spec| spec.target = strings(&["mdev"]),
        "t.csv: found no column \"mdev\", wanted by `data.target`; the nearest is \"medv\"",
    );
    check_with(
        content,
        NUMBERS,
        |spec| {
            spec.target = strings(&["medv"]);
            spec.features = Some(strings(&["rm", "LSTAT"]));
        },
        "t.csv: found no column \"LSTAT\", wanted by `data.features`; the nearest is \"lstat\"",
    );
    check_with(
        content,
        NUMBERS,
        |spec| spec.target = strings(&["price"]),
        "t.csv: found no column \"price\", wanted by `data.target`; the file has \"rm\", \"lstat\", \"medv\"",
    );
    let files = Files::new(&[("t.csv", "a,b,y\n1,2,3\n"), ("test.csv", "b,a2,y\n1,2,3\n")]);
    let mut spec = files.spec("t.csv");
    spec.test = files.file("test.csv");
    let error = load(&spec, NUMBERS, 1).unwrap_err();
    assert_eq!(
        files.message(&error),
        "test.csv: found no column \"a\", a feature of the model; the nearest is \"a2\""
    );
}

#[test]
fn settings_that_no_table_could_satisfy() {
    let content = "a,b,y\n1,2,3\n";
    let check = |adjust: &dyn Fn(&mut TableSpec), kind, wanted: &str| {
        check_with(content, kind, |spec| adjust(spec), wanted);
    };
    let target =
        |names: &'static [&'static str]| move |spec: &mut TableSpec| spec.target = strings(names);
    let features = |names: &'static [&'static str]| {
        move |spec: &mut TableSpec| spec.features = Some(strings(names))
    };
    check(&target(&[]), NUMBERS, "data.target: found no column, wanted at least one");
    check(&target(&["y", "b", "y"]), NUMBERS, "data.target: found \"y\" twice");
    check(
        &features(&[]),
        NUMBERS,
        "data.features: found no column, wanted at least one; leave it out to use every other column",
    );
    check(&features(&["a", "a"]), NUMBERS, "data.features: found \"a\" twice");
    check(
        &features(&["a", "y"]),
        NUMBERS,
        "data.features: found \"y\", which is also in `data.target`; take it out of one",
    );
    check(
        &target(&["y", "b"]),
        TWO_CLASSES,
        "data.target: found 2 columns, wanted one column of labels for `cross_entropy`",
    );
    check(
        &target(&["y"]),
        TargetKind::Binary { outputs: 3 },
        "data.target: found 1 column for 3 outputs of the network, wanted one column for each output; \
         set the last layer's `units` to 1, or list 3 columns",
    );
}

#[test]
fn fractions_that_leave_nothing() {
    let content = "a,y\n1,2\n3,4\n";
    check_with(
        content,
        NUMBERS,
        |spec| spec.test = Some(TableSource::Fraction(1.0)),
        "data.test: found a fraction of 1, wanted above 0 and below 1",
    );
    check_with(
        content,
        NUMBERS,
        |spec| {
            spec.test = Some(TableSource::Fraction(0.5));
            spec.validation = Some(TableSource::Fraction(0.1));
        },
        "data.validation: a fraction of 0.1 takes 1 of 1 row, wanted at least one row on each side; \
         give another fraction or more rows",
    );
}

#[test]
fn classes_that_do_not_fit_the_network() {
    check(
        "a,y\n1,b\n2,a\n3,c\n",
        TWO_CLASSES,
        "t.csv: target \"y\" has 3 classes in the training rows (\"a\", \"b\", \"c\"), but the network has 2 outputs; \
         set the last layer's `units` to 3, or give another `data.target`",
    );
    let mut content = "a,y\n".to_owned();
    for row in 0..300 {
        content.push_str(&format!("1,{row}.5\n"));
    }
    check(
        &content,
        TWO_CLASSES,
        "t.csv: target \"y\" has 300 classes in the training rows (\"0.5\", \"1.5\", \"2.5\", \"3.5\", \"4.5\", \
         \"5.5\", \"6.5\", … \"299.5\"), but the network has 2 outputs; set the last layer's `units` to 300, or \
         give another `data.target`",
    );
    check(
        "a,y\n1,b\n2,a\n3,c\n",
        TargetKind::Binary { outputs: 1 },
        "t.csv: target \"y\" has 3 labels in the training rows (\"a\", \"b\", \"c\"), wanted 2 for \
         `binary_cross_entropy`; use `cross_entropy` with 3 outputs for 3 classes",
    );
    check(
        "a,y\n1,b\n2,b\n",
        TWO_CLASSES,
        "t.csv: target \"y\" has 1 class in the training rows (\"b\"); there is nothing to learn: give another \
         `data.target`",
    );
    check(
        "a,y\n1,b\n",
        TargetKind::Binary { outputs: 1 },
        "t.csv: target \"y\" has 1 label in the training rows (\"b\"), wanted 2 for `binary_cross_entropy`; \
         there is nothing to learn: give another `data.target`",
    );
}

#[test]
fn labels_that_training_never_saw() {
    let files = Files::new(&[
        ("t.csv", "a,y\n1,yes\n2,no\n"),
        ("test.csv", "y,a\nno,1\n\"\n\nno\",1\nmaybe,3\n"),
    ]);
    let mut spec = files.spec("t.csv");
    spec.test = files.file("test.csv");
    for kind in [TWO_CLASSES, TargetKind::Binary { outputs: 1 }] {
        let error = load(&spec, kind, 1).unwrap_err();
        assert_eq!(
            files.message(&error),
            "test.csv:6: column 1 (y): found label \"maybe\", wanted one that the training rows have: \"no\", \"yes\""
        );
        assert!(matches!(error, DataError::Cell { line: 6, column: 1, .. }));
    }
}
