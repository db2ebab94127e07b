//! What the columns of a table hold before a job says what they are for, and what is odd once it does.

use lockstep_data::{
    ColumnOverride, Detail, Dialect, Missing, OpenedTable, Repeats, Scale, SeenCells, Survey,
    TargetKind, load,
};

use crate::Files;

/// Rows that have everything: numbers, truth values, texts, dates, holes, strays.
fn table() -> String {
    let mut text = "n,t,c,d,h,s,inf,y\n".to_owned();
    for row in 0..60 {
        let hole = if row % 4 == 0 { String::new() } else { (row * row).to_string() };
        let stray = if row == 40 { "off".to_owned() } else { format!("{row}.5") };
        let odd = if row == 50 { "inf" } else { "1" };
        text.push_str(&format!(
            "{},{},{},2024-01-{:02},{hole},{stray},{odd},{}\n",
            row % 6,
            ["true", "false"][row % 2],
            ["a", "b", "c"][row % 3],
            row % 28 + 1,
            ["p", "q"][row % 2],
        ));
    }
    text
}

fn surveyed(files: &Files, name: &str) -> (OpenedTable, Survey) {
    let table = OpenedTable::open(&files.csv(name), &Dialect::default()).expect("a table");
    let target = table.columns().len() - 1;
    let survey = table.survey(&[target]).expect("a table that can be read");
    (table, survey)
}

#[test]
fn every_column_is_seen() {
    let files = Files::new(&[("t.csv", &table())]);
    let (table, survey) = surveyed(&files, "t.csv");
    assert_eq!(survey.rows, 60);
    let [n, t, c, d, h, s, inf, y] = &survey.columns[..] else { panic!("{survey:?}") };
    let numbers = |cells: &SeenCells| match cells {
        SeenCells::Numbers(numbers) => numbers.clone(),
        other => panic!("{other:?}"),
    };
    let texts = |cells: &SeenCells| match cells {
        SeenCells::Texts(texts) => texts.clone(),
        other => panic!("{other:?}"),
    };
    let seen = numbers(&n.cells);
    assert_eq!((n.distinct, seen.min, seen.max, seen.mean), (6, 0.0, 5.0, 2.5));
    assert_eq!(seen.quartiles, [1.0, 2.5, 4.0]);
    assert!(seen.are_whole && !seen.is_truth && seen.skewness.abs() < 1e-12);
    assert_eq!(seen.values.unwrap()[..2], [(0.0, 10), (1.0, 10)]);
    assert!(numbers(&t.cells).is_truth);
    assert_eq!(t.repeats, Some(Repeats::Renamed));
    assert_eq!(texts(&c.cells).common[0], ("a".to_owned(), 20));
    assert_eq!(
        (texts(&d.cells).dates, texts(&d.cells).date_forms),
        (60, vec!["YYYY-MM-DD".into()])
    );
    assert_eq!((h.missing, h.distinct), (15, 45));
    let strays = texts(&s.cells).strays.unwrap();
    assert_eq!((strays.rows, strays.common), (1, vec!["off".to_owned()]));
    assert!(matches!(&inf.cells, SeenCells::Unreadable(problem) if problem.contains("finite")));
    assert_eq!((y.repeats, texts(&y.cells).rows_of_rarest), (None, 30));
    assert_eq!(table.labels(7).unwrap(), [("p".to_owned(), 30), ("q".to_owned(), 30)]);
}

#[test]
fn what_the_job_asks_for_is_no_warning() {
    let files = Files::new(&[("t.csv", "a,y\n1,1\n,2\n3,\n4,3\n")]);
    let column = |missing, indicator| ColumnOverride {
        missing: Some(missing),
        indicator,
        ..ColumnOverride::default()
    };
    let warnings = |indicator| {
        let mut spec = files.spec("t.csv");
        spec.scale = Scale::named("standard").unwrap();
        spec.columns = [
            ("a".to_owned(), column(Missing::Median, indicator)),
            ("y".to_owned(), column(Missing::Drop, false)),
        ]
        .into();
        load(&spec, TargetKind::Numbers, 0, Detail::Full).unwrap().warnings
    };
    assert_eq!(warnings(true), [""; 0]);
    assert!(warnings(false)[0].contains("filled 1 missing cell"));
}

#[test]
fn classes_with_few_rows_are_told() {
    let rows = |labels: &[&str]| {
        let rows: Vec<String> =
            labels.iter().enumerate().map(|(row, label)| format!("{row}.5,{label}")).collect();
        Files::new(&[("t.csv", &format!("a,y\n{}\n", rows.join("\n")))])
    };
    let warnings = |files: Files, outputs| {
        load(&files.spec("t.csv"), TargetKind::Classes { outputs }, 0, Detail::Usual)
            .unwrap()
            .warnings
    };
    let few = warnings(rows(&[&["p"; 20][..], &["q"; 4]].concat()), 2);
    assert!(few[0].contains("fewer than 5 rows to learn from of \"q\""), "{few:?}");
    let many = warnings(rows(&["a", "b", "c", "d"]), 4);
    assert!(many[0].contains("4 classes in 4 rows, too few rows of each"), "{many:?}");
    assert_eq!(warnings(rows(&["p", "q"].repeat(5)), 2), [""; 0]);
}

#[test]
fn numbers_that_may_stand_for_missing_cells_are_told() {
    let rows = (0..200).map(|row| match row % 20 {
        7 => format!("-999,{row}\n"),
        _ => format!("{}.5,{row}\n", row % 40),
    });
    let files = Files::new(&[("t.csv", &format!("a,y\n{}", rows.collect::<String>()))]);
    let warnings = |listed: Option<Vec<String>>, detail| {
        let mut spec = files.spec("t.csv");
        spec.scale = Scale::named("standard").unwrap();
        spec.missing = Missing::Mean;
        spec.dialect.missing_values = listed;
        load(&spec, TargetKind::Numbers, 0, detail).unwrap().warnings
    };
    let found = warnings(None, Detail::Full);
    let wanted = "feature \"a\": 10 rows have -999, far below all others: if it stands for a missing cell, set \
                  `data.missing_values = [\"-999\", \"-999.0\"]`";
    assert!(found.iter().any(|warning| warning.starts_with(wanted)), "{found:?}");
    let of =
        |found: Vec<String>| found.iter().filter(|warning| warning.contains("far below")).count();
    assert_eq!(of(warnings(None, Detail::Usual)), 0);
    assert_eq!(of(warnings(Some(vec!["-999".to_owned()]), Detail::Full)), 0);
}
