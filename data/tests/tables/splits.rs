//! Fractions of tables of classes: every class has its share, and what is said where it has too few rows.

use lockstep_data::{TableSource, TableSpec, TargetKind, TargetSummary};

use crate::{Files, load, load_one};

/// Thirty rows of `p`, ten of `q`, one of `odd`, in an order that depends on nothing.
fn content() -> String {
    let mut content = "a,y\n".to_owned();
    for row in 0..41 {
        let label = match row {
            20 => "odd",
            _ if row % 4 == 1 => "q",
            _ => "p",
        };
        content.push_str(&format!("{row},{label}\n"));
    }
    content
}

fn halves(spec: &mut TableSpec) {
    spec.test = Some(TableSource::Fraction(0.2));
    spec.validation = Some(TableSource::Fraction(0.25));
}

#[test]
fn every_seed_gives_every_class_its_share() {
    let content = content();
    let files = Files::new(&[("t.csv", &content)]);
    let mut spec = files.spec("t.csv");
    halves(&mut spec);
    for seed in 0..30 {
        let data = load(&spec, TargetKind::Classes { outputs: 3 }, seed).unwrap();
        let counts = data.summary.tables.iter().map(|table| match &table.targets[0] {
            TargetSummary::Classes { counts, .. } => counts.iter().map(|(_, rows)| *rows).collect(),
            TargetSummary::Numbers(_) => Vec::new(),
        });
        // odd, p, q: of train, validation and test.
        let wanted = [vec![1, 17, 6], vec![0, 6, 2], vec![0, 7, 2]];
        assert_eq!(counts.collect::<Vec<_>>(), wanted, "seed {seed}");
        let path = files.path("t.csv");
        let warning = format!(
            "{}: class \"odd\" of target \"y\" has 1 row, and `data.test` takes none of them: \
             add rows of it, join it with another class, or take a larger fraction",
            path.display()
        );
        assert!(data.warnings.contains(&warning), "{:?}", data.warnings);
    }
}

#[test]
fn without_it_a_class_that_is_left_out_is_named() {
    let content = content();
    let mut told = 0;
    for seed in 0..30 {
        let files = Files::new(&[("t.csv", &content)]);
        let mut spec = files.spec("t.csv");
        halves(&mut spec);
        spec.stratify = false;
        if let Err(error) = load(&spec, TargetKind::Classes { outputs: 3 }, seed) {
            told += 1;
            assert_eq!(
                files.message(&error),
                "t.csv: class \"odd\" of target \"y\" has 1 row, and the fractions leave none of them to learn from; \
                 leave out `data.stratify = false`, add rows of it, or take it out of the table"
            );
        }
    }
    assert!((5..25).contains(&told), "{told}");
}

#[test]
fn a_fraction_that_leaves_a_class_nothing_is_refused() {
    let message =
        load_one("a,y\n1,p\n2,q\n3,r\n4,p\n", TargetKind::Classes { outputs: 3 }, |spec| {
            spec.test = Some(TableSource::Fraction(0.5));
        });
    assert_eq!(
        message.unwrap_err(),
        "data.test: a fraction of 0.5 takes 2 of 4 rows, but every class keeps at least one row for the training; \
         give a smaller fraction, more rows, or `data.stratify = false`"
    );
}

#[test]
fn several_binary_targets_are_split_by_their_combinations() {
    let mut content = "a,y,z\n".to_owned();
    for row in 0..40 {
        content.push_str(&format!("{row},{},{}\n", row % 2, u8::from(row % 10 == 3)));
    }
    for seed in 0..10 {
        let files = Files::new(&[("t.csv", &content)]);
        let mut spec = files.spec("t.csv");
        spec.target = vec!["y".to_owned(), "z".to_owned()];
        spec.test = Some(TableSource::Fraction(0.25));
        let data = load(&spec, TargetKind::Binary { outputs: 2 }, seed).unwrap();
        let test = data.test.unwrap();
        let ones =
            |target| (0..test.len()).filter(|&row| test.targets_of(row)[target] == 1.0).count();
        assert_eq!((test.len(), ones(0), ones(1)), (10, 5, 1));
    }
}
