//! How CSV files are written: separators, quotes, headers, missing cells, truth values, and what has a limit.

use lockstep_data::{Dialect, Missing, Rows, Schema, TargetKind, Want};

use crate::{Files, load_one, names, strings};

const NUMBERS: TargetKind = TargetKind::Numbers;

#[test]
fn what_the_job_says_holds_for_every_table_of_the_model() {
    let dialect = Dialect {
        comment: None,
        delimiter: Some('|'),
        quote: Some('\''),
        header: false,
        decimal: '.',
        missing_values: Some(strings(&["-9"])),
    };
    let data = load_one("1|'2'|3\n-9|5|6\n", NUMBERS, |spec| {
        spec.dialect = dialect.clone();
        spec.target = strings(&["column3"]);
        spec.missing = Missing::Mean;
    })
    .unwrap();
    assert_eq!(data.train, Rows::new(2, 1, vec![1.0, 2.0, 3.0, 1.0, 5.0, 6.0]));
    let json = serde_json::to_string(&data.schema).unwrap();
    let schema: Schema = serde_json::from_str(&json).unwrap();
    assert_eq!((&schema, &schema.dialect), (&data.schema, &dialect));
    let files = Files::new(&[("p.csv", "7|-9\n-9|'8'\n")]);
    let (rows, _) = schema.read(&files.csv("p.csv"), Want::Features).unwrap();
    assert_eq!(rows, Rows::new(2, 0, vec![7.0, 3.5, 1.0, 8.0]));
}

#[test]
fn a_header_is_split_where_its_rows_are() {
    let content = "size;price, net;y\n1;2,5;3\n";
    let message = load_one(content, NUMBERS, |_| {}).unwrap_err();
    assert_eq!(
        message,
        "t.csv:2: column 2 (price, net): found \"2,5\" on line 2, wanted numbers with a decimal point; for commas set \
         `data.decimal = \",\"`"
    );
    let data = load_one("size\tprice, net\ty\n1\t2\t3\n", NUMBERS, |_| {}).unwrap();
    assert_eq!(names(&data.schema.features), ["size", "price, net"]);
}

#[test]
fn a_decimal_comma_is_read_where_the_job_says_so() {
    let content = "size;kind;y\n1,5;a,b;-0,25\n2;a,b;1e1\n;c;3\n";
    let data = load_one(content, NUMBERS, |spec| {
        spec.dialect.decimal = ',';
        spec.missing = Missing::Mean;
    })
    .unwrap();
    let rows = vec![1.5, 1.0, 0.0, -0.25, 2.0, 1.0, 0.0, 10.0, 1.75, 0.0, 1.0, 3.0];
    assert_eq!(data.train, Rows::new(3, 1, rows));
    let json = serde_json::to_string(&data.schema).unwrap();
    let schema: Schema = serde_json::from_str(&json).unwrap();
    let files = Files::new(&[("p.csv", "size;kind\n0,5;c\n"), ("q.csv", "size;kind\n0.5;c\n")]);
    let (rows, _) = schema.read(&files.csv("p.csv"), Want::Features).unwrap();
    assert_eq!(rows, Rows::new(3, 0, vec![0.5, 0.0, 1.0]));
    let error = schema.read(&files.csv("q.csv"), Want::Features).unwrap_err();
    assert!(
        files
            .message(&error)
            .starts_with("q.csv:2: column 1 (size): found \"0.5\", wanted a number"),
        "{error}"
    );
}

#[test]
fn missing_cells_of_every_spelling() {
    let texts = ["", "?", "NA", "N/A", "#N/A", "n/a", "None", "null", "NaN", "-", "."];
    let mut content = "a,y\n".to_owned();
    texts.iter().for_each(|text| content.push_str(&format!("{text},1\n")));
    let data = load_one(&format!("{content}3,1\n"), NUMBERS, |spec| spec.missing = Missing::Drop);
    let data = data.unwrap();
    assert_eq!((data.train.len(), data.summary.tables[0].dropped), (1, texts.len() as u64));
}

#[test]
fn labels_may_look_like_missing_cells() {
    let content = "a,y\n1,\"NA\"\n2,none\n3,-\n4,NA\n";
    let classes = |spec: &mut lockstep_data::TableSpec| spec.missing = Missing::Drop;
    let data = load_one(content, TargetKind::Classes { outputs: 3 }, classes).unwrap();
    assert_eq!(data.schema.labels.unwrap(), [["-", "NA", "none"]]);
    assert_eq!(data.train.len(), 3);
    let data = load_one(content, TargetKind::Classes { outputs: 3 }, |spec| {
        spec.dialect.missing_values = Some(Vec::new());
    });
    assert_eq!(data.unwrap().train.len(), 4);
}

#[test]
fn true_and_false_are_one_and_zero() {
    let content = "a,b,y\nTrue,false,TRUE\nFalse,true,FALSE\n";
    let data = load_one(content, NUMBERS, |_| {}).unwrap();
    assert_eq!(data.train.values, [1.0, 0.0, 1.0, 0.0, 1.0, 0.0]);
    let binary = load_one(content, TargetKind::Binary { outputs: 1 }, |_| {}).unwrap();
    assert_eq!(binary.schema.labels.unwrap(), [["FALSE", "TRUE"]]);
}

#[test]
fn a_quote_that_never_closes_is_told_where_it_opens() {
    for (content, wanted) in [
        (
            "a,b,y\n1,2,3\n4,\"5,6\n7,8,9\n",
            "t.csv:3: column 2 (b): found a quote that is never closed, wanted one that closes the cell; \
             add it, or take this one out",
        ),
        (
            "a,b,y\n4,\"5,6\n7,\"8\",9\n",
            "t.csv:2: column 2 (b): found a quote that is closed on a later line, in the middle of a cell, \
             wanted one that closes the cell; add it, or take this one out",
        ),
    ] {
        for unused in [false, true] {
            let message = load_one(content, NUMBERS, |spec| {
                spec.features = unused.then(|| strings(&["a"]));
            });
            assert_eq!(message.unwrap_err(), wanted, "{content:?}");
        }
    }
}

#[test]
fn two_columns_of_one_name_are_an_error_only_where_they_are_used() {
    let content = "a,b,b,y\n1,2,3,4\n";
    let wanted = "t.csv: columns 2 and 3 are both named \"b\"; rename one";
    let with = |features: Option<&[&str]>| {
        load_one(content, NUMBERS, |spec| spec.features = features.map(strings))
    };
    assert_eq!(with(None).unwrap_err(), wanted);
    assert_eq!(with(Some(&["b"])).unwrap_err(), wanted);
    assert_eq!(with(Some(&["a"])).unwrap().train.values, [1.0, 4.0]);
}

#[test]
fn a_row_and_a_label_have_a_longest_length() {
    let long = "x".repeat(17 << 20);
    let message = load_one(&format!("a,t,y\n1,{long},2\n"), NUMBERS, |spec| {
        spec.features = Some(strings(&["a"]));
    });
    assert_eq!(
        message.unwrap_err(),
        "t.csv:2: found no end of the row in 16 MiB, wanted a shorter one"
    );
    let content = format!("a,y\n1,{}\n", &long[..65_537]);
    let message = load_one(&content, TargetKind::Classes { outputs: 1 }, |_| {}).unwrap_err();
    assert_eq!(
        message,
        "t.csv:2: column 2 (y): found a label of 65537 bytes, wanted at most 64 KiB"
    );
}
