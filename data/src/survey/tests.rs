//! Tables that are seen some columns at a time.

use std::fmt::Write as _;
use std::path::PathBuf;

use super::*;

/// A table of more columns than are looked at at once, of every kind, two of which cannot be read.
#[test]
fn wide_tables_are_seen_in_groups() {
    const COLUMNS: usize = 2_000;
    const ROWS: usize = 60;
    let name = |column| if column == 1_999 { "y".to_owned() } else { format!("c{column}") };
    let mut text = (0..COLUMNS).map(name).collect::<Vec<_>>().join(",");
    for row in 0..ROWS {
        text.push('\n');
        for column in 0..COLUMNS {
            let number = (row * 37 + column * 11) % 101;
            match column {
                _ if column % 500 == 7 && row == 50 => text.push_str("1e999,"),
                1_999 => write!(text, "{}", row % 7).unwrap(),
                // Repeats the target.
                1_500 => write!(text, "{},", row % 7).unwrap(),
                _ if column % 10 == 1 => write!(text, "t{},", number % 5).unwrap(),
                _ if column % 10 == 2 && row % 3 == 0 => text.push(','),
                _ => write!(text, "{number},").unwrap(),
            }
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let path: PathBuf = folder.path().join("wide.csv");
    std::fs::write(&path, text).unwrap();
    let table = OpenedTable::open(&TableFile::at(path), &Dialect::default()).unwrap();
    let whole = table.survey(&[1_999]).unwrap();
    assert_eq!((whole.rows, whole.columns.len()), (60, COLUMNS));
    let seen = |column: usize| &whole.columns[column].cells;
    assert!((0..4).all(|at| matches!(seen(500 * at + 7), SeenCells::Unreadable(_))));
    assert!(matches!(seen(11), SeenCells::Texts(_)) && matches!(seen(3), SeenCells::Numbers(_)));
    assert_eq!(whole.columns[2].missing, 20);
    assert_eq!(whole.columns[1_500].repeats, Some(Repeats::Same));
    for columns_at_once in [64, 1_999] {
        let found = table.survey_in_groups(&[1_999], columns_at_once * ROWS).unwrap();
        assert!(found == whole, "{columns_at_once} columns at a time");
    }
}

/// In a table so long that each is read by itself, too.
#[test]
fn one_column_that_cannot_be_read_is_not_the_table() {
    let survey = |text: &str| {
        let folder = tempfile::tempdir().unwrap();
        let path: PathBuf = folder.path().join("long.csv");
        std::fs::write(&path, text).unwrap();
        let table = OpenedTable::open(&TableFile::at(path), &Dialect::default()).unwrap();
        table.survey_in_groups(&[2], 1)
    };
    let found = survey("a,b,y\n1,1e999,2\n3,4,5\n").unwrap();
    assert!(matches!(found.columns[0].cells, SeenCells::Numbers(_)));
    assert!(matches!(found.columns[1].cells, SeenCells::Unreadable(_)));
    let refused = survey("a,b,y\n1e999,1e999,2\n3,4,5\n").err().map(|error| error.to_string());
    assert!(refused.unwrap().contains("found \"1e999\""));
}
