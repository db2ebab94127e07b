//! Decisions on small tables: what is predicted, from what, and what is said of it.

use std::path::PathBuf;

use lockstep_data::{ColumnKind, TableFile};

use super::*;

/// What is proposed for a table, or why there is nothing.
fn propose_for(csv: &str, targets: &[&str], kind: Option<Kind>) -> Result<Proposal> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("table.csv");
    std::fs::write(&path, csv).unwrap();
    propose(&Request {
        table: TableFile::at(path),
        table_as_toml: "\"table.csv\"".to_string(),
        test_as_toml: None,
        targets: targets.iter().map(ToString::to_string).collect(),
        kind,
        job: PathBuf::from("job.toml"),
        name: None,
    })
}

fn proposed(csv: &str) -> Proposal {
    propose_for(csv, &[], None).unwrap()
}

/// A table of so many rows, each made of its number.
fn table(header: &str, rows: usize, row: impl Fn(usize) -> String) -> String {
    let rows: Vec<String> = (0..rows).map(row).collect();
    format!("{header}\n{}\n", rows.join("\n"))
}

/// A number without a pattern, from 0 to 1.
fn noise(row: usize) -> f64 {
    (((row as f64 + 1.0) * 12.9898).sin() * 43_758.547).rem_euclid(1.0)
}

fn feature<'a>(proposal: &'a Proposal, name: &str) -> &'a Feature {
    proposal.features.iter().find(|feature| feature.name == name).unwrap()
}

#[test]
fn the_target_is_the_one_that_people_expect() {
    let of = |header: &str, wanted: &[&str]| {
        let columns = header.split(',').count();
        let cells = |row| (0..columns).map(move |at| noise(row * columns + at).to_string());
        let csv = table(header, 60, |row| cells(row).collect::<Vec<_>>().join(","));
        let proposal = propose_for(&csv, wanted, None).unwrap();
        (
            proposal.targets.iter().map(|target| target.name.clone()).collect::<Vec<_>>(),
            proposal.why_targets,
        )
    };
    for (header, wanted, name, why) in [
        ("a,b,c", &[][..], "c", "the last column"),
        ("a,Target,c", &[], "Target", "by its name"),
        ("a,price,x,y,z", &[], "price", "by its name"),
        ("x,y,z", &[], "z", "the last column"),
        ("y,a,b", &[], "y", "by its name"),
        ("a,target,c", &["a"], "a", "as told by --target"),
    ] {
        assert_eq!(of(header, wanted), (vec![name.to_string()], why.to_string()), "{header}");
    }
    assert_eq!(of("a,b,c", &["a", "c"]).0, ["a", "c"]);
}

#[test]
fn whole_numbers_are_classes_only_from_0_on() {
    let of = |target: &dyn Fn(usize) -> String, kind| {
        let csv = table("a,t", 100, |row| format!("{},{}", noise(row + 11), target(row)));
        let proposal = propose_for(&csv, &[], kind).unwrap();
        (proposal.task, proposal.why_task)
    };
    let task = |target: &dyn Fn(usize) -> String| of(target, None).0;
    assert_eq!(task(&|row| (row % 2).to_string()), Task::Binary);
    assert_eq!(task(&|row| (row % 3).to_string()), Task::Classes(3));
    assert_eq!(task(&|row| (row % 3 + 1).to_string()), Task::Regression);
    assert_eq!(task(&|row| (row % 40).to_string()), Task::Regression);
    assert_eq!(task(&|row| ["no", "yes"][row % 2].to_string()), Task::Binary);
    assert_eq!(task(&|row| ["True", "False"][row % 2].to_string()), Task::Binary);
    assert_eq!(task(&|row| ["a", "b", "c"][row % 3].to_string()), Task::Classes(3));
    assert_eq!(task(&|row| noise(row).to_string()), Task::Regression);
    let (task, why) = of(&|row| (row % 3 + 1).to_string(), Some(Kind::Classification));
    assert_eq!((task, why.as_str()), (Task::Classes(3), "as told by --kind"));
    let (task, _) = of(&|row| (row % 3).to_string(), Some(Kind::Regression));
    assert_eq!(task, Task::Regression);
    let (_, why) = of(&|row| (row % 3).to_string(), None);
    assert!(why.contains("--kind regression"), "{why}");
    let (_, why) = of(&|row| (row % 3 + 1).to_string(), None);
    assert!(why.contains("--kind classification"), "{why}");
}

#[test]
fn a_target_that_cannot_be_learned_is_refused() {
    let refused = |target: &dyn Fn(usize) -> String, kind| {
        let csv = table("a,t", 100, |row| format!("{},{}", noise(row), target(row)));
        propose_for(&csv, &[], kind).unwrap_err().to_string()
    };
    for (target, kind, wanted) in [
        (&(|_| "7".to_string()) as &dyn Fn(usize) -> String, None, "the same value in every row"),
        (&|_| String::new(), None, "no value in any row"),
        (&|row| format!("2024-01-{:02}", row % 28 + 1), None, "has dates"),
        (&|row| format!("name {row}"), None, "100 classes in 100 rows"),
        (
            &|row| if row == 3 { "x".into() } else { row.to_string() },
            None,
            "texts in 1 cell (\"x\")",
        ),
        (&|row| ["a", "b"][row % 2].to_string(), Some(Kind::Regression), "wanted numbers"),
    ] {
        let found = refused(target, kind);
        assert!(found.contains(wanted), "{found}");
    }
    let unknown = propose_for("a,b\n1,2\n", &["c"], None).unwrap_err().to_string();
    assert!(unknown.contains("found no column \"c\""), "{unknown}");
    let alone = propose_for("a\n1\n2\n", &[], None).unwrap_err().to_string();
    assert!(alone.contains("found one column"), "{alone}");
}

/// A table with everything that is of no use, or needs a word.
fn traps() -> Proposal {
    let header = ",user_id,name,size,group,const,odd,empty,seen,when,flag,mixed,holes,cents,same,twice,twice,price";
    let csv = table(header, 200, |row| {
        let price = 100.0 + 50.0 * noise(row);
        let mixed = if row % 20 == 3 { "unknown".to_string() } else { noise(row + 7).to_string() };
        let holes = if row % 5 == 1 { String::new() } else { noise(row + 9).to_string() };
        let seen = if row % 3 == 0 { "9" } else { "" };
        let (size, group) = (noise(row + 1), ["a", "b", "c"][row % 3]);
        format!(
            "{row},{},n{row},{size},{group},5,{},,{seen},2024-{:02}-{:02},{},{mixed},{holes},{},{price},1,2,{price}",
            row * 7919 + 13,
            u8::from(row == 70),
            row % 12 + 1,
            row % 28 + 1,
            ["true", "false"][row % 2],
            price * 100.0
        )
    });
    proposed(&csv)
}

#[test]
fn columns_that_teach_nothing_are_left_out_with_the_reason() {
    let proposal = traps();
    for (name, why) in [
        ("", "like an identifier"),
        ("user_id", "like an identifier"),
        ("name", "200 texts in 200 rows"),
        ("const", "the same value"),
        ("odd", "all rows but 1"),
        ("empty", "no value"),
        ("cents", "it lies on one straight line with target"),
        ("same", "it is the same as target"),
        ("twice", "two columns have this name"),
    ] {
        let found = feature(&proposal, name);
        assert!(found.is_ignored(), "{found:?}");
        assert!(found.why.as_deref().is_some_and(|found| found.contains(why)), "{found:?}");
    }
    for name in ["size", "group", "seen", "when", "flag", "mixed", "holes"] {
        assert!(!feature(&proposal, name).is_ignored(), "{name}");
    }
    assert!(!proposal.text.contains("\nsize = ") && !proposal.text.contains("\ngroup = "));
    for line in [
        "\"\" = { encoder = \"ignore\" }",
        "missing = \"median\"",
        "seen = { kind = \"category\" }",
        "holes = { indicator = true }  # 40 cells missing",
        "missing_values = [\"unknown\", \"?\"",
        "price = { scale = \"standard\" }",
    ] {
        assert!(proposal.text.contains(line), "{line}\n{}", proposal.text);
    }
}

#[test]
fn texts_become_what_their_number_allows() {
    let csv = table("few,many,rare,y", 400, |row| {
        format!("c{},m{},r{},{}", row % 4, row % 40, row % 200, noise(row))
    });
    let proposal = proposed(&csv);
    assert_eq!(feature(&proposal, "few").becomes(), "4 inputs");
    assert_eq!(feature(&proposal, "many").becomes(), "embedding of 7");
    assert_eq!(feature(&proposal, "rare").becomes(), "left out");
}

#[test]
fn rows_without_a_target_are_left_out_and_targets_near_1_stay_as_they_are() {
    let csv = table("a,y", 100, |row| match row % 10 {
        0 => format!("{},", noise(row)),
        _ => format!("{},{}", noise(row), 4.0 * noise(row + 3) - 2.0),
    });
    let proposal = proposed(&csv);
    assert_eq!((proposal.rows, proposal.targets[0].missing), (90, 10));
    assert!(!proposal.targets[0].is_scaled);
    assert!(proposal.text.contains("y = { missing = \"drop\" }"), "{}", proposal.text);
}

#[test]
fn a_few_rows_make_a_job_as_well() {
    for rows in [10, 11, 17, 30] {
        let csv = table("a,y", rows, |row| format!("{},{}", noise(row), noise(row + 5)));
        let training = proposed(&csv).training;
        assert!(training.batch_size <= training.rows, "{training:?}");
        assert!(training.decay_steps > 0 && training.warmup_steps > 0, "{training:?}");
    }
}

#[test]
fn names_with_quotes_and_line_ends_make_a_job_that_can_be_read() {
    let csv = table("\"a \"\"b\"\"\",\"c\nd\",\"k = 1 # x\",y", 80, |row| {
        format!("1,{},{},{}", row, noise(row), ["\"p\nq\"", "\"r\"\"\""][row % 2])
    });
    let proposal = proposed(&csv);
    assert_eq!(proposal.task, Task::Binary);
    assert!(feature(&proposal, "c\nd").is_ignored());
}

#[test]
fn images_need_their_labels() {
    let folder = tempfile::tempdir().unwrap();
    let (images, labels) = (folder.path().join("i.idx"), folder.path().join("l.idx"));
    let file = |header: &[u32], values: Vec<u8>| {
        let header: Vec<u8> = header.iter().flat_map(|number| number.to_be_bytes()).collect();
        [header, values].concat()
    };
    let pixels = (0..60 * 4).map(|at| (noise(at) * 255.0) as u8);
    std::fs::write(&images, file(&[0x0803, 60, 2, 2], pixels.collect())).unwrap();
    let classes = (0..60).map(|row| (row % 3) as u8);
    std::fs::write(&labels, file(&[0x0801, 60], classes.collect())).unwrap();
    let of = |labels: Option<PathBuf>| {
        propose(&Request {
            table: TableFile::guess(images.clone(), labels),
            table_as_toml: "{ images = \"i.idx\", labels = \"l.idx\" }".to_string(),
            test_as_toml: None,
            targets: Vec::new(),
            kind: None,
            job: PathBuf::from("job.toml"),
            name: None,
        })
    };
    let refused = of(None).unwrap_err().to_string();
    assert!(refused.contains("--labels"), "{refused}");
    let proposal = of(Some(labels)).unwrap();
    assert_eq!((proposal.task, proposal.features.len()), (Task::Classes(3), 0));
    assert!(proposal.text.contains("scale = { divide = 255 }"), "{}", proposal.text);
}

/// `01` and `1` are two labels, unless somebody says that they are numbers.
#[test]
fn spellings_of_one_number_are_labels() {
    let csv = table("a,t", 100, |row| format!("{},{}", noise(row), ["01", "1"][row % 2]));
    let proposal = proposed(&csv);
    assert_eq!((proposal.task, proposal.targets[0].classes.len()), (Task::Binary, 2));
    let error = propose_for(&csv, &[], Some(Kind::Regression)).unwrap_err().to_string();
    assert!(error.contains("the same value in every row"), "{error}");
}

#[test]
fn columns_that_nearly_give_the_target_away_are_named() {
    let csv = table("x,rounded,group,label,price", 400, |row| {
        let price = 1_000.0 * noise(row) + noise(row + 500);
        let class = ["low", "high"][usize::from(price > 500.0)];
        format!("{},{:.0},{},{class},{price}", noise(row + 1_000), price / 10.0, row % 3)
    });
    let proposal = propose_for(&csv, &["price"], None).unwrap();
    let [note] = &proposal.notes[..] else { panic!("{:?}", proposal.notes) };
    assert!(note.starts_with("column \"rounded\" nearly gives target \"price\" away: "), "{note}");
    assert!(!feature(&proposal, "rounded").is_ignored());
    let csv = table("x,code,label", 400, |row| {
        let is_high = row % 2 == 1;
        let code = if row == 7 { "A" } else { ["A", "B"][usize::from(is_high)] };
        format!("{},{code},{}", noise(row), ["low", "high"][usize::from(is_high)])
    });
    let proposal = proposed(&csv);
    assert!(proposal.notes[0].contains("but for 1 of 400 rows"), "{:?}", proposal.notes);
}

/// The text that no column can be read from is told, and not only left out.
#[test]
fn dates_in_several_forms_and_columns_that_cannot_be_read_are_told() {
    let csv = table("x,when,y", 90, |row| {
        let (month, day) = (row / 28 + 1, row % 28 + 1);
        let time = if row % 3 == 0 { "T10:00" } else { "" };
        format!("{},2024-{month:02}-{day:02}{time},{}", noise(row + 7), noise(row))
    });
    let proposal = proposed(&csv);
    let why = feature(&proposal, "when").why.clone().unwrap();
    assert!(
        why.starts_with("dates in more than one form (YYYY-MM-DD and YYYY-MM-DDTHH:MM)"),
        "{why}"
    );
    assert!(why.contains("write all in one form"), "{why}");
}

#[test]
fn codes_are_categories() {
    let csv = table("zip,store_id,year,y", 1_000, |row| {
        format!("{:05},{},{},{}", 501 + 37 * (row % 30), row % 12 + 3, 2_000 + row % 9, noise(row))
    });
    let proposal = proposed(&csv);
    assert_eq!(feature(&proposal, "zip").becomes(), "embedding of 6");
    assert_eq!(feature(&proposal, "store_id").becomes(), "12 inputs");
    assert_eq!(feature(&proposal, "year").becomes(), "standard");
    assert!(feature(&proposal, "zip").why.as_deref().unwrap().starts_with("codes: 30 different"));
}

/// The job says what a column is that could not be read as what it seems, or with its missing cells.
#[test]
fn columns_that_only_the_job_can_read_are_said_to_be_categories() {
    let csv = table("store_id,share,y", 300, |row| {
        let store = if row % 9 == 4 { String::new() } else { (row % 12 + 3).to_string() };
        format!("{store},{}%,{}", 10 * (row % 5), noise(row))
    });
    let proposal = proposed(&csv);
    for name in ["store_id", "share"] {
        assert_eq!(feature(&proposal, name).said.kind, Some(ColumnKind::Category), "{name}");
    }
}

/// One cell among hundreds is no reason to leave a column out.
#[test]
fn a_number_for_people_is_taken_for_missing_where_it_is_alone() {
    let csv = table("size,y", 300, |row| match row {
        7 => format!("\"1,234.5\",{}", noise(row)),
        _ => format!("{},{}", noise(row + 300), noise(row)),
    });
    let proposal = proposed(&csv);
    let size = feature(&proposal, "size");
    assert!(!size.is_ignored() && size.missing == 1, "{size:?}");
}

#[test]
fn decimal_commas_are_found_and_other_numbers_for_people_told() {
    let csv = table("size;cost;share;when;y", 200, |row| {
        let comma = |value: f64| format!("{value:.3}").replace('.', ",");
        let when = format!("{:02}/{:02}/2024", row % 9 + 1, row % 7 + 1);
        format!(
            "{};$ {row}.000;{}%;{when};{}",
            comma(noise(row)),
            row % 90,
            comma(9.0 * noise(row + 7))
        )
    });
    let proposal = proposed(&csv);
    assert_eq!((proposal.decimal, proposal.task), (',', Task::Regression));
    assert!(proposal.text.contains("\ndecimal = \",\"  # "), "{}", proposal.text);
    assert!(!feature(&proposal, "size").is_ignored());
    for (name, why) in [
        ("cost", "without the sign of a currency"),
        ("share", "without a percent sign"),
        ("when", "say which comes first"),
    ] {
        let found = feature(&proposal, name);
        assert!(found.is_ignored() && found.why.as_deref().unwrap().contains(why), "{found:?}");
    }
    let points = table("size;b;y", 60, |row| format!("{row},5;{};{}", noise(row + 99), noise(row)));
    assert_eq!(proposed(&points).decimal, '.');
}

#[test]
fn a_number_that_stands_for_missing_cells_is_taken_for_it() {
    let of = |other: f64| {
        let csv = table("a,b,y", 300, |row| {
            let a = if row % 10 == 3 { -999.0 } else { noise(row) };
            format!("{a:?},{},{}", other * noise(row + 300), noise(row + 9))
        });
        proposed(&csv)
    };
    let proposal = of(1.0);
    let a = feature(&proposal, "a");
    assert_eq!((a.missing, a.distinct, a.said.indicator), (30, 270, true));
    assert!(a.why.as_deref().unwrap().starts_with("-999 is taken for missing: 30 cells"), "{a:?}");
    assert!(
        proposal.text.contains("missing_values = [\"-999\", \"-999.0\", \"?\""),
        "{}",
        proposal.text
    );
    // It may be a number like any other in another column.
    assert_eq!(feature(&of(-2_000.0), "a").missing, 0);
}
