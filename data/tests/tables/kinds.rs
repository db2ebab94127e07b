//! Kinds of columns: what is inferred from the training rows, what a job says instead, what categories and dates become, and
//! what cannot be told apart.

use std::fmt::Write as _;

use lockstep_data::{
    ColumnEncoder, ColumnKind, ColumnOverride, Dataset, DateOrder, EmbeddedColumn, Missing, Schema,
    TableSource, TableSpec, TargetKind, Want,
};

use crate::{Files, load, load_one, loaded, scale_named, with};

const NUMBERS: TargetKind = TargetKind::Numbers;

fn kind(kind: ColumnKind) -> ColumnOverride {
    ColumnOverride { kind: Some(kind), ..ColumnOverride::default() }
}

fn encoder(encoder: ColumnEncoder) -> ColumnOverride {
    ColumnOverride { encoder: Some(encoder), ..ColumnOverride::default() }
}

fn refused(content: &str, columns: &[(&str, ColumnOverride)]) -> String {
    load_one(content, NUMBERS, with(columns)).expect_err("a wrong table")
}

/// The features of each row.
fn features(data: &Dataset) -> Vec<&[f32]> {
    (0..data.train.len()).map(|row| data.train.features_of(row)).collect()
}

fn kinds(data: &Dataset) -> Vec<(ColumnKind, &str)> {
    data.summary.kinds.iter().map(|found| (found.kind, found.why.as_str())).collect()
}

#[test]
fn kinds_are_inferred_and_encoded_in_order() {
    let content = "n,flag,c,when,y\n1.5,True,red,2024-03-01,1\n2,False,blue,2024-03-02,2\n,True,,2024-03-01,3\n3,False,red,2025-04-01,4\n";
    let data = load_one(content, NUMBERS, |spec| spec.missing = Missing::Mean).unwrap();
    let wanted = [
        (ColumnKind::Number, "numbers"),
        (ColumnKind::Boolean, "truth values"),
        (ColumnKind::Category, "texts"),
        (ColumnKind::Date, "dates as YYYY-MM-DD"),
    ];
    assert_eq!(kinds(&data), wanted);
    assert_eq!(data.schema.features[2].categories(), ["blue", "red"]);
    // Number, truth, blue, red, missing, then the parts of the date.
    assert_eq!((data.schema.inputs(), data.train.features), (9, 9));
    let rows = features(&data);
    assert_eq!(rows[0][..5], [1.5, 1.0, 0.0, 1.0, 0.0]);
    assert_eq!(rows[1][..5], [2.0, 0.0, 1.0, 0.0, 0.0]);
    assert_eq!(rows[2][1..5], [1.0, 0.0, 0.0, 1.0]);
    // Years 2024, 2024, 2024, 2025: mean 2024.25, deviation sqrt(3) / 4.
    let year = |year: f64| ((year - 2024.25) / 0.1875_f64.sqrt()) as f32;
    assert_eq!((rows[0][5], rows[3][5]), (year(2024.0), year(2025.0)));
    assert_eq!(rows[0][6], ((3.0 - 3.25) / 0.1875_f64.sqrt()) as f32);
    let json = serde_json::to_string(&data.schema).unwrap();
    assert_eq!(serde_json::from_str::<Schema>(&json).unwrap(), data.schema);
    assert!(!data.schema.is_of_the_first_form());
}

#[test]
fn numbers_and_truth_values_alone_are_kept_as_ever() {
    let data = loaded("a,b,y\n1,True,1\n0,False,2\n", &[]);
    assert_eq!(kinds(&data)[1].0, ColumnKind::Boolean);
    assert!(data.schema.is_of_the_first_form());
}

#[test]
fn a_text_far_below_is_read_again() {
    let mut content = "c,n,y\n".to_owned();
    // The first rows look like numbers; most are texts.
    for row in 0..1000 {
        let c = if row < 400 { row.to_string() } else { format!("t{}", row % 3) };
        let _ = writeln!(content, "{c},{row},{row}");
    }
    let data = loaded(&content, &[]);
    assert_eq!(kinds(&data)[0], (ColumnKind::Category, "texts, 40% numbers"));
    assert_eq!(data.schema.embeddings()[0].rows, 404);
}

#[test]
fn a_column_of_two_kinds_is_told_with_its_lines() {
    for (content, wanted) in [
        (
            "a,y\n1,1\nx,2\n3,3\nz,4\n5,5\n",
            "t.csv:3: column 1 (a): found \"x\" on line 3, \"z\" on line 5 in a column of numbers (3 of 5 cells in the \
             training rows); if they mean a missing cell, add the text to `data.missing_values`; if they are right, set \
             `data.columns.a = { kind = \"category\" }`",
        ),
        (
            "a,y\n2024-01-01,1\n2024-01-02,2\nsoon,3\n",
            "t.csv:4: column 1 (a): found \"soon\" on line 4 in a column of dates (2 of 3 cells in the training rows); write \
             all dates in one form, such as 2024-03-01; if it means a missing cell, add the text to `data.missing_values`; if it is right, set `data.columns.a = { kind = \
             \"category\" }`",
        ),
        (
            "a,y\n2024-01-01,1\n2024-01-02,2\n2024-01-02 10:00,3\n",
            "t.csv:4: column 1 (a): found \"2024-01-02 10:00\" on line 4 where most dates are as YYYY-MM-DD, wanted one form \
             in the column, not YYYY-MM-DD and YYYY-MM-DD HH:MM; write all in one, or set `data.columns.a = { kind = \
             \"category\" }`",
        ),
    ] {
        assert_eq!(refused(content, &[]), wanted);
        assert!(load_one(content, NUMBERS, with(&[("a", kind(ColumnKind::Category))])).is_ok());
    }
    let said = kind(ColumnKind::Date);
    assert_eq!(
        refused("a,y\n2024-01-01,1\n7,2\n", &[("a", said)]),
        "t.csv:3: column 1 (a): found \"7\" on line 3, wanted dates such as 2024-03-01 or 2024-03-01 12:30"
    );
}

#[test]
fn dates_have_one_of_several_forms() {
    let of = |cells: &[&str], columns: &[(&str, ColumnOverride)]| {
        let rows = cells.iter().enumerate().map(|(row, cell)| format!("{cell},{row}\n"));
        let content = format!("a,y\n{}", rows.collect::<String>());
        let data = load_one(&content, NUMBERS, with(columns))?;
        Ok::<_, String>((data.summary.kinds[0].why.clone(), data.train, data.schema))
    };
    let (_, wanted, _) = of(&["2024-03-01", "2024-12-31"], &[]).unwrap();
    let month = ColumnOverride { order: Some(DateOrder::MonthFirst), ..ColumnOverride::default() };
    for (cells, columns, form) in [
        (["2024/03/01", "2024/12/31"], vec![], "YYYY/MM/DD"),
        (["2024/3/1", "2024/12/31"], vec![], "YYYY/MM/DD"),
        (["01.03.2024", "31.12.2024"], vec![], "DD.MM.YYYY"),
        (["1/3/2024", "31/12/2024"], vec![], "DD/MM/YYYY"),
        (["3/1/2024", "12/31/2024"], vec![], "MM/DD/YYYY"),
        (["3-1-2024", "12-31-2024"], vec![("a", month)], "MM-DD-YYYY"),
        (["2024/03/01 00:00", "2024/12/31 00:00"], vec![], "YYYY/MM/DD HH:MM"),
        (["3/1/2024 0:30", "12/31/2024 0:59"], vec![], "MM/DD/YYYY HH:MM"),
    ] {
        let (why, rows, schema) = of(&cells, &columns).unwrap();
        assert_eq!((why.contains(form), &rows), (columns.is_empty(), &wanted), "{cells:?}: {why}");
        let json = serde_json::to_string(&schema).unwrap();
        assert_eq!(serde_json::from_str::<Schema>(&json).unwrap(), schema);
    }
    let refused =
        |cells: &[&str], columns: &[(&str, ColumnOverride)]| of(cells, columns).unwrap_err();
    assert_eq!(
        refused(&["3/4/2024", "5/6/2024"], &[]),
        "t.csv:2: column 1 (a): found \"3/4/2024\" on line 2, \"5/6/2024\" on line 3, dates as DD/MM/YYYY or MM/DD/YYYY, none of \
         which tells the day from the month; say which comes first: `data.columns.a = { order = \"day_first\" }` or \
         `data.columns.a = { order = \"month_first\" }`"
    );
    let mixed = refused(&["3/4/2024", "31/12/2024", "30/12/2024", "12/31/2024"], &[]);
    assert!(
        mixed.contains("found \"12/31/2024\" on line 5 where most dates are as DD/MM/YYYY"),
        "{mixed}"
    );
    let told = refused(&["3/4/2024", "31/12/2024"], &[("a", month)]);
    assert_eq!(
        told,
        "t.csv:3: column 1 (a): found \"31/12/2024\" on line 3, wanted the month first, as the column's `order` says"
    );
    let day = |order| ColumnOverride { order: Some(order), ..ColumnOverride::default() };
    let (_, first, schema) =
        of(&["3/4/2024", "5/6/2024"], &[("a", day(DateOrder::DayFirst))]).unwrap();
    let (_, second, _) = of(&["4/3/2024", "6/5/2024"], &[("a", month)]).unwrap();
    assert_eq!(first, second);
    // Whoever goes on with such a run reads its dates alike.
    assert_eq!(schema.settings()["a"].order, Some(DateOrder::DayFirst));
    let files = Files::new(&[("p.csv", "a\n13/4/2024\n"), ("q.csv", "a\n4/13/2024\n")]);
    assert!(schema.read(&files.csv("p.csv"), Want::Features).is_ok());
    assert!(schema.read(&files.csv("q.csv"), Want::Features).is_err());
}

/// A table of so many rows with one feature.
fn rows(name: &str, rows: usize, cell: impl Fn(usize) -> String) -> String {
    let mut content = format!("{name},y\n");
    for row in 0..rows {
        let _ = writeln!(content, "{},{row}", cell(row));
    }
    content
}

#[test]
fn codes_are_categories_and_counts_and_years_numbers() {
    let of = |name: &str, cell: &dyn Fn(usize) -> String| {
        let data = loaded(&rows(name, 200, cell), &[]);
        let found = &data.summary.kinds[0];
        (found.kind, found.why.clone(), data.schema.features[0].categories().to_vec())
    };
    let zip = |row: usize| format!("{:05}", [501, 2134, 10_001, 98_101][row % 4]);
    let (found, why, categories) = of("area", &zip);
    assert_eq!(
        (found, &categories[..]),
        (ColumnKind::Category, &["00501", "02134", "10001", "98101"].map(str::to_owned)[..])
    );
    assert_eq!(
        why,
        "codes: 4 different values of equally many digits, with zeros in front (`data.columns.area = { kind = \"number\" }` \
         for a number)"
    );
    // The first zero in front may come late, and cells may be missing.
    let late = |row: usize| match row {
        0..190 if row.is_multiple_of(7) => String::new(),
        0..190 => format!("{}", 10_000 + row % 5),
        _ => "00501".to_owned(),
    };
    assert_eq!(of("area", &late).0, ColumnKind::Category);
    let (found, why, _) = of("zip_code", &|row| (98_001 + row % 9).to_string());
    assert_eq!(found, ColumnKind::Category);
    assert!(why.starts_with("codes by its name: whole numbers, 9 different values"), "{why}");
    // As pandas writes whole numbers where a cell is missing.
    let pandas = |row: usize| if row == 3 { String::new() } else { format!("{}.0", row % 9) };
    let holes = |spec: &mut TableSpec| spec.missing = Missing::Mean;
    let data = load_one(&rows("StoreId", 200, pandas), NUMBERS, holes).unwrap();
    assert_eq!(data.schema.features[0].categories()[..2], ["0", "1"]);
    for (name, cell) in [
        ("year", &(|row: usize| (2000 + row % 9).to_string()) as &dyn Fn(usize) -> String),
        ("rooms", &|row| (row % 9).to_string()),
        ("zip_code", &|row| (98_001 + row % 50).to_string()),
        ("zip_code", &|row| format!("{}.5", row % 9)),
        ("id", &|row| row.to_string()),
        ("code", &|row| (row % 2).to_string()),
        ("share", &|row| format!("0{}.5", row % 9)),
        ("area", &|row| format!("{:05}", row)),
        ("area", &|row| format!("0{}", row % 12)),
        ("share", &|row| format!("0.{}", row % 9)),
    ] {
        let (found, why, _) = of(name, cell);
        assert_eq!((found, why.as_str()), (ColumnKind::Number, "numbers"), "{name}");
    }
    let number = loaded(&rows("area", 200, zip), &[("area", kind(ColumnKind::Number))]);
    assert_eq!(number.summary.kinds[0].kind, ColumnKind::Number);
    let filled = ColumnOverride { missing: Some(Missing::Mean), ..ColumnOverride::default() };
    let zip_code = rows("zip_code", 200, |row| (98_001 + row % 9).to_string());
    assert_eq!(
        loaded(&zip_code, &[("zip_code", filled)]).summary.kinds[0].kind,
        ColumnKind::Number
    );
}

/// What is a text in a held-out row alone is no category.
#[test]
fn training_rows_alone_say_what_a_column_is() {
    let files = Files::new(&[("t.csv", "a,y\n1,1\n2,2\n"), ("v.csv", "a,y\nx,1\n")]);
    let spec = TableSpec { validation: files.file("v.csv"), ..files.spec("t.csv") };
    let error = load(&spec, NUMBERS, 1).unwrap_err();
    assert!(
        files.message(&error).starts_with("v.csv:2: column 1 (a): found \"x\", wanted a number"),
        "{error}"
    );
}

#[test]
fn whole_numbers_are_categories_where_the_job_says_so() {
    let content = "a,y\n10,1\n2.0,2\n,3\n2,4\n";
    let data = loaded(content, &[("a", kind(ColumnKind::Category))]);
    assert_eq!(data.schema.features[0].categories(), ["2", "10"]);
    let wanted: [&[f32]; 4] =
        [&[0.0, 1.0, 0.0], &[1.0, 0.0, 0.0], &[0.0, 0.0, 1.0], &[1.0, 0.0, 0.0]];
    assert_eq!(features(&data), wanted);
}

#[test]
fn places_of_embedded_categories_come_after_all_numbers() {
    let embedded =
        ColumnOverride { dimension: Some(3), indicator: true, ..encoder(ColumnEncoder::Embedding) };
    let content = "c,n,d,y\nb,5,u,1\na,6,v,2\n,7,u,3\n";
    let data = loaded(content, &[("c", embedded), ("d", encoder(ColumnEncoder::Embedding))]);
    assert_eq!((data.schema.inputs(), data.train.features), (2, 4));
    let embedding =
        |name: &str, rows, dimension| EmbeddedColumn { name: name.to_owned(), rows, dimension };
    assert_eq!(data.schema.embeddings(), [embedding("c", 4, 3), embedding("d", 3, 1)]);
    // The indicator of `c`, then `n`, then the places of `c` and `d`.
    let wanted: [&[f32]; 3] = [&[0.0, 5.0, 2.0, 1.0], &[0.0, 6.0, 1.0, 2.0], &[1.0, 7.0, 3.0, 1.0]];
    assert_eq!(features(&data), wanted);
    let json = serde_json::to_string(&data.schema).unwrap();
    let schema: Schema = serde_json::from_str(&json).unwrap();
    assert_eq!(schema, data.schema);
    let files = Files::new(&[("p.csv", "d,x,n,c\nw,1,1,zz\nv,1,2,a\nw,1,3,b\n")]);
    let read = schema.read_counted(&files.csv("p.csv"), Want::Features).unwrap();
    assert_eq!(read.rows.values, [0.0, 1.0, 0.0, 0.0, 0.0, 2.0, 1.0, 2.0, 0.0, 3.0, 2.0, 0.0]);
    let unseen: Vec<String> = read.unseen.iter().map(ToString::to_string).collect();
    assert_eq!(
        unseen,
        [
            "feature \"c\": 1 row has a category that no training row has (\"zz\")",
            "feature \"d\": 2 rows have a category that no training row has (\"w\")",
        ]
    );
}

#[test]
fn up_to_16_categories_are_inputs_and_more_are_embedded() {
    let table = |categories: usize| {
        let row = |row: usize| format!("c{row},{row}\n");
        format!("c,y\n{}", (0..categories).map(row).collect::<String>())
    };
    let data = loaded(&table(16), &[]);
    assert_eq!((data.schema.inputs(), data.schema.embeddings().len()), (16, 0));
    let data = loaded(&table(17), &[]);
    assert_eq!(data.schema.inputs(), 0);
    assert_eq!((data.schema.embeddings()[0].rows, data.schema.embeddings()[0].dimension), (18, 9));
    assert_eq!(loaded(&table(150), &[]).schema.embeddings()[0].dimension, 50);
    let data = loaded(&table(150), &[("c", encoder(ColumnEncoder::OneHot))]);
    assert_eq!(data.schema.inputs(), 150);
    assert!(
        data.warnings[0].contains("feature \"c\" has a value of its own in every row"),
        "{:?}",
        data.warnings
    );
}

#[test]
fn missing_texts() {
    let content = "c,when,y\na,2024-01-01,1\n,2024-01-03,2\nb,,3\n";
    let error = refused(content, &[]);
    assert_eq!(
        error,
        "t.csv:4: column 2 (when): found a missing cell, wanted a date; give it one, or train with another rule in \
         `data.columns.when.missing`"
    );
    let rule = |missing| ColumnOverride { missing: Some(missing), ..ColumnOverride::default() };
    let data =
        loaded(content, &[("when", ColumnOverride { indicator: true, ..rule(Missing::Mean) })]);
    // The mean of the first and the third is the second of January, a Tuesday.
    let day = 86_400.0;
    assert_eq!(data.schema.features[1].fill(), Some(19_724.0 * day));
    assert_eq!(features(&data).iter().map(|row| row[7]).collect::<Vec<_>>(), [0.0, 0.0, 1.0]);
    for missing in [rule(Missing::Drop), rule(Missing::Error)] {
        let data =
            load_one(content, NUMBERS, with(&[("c", missing), ("when", rule(Missing::Median))]));
        match missing.missing {
            Some(Missing::Drop) => assert_eq!(data.unwrap().train.len(), 2),
            _ => assert!(
                data.unwrap_err()
                    .contains("t.csv:3: column 1 (c): found a missing cell, wanted a category")
            ),
        }
    }
    let data = load_one(content, NUMBERS, |spec| spec.missing = Missing::Drop).unwrap();
    assert_eq!(data.train.len(), 1);
    let error = refused(content, &[("c", rule(Missing::Mean)), ("when", rule(Missing::Drop))]);
    assert!(error.contains("`missing = \"mean\"` for a column of categories"), "{error}");
}

#[test]
fn a_model_reads_texts_as_it_was_trained() {
    let data = loaded("c,when,n,y\na,2024-01-01 10:00,1,1\nb,2024-01-03 12:00,2,2\n", &[]);
    assert_eq!(data.schema.inputs(), 2 + 5 + 1);
    for (content, wanted) in [
        (
            "c,when,n\na,2024-01-01,1\n",
            "p.csv:2: column 2 (when): found \"2024-01-01\", wanted a date as YYYY-MM-DD HH:MM",
        ),
        ("c,when,n\na,,1\n", "p.csv:2: column 2 (when): found a missing cell, wanted a date"),
        (
            "c,when,n\na,2024-01-01 10:00,x\n",
            "p.csv:2: column 3 (n): found \"x\", wanted a number; the model was trained with",
        ),
        ("c,n\na,1\n", "p.csv: found no column \"when\", a feature of the model"),
    ] {
        let files = Files::new(&[("p.csv", content)]);
        let error = data.schema.read(&files.csv("p.csv"), Want::Features).unwrap_err();
        assert!(files.message(&error).starts_with(wanted), "{}", files.message(&error));
    }
}

#[test]
fn what_cannot_be_said_of_a_column() {
    let content = "c,n,y\na,1,1\nb,2,2\n";
    let scaled =
        ColumnOverride { scale: Some(scale_named("standard")), ..ColumnOverride::default() };
    for (name, said, wanted) in [
        (
            "c",
            ColumnOverride { kind: Some(ColumnKind::Category), ..scaled },
            "found `scale` for a column of kind category",
        ),
        ("c", scaled, "found \"a\", wanted a number; the job says that the column has numbers"),
        (
            "n",
            kind(ColumnKind::Boolean),
            "found numbers from 1 to 2, wanted truth values or 0 and 1",
        ),
        ("y", kind(ColumnKind::Number), "found a kind or an encoder for a target"),
        (
            "c",
            ColumnOverride { dimension: Some(2), ..encoder(ColumnEncoder::OneHot) },
            "found `dimension`",
        ),
        (
            "n",
            ColumnOverride { kind: Some(ColumnKind::Number), ..encoder(ColumnEncoder::Date) },
            "found `encoder`",
        ),
    ] {
        let error = refused(content, &[(name, said)]);
        assert!(error.contains(wanted), "{error}");
    }
    let data = loaded(content, &[("c", encoder(ColumnEncoder::Ignore))]);
    assert_eq!(data.train.values, [1.0, 1.0, 2.0, 2.0]);
}

#[test]
fn categories_that_training_never_saw_are_warned_of() {
    let files = Files::new(&[("t.csv", "c,y\na,1\nb,2\n"), ("v.csv", "c,y\nx,1\na,2\n")]);
    let spec = TableSpec {
        validation: Some(TableSource::File(files.csv("v.csv"))),
        ..files.spec("t.csv")
    };
    let data = load(&spec, NUMBERS, 1).unwrap();
    assert_eq!(data.validation.unwrap().values, [0.0, 0.0, 1.0, 1.0, 0.0, 2.0]);
    let wanted = "feature \"c\": 1 row has a category that no training row has (\"x\")";
    assert!(data.warnings.iter().any(|warning| warning.ends_with(wanted)), "{:?}", data.warnings);
}

#[test]
fn a_feature_that_is_the_target_is_warned_of() {
    let row = |row: usize| format!("{},{},{}\n", row * 7 % 13, row % 5, row * 7 % 13);
    let content = format!("a,b,y\n{}", (0..60).map(row).collect::<String>());
    let leak = "feature \"a\" is the same as target \"y\" in every row: nothing else will be learned; leave it out \
                (`data.columns.a = { encoder = \"ignore\" }`)";
    assert_eq!(loaded(&content, &[]).warnings, [leak]);
    let row = |row: usize| format!("{},{},{}\n", ["p", "q"][row % 2], row % 5, ["p", "q"][row % 2]);
    let content = format!("a,b,y\n{}", (0..60).map(row).collect::<String>());
    let kind = TargetKind::Classes { outputs: 2 };
    assert_eq!(load_one(&content, kind, |_| {}).unwrap().warnings, [leak]);
}

#[test]
fn numbers_that_are_the_labels_are_warned_of() {
    let table = |number: fn(usize) -> usize, label: fn(usize) -> String| {
        let row = |row: usize| format!("{},{},{}\n", number(row), row % 5, label(row));
        format!("a,b,y\n{}", (0..60).map(row).collect::<String>())
    };
    let warnings = |content: &str, outputs: usize| {
        let kind = TargetKind::Classes { outputs };
        load_one(content, kind, |_| {}).unwrap().warnings
    };
    let advice =
        "nothing else will be learned; leave it out (`data.columns.a = { encoder = \"ignore\" }`)";
    let same = format!("feature \"a\" is the same as target \"y\" in every row: {advice}");
    assert_eq!(warnings(&table(|row| row % 2, |row| (row % 2).to_string()), 2), [same]);
    let goes_with = format!(
        "feature \"a\" has one value for each value of target \"y\" in every row: {advice}"
    );
    let label = |row: usize| ["p", "q", "r"][row % 3].to_string();
    assert_eq!(warnings(&table(|row| 10 * (row % 3), label), 3), [goes_with]);
    // One row tells them apart.
    assert!(warnings(&table(|row| if row == 59 { 0 } else { row % 3 }, label), 3).is_empty());
    // Numbers that no two rows share go with anything.
    assert!(warnings(&table(|row| row, label), 3).is_empty());
}
