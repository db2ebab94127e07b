//! What comes out of tables that are right: values, labels, splits, summaries and warnings.

use lockstep_data::{
    FeatureSummary, Missing, NumberSummary, Rows, Scale, Scaling, TableSource, TargetKind,
    TargetSummary,
};

use crate::{Files, load, load_one, names, scale_named, scaling, strings};

const NUMBERS: TargetKind = TargetKind::Numbers;

/// The last place of values between 1 and 2: what keeping the deviation as f32 may cost.
const ULP: f32 = f32::EPSILON;

#[test]
fn every_dialect_gives_the_same_rows() {
    let wanted = Rows::new(2, 1, vec![1.0, 2.5, 3.0, -4.0, 5e-3, 6.0]);
    for content in [
        "a,b,y\n1,2.5,3\n-4,5e-3,6\n",
        "a,b,y\n1,2.5,3\n-4,5e-3,6",
        "\u{feff}a,b,y\r\n1,2.5,3\r\n-4,5e-3,6\r\n",
        "a;b;y\n1;2.5;3\n-4;5e-3;6\n",
        "a\tb\ty\n1\t2.5\t3\n-4\t5e-3\t6\n",
        " a ,\"b\" , y \n 1 ,2.5, 3\n\n\"-4\",\" 5e-3 \",6\n\n",
        "\u{feff}\"a\",b,y\n1,2.5,3\n-4,5e-3,6\n",
        "y,b,a\n3,2.5,1\n6,5e-3,-4\n",
    ] {
        let data = load_one(content, NUMBERS, |spec| {
            spec.features = Some(strings(&["a", "b"]));
        });
        assert_eq!(data.unwrap().train, wanted, "{content:?}");
    }
}

#[test]
fn features_default_to_every_other_column_in_file_order() {
    let data = load_one("b,y,a,z\n1,2,3,4\n", NUMBERS, |spec| {
        spec.target = strings(&["z", "y"]);
    })
    .unwrap();
    assert_eq!(names(&data.schema.features), ["b", "a"]);
    assert_eq!(data.train, Rows::new(2, 2, vec![1.0, 3.0, 4.0, 2.0]));
}

#[test]
fn unused_columns_may_hold_anything() {
    let content = "id,a,,y,\nx,1,\u{e9},2,\n,3,,4,nan\n";
    let data = load_one(content, NUMBERS, |spec| spec.features = Some(strings(&["a"]))).unwrap();
    assert_eq!(data.train.values, [1.0, 2.0, 3.0, 4.0]);
}

#[test]
fn standard_scaling_is_by_population_deviation_of_the_training_rows() {
    let files = Files::new(&[
        ("t.csv", "a,c,y\n1,7,10\n2,7,20\n3,7,30\n4,7,40\n"),
        ("test.csv", "y,c,a\n50,8,2.5\n"),
    ]);
    let mut spec = files.spec("t.csv");
    spec.scale = scale_named("standard");
    spec.test = files.file("test.csv");
    let data = load(&spec, NUMBERS, 1).unwrap();
    // StandardScaler().fit_transform([[1], [2], [3], [4]])
    let golden = [-1.341_640_8, -0.447_213_6, 0.447_213_6, 1.341_640_8];
    for (row, wanted) in golden.into_iter().enumerate() {
        let [a, c] = data.train.features_of(row) else { panic!("two features") };
        assert!((a - wanted).abs() <= ULP && *c == 0.0, "row {row}: {a} {c}");
        assert_eq!(data.train.targets_of(row), [(row as f32 + 1.0) * 10.0]);
    }
    assert_eq!(data.test.unwrap().values, [0.0, 1.0, 50.0]);
    let [a, c] = &data.schema.features[..] else { panic!("two features") };
    assert_eq!(scaling(a), Scaling { offset: 2.5, divisor: 1.25f64.sqrt() });
    assert_eq!(scaling(c), Scaling { offset: 7.0, divisor: 1.0 });
}

#[test]
fn minmax_scaling_covers_zero_to_one_of_the_training_rows() {
    let files =
        Files::new(&[("t.csv", "a,c,y\n2,7,1\n4,7,2\n6,7,3\n"), ("v.csv", "a,c,y\n8,6,4\n")]);
    let mut spec = files.spec("t.csv");
    spec.scale = scale_named("minmax");
    spec.validation = files.file("v.csv");
    let data = load(&spec, NUMBERS, 1).unwrap();
    assert_eq!(data.train.values, [0.0, 0.0, 1.0, 0.5, 0.0, 2.0, 1.0, 0.0, 3.0]);
    assert_eq!(data.validation.unwrap().values, [1.5, -1.0, 4.0]);
}

#[test]
fn extreme_features_scale_to_finite_values() {
    for scale in [scale_named("standard"), scale_named("minmax")] {
        let content = "a,b,y\n3e38,1e-45,1\n-3e38,0,2\n3e38,0,3\n";
        let data = load_one(content, NUMBERS, |spec| spec.scale = scale).unwrap();
        assert!(data.train.values.iter().all(|value| value.is_finite()), "{scale:?}");
    }
}

#[test]
fn a_missing_feature_takes_the_training_mean_before_scaling() {
    let files = Files::new(&[
        ("t.csv", "a,b,y\n1,1,1\n?,2,2\n5,null,3\n"),
        ("test.csv", "a,b,y\n,NaN,4\n"),
    ]);
    let mut spec = files.spec("t.csv");
    spec.missing = Missing::Mean;
    spec.test = files.file("test.csv");
    let data = load(&spec, NUMBERS, 1).unwrap();
    assert_eq!(data.train.values, [1.0, 1.0, 1.0, 3.0, 2.0, 2.0, 5.0, 1.5, 3.0]);
    assert_eq!(data.test.unwrap().values, [3.0, 1.5, 4.0]);
    let fill: Vec<_> = data.schema.features.iter().map(|column| column.fill()).collect();
    assert_eq!(fill, [Some(3.0), Some(1.5)]);
    let train = format!("train table ({})", files.path("t.csv").display());
    let warning = format!("{train}: filled 2 missing cells with the training mean in \"a\", \"b\"");
    assert_eq!(data.warnings[0], warning);

    spec.scale = scale_named("standard");
    let data = load(&spec, NUMBERS, 1).unwrap();
    // SimpleImputer() then StandardScaler(): [1, 3, 5] has mean 3 and deviation sqrt(8 / 3)
    assert!((data.train.row(0)[0] + 1.224_744_9).abs() <= ULP);
    assert_eq!(data.train.row(1)[0], 0.0);
    assert_eq!(
        scaling(&data.schema.features[0]),
        Scaling { offset: 3.0, divisor: (8.0f64 / 3.0).sqrt() }
    );
}

#[test]
fn rows_with_a_missing_cell_are_dropped_before_the_split() {
    let files = Files::new(&[
        ("t.csv", "a,b,y\n1,1,1\n,2,2\n3,3,3\n4,4,NA\n5,5,5\n"),
        ("v.csv", "a,b,y\n1,,1\n2,2,2\n"),
    ]);
    let mut spec = files.spec("t.csv");
    spec.missing = Missing::Drop;
    spec.validation = files.file("v.csv");
    spec.test = Some(TableSource::Fraction(0.3));
    let data = load(&spec, NUMBERS, 1).unwrap();
    let test = data.test.unwrap();
    assert_eq!((data.train.len(), test.len()), (2, 1));
    let mut kept: Vec<f32> = data.train.values.iter().chain(&test.values).copied().collect();
    kept.sort_by(f32::total_cmp);
    assert_eq!(kept, [1.0, 1.0, 1.0, 3.0, 3.0, 3.0, 5.0, 5.0, 5.0]);
    assert_eq!(data.validation.unwrap().values, [2.0, 2.0, 2.0]);
    let dropped: Vec<u64> = data.summary.tables.iter().map(|table| table.dropped).collect();
    assert_eq!(dropped, [2, 1, 0]);
    assert!(data.warnings[0].ends_with(": left out 2 rows with a missing cell"));
    assert!(data.warnings[1].starts_with("validation table ("), "{:?}", data.warnings);
}

#[test]
fn classes_are_ordered_as_numbers_or_as_text() {
    for (labels, ordered, indices) in [
        (["10", "2", "10", "-1"], ["-1", "2", "10"], [2.0, 1.0, 2.0, 0.0]),
        (["b", "\"a,\"", "c", " b "], ["a,", "b", "c"], [1.0, 0.0, 2.0, 1.0]),
        (["10", "2", "x", "2"], ["2", "10", "x"], [1.0, 0.0, 2.0, 0.0]),
        (["1.0", "2", "1", "0"], ["0", "1.0", "2"], [1.0, 2.0, 1.0, 0.0]),
    ] {
        let mut content = "a,y\n".to_owned();
        for label in labels {
            content.push_str(&format!("0.5,{label}\n"));
        }
        let data = load_one(&content, TargetKind::Classes { outputs: 3 }, |_| {}).unwrap();
        let classes: Vec<f32> = (0..4).map(|row| data.train.targets_of(row)[0]).collect();
        assert_eq!(classes, indices, "{labels:?}");
        let names: Vec<&str> = (0..3).map(|class| data.schema.label(0, class)).collect();
        assert_eq!(names, ordered);
    }
}

#[test]
fn binary_targets_become_zero_and_one() {
    let kind = |outputs| TargetKind::Binary { outputs };
    for (content, wanted) in [
        ("a,y\n0,yes\n0,no\n", [1.0, 0.0]),
        ("a,y\n0,1\n0,0\n", [1.0, 0.0]),
        ("a,y\n0,1.0\n0,1\n", [1.0, 1.0]),
        ("a,y\n0,2\n0,1\n", [1.0, 0.0]),
    ] {
        let data = load_one(content, kind(1), |_| {}).unwrap();
        assert_eq!([0, 1].map(|row| data.train.targets_of(row)[0]), wanted, "{content:?}");
    }
    let data = load_one("a,y,z\n0,1,off\n0,0,on\n0,1,on\n", kind(2), |spec| {
        spec.target = strings(&["z", "y"]);
    })
    .unwrap();
    assert_eq!(data.train.values, [0.0, 0.0, 1.0, 0.0, 1.0, 0.0, 0.0, 1.0, 1.0]);
    assert_eq!(data.schema.labels.unwrap(), [["off", "on"], ["0", "1"]]);
}

#[test]
fn fractions_are_disjoint_ordered_and_repeatable() {
    let mut content = "a,y\n".to_owned();
    for row in 0..101 {
        content.push_str(&format!("{row},{row}\n"));
    }
    let files = Files::new(&[("t.csv", &content)]);
    let mut spec = files.spec("t.csv");
    spec.test = Some(TableSource::Fraction(0.2));
    spec.validation = Some(TableSource::Fraction(0.1));
    let parts = |spec, seed| {
        let data = load(spec, NUMBERS, seed).unwrap();
        [data.train, data.validation.unwrap(), data.test.unwrap()]
            .map(|rows| (0..rows.len()).map(|row| rows.row(row)[0] as u32).collect::<Vec<_>>())
    };
    let [train, validation, test] = parts(&spec, 42);
    assert_eq!([train.len(), validation.len(), test.len()], [72, 8, 21]);
    assert!([&train, &validation, &test].iter().all(|rows| rows.is_sorted()));
    let mut all = [train.clone(), validation, test.clone()].concat();
    all.sort_unstable();
    assert_eq!(all, (0..101).collect::<Vec<_>>());
    assert_eq!(parts(&spec, 42)[0], train);
    assert_ne!(parts(&spec, 43)[2], test);
    spec.scale = Scale::NONE;
    spec.validation = None;
    let data = load(&spec, NUMBERS, 42).unwrap();
    let again: Vec<u32> = data.test.unwrap().values.chunks(2).map(|row| row[0] as u32).collect();
    assert_eq!(again, test, "the test rows do not depend on the validation rows");
}

#[test]
fn scaling_is_fitted_on_what_the_split_leaves() {
    let content = "a,y\n1,0\n2,0\n3,1\n100,0\n7,0\n1000,2\n";
    let data = load_one(content, NUMBERS, |spec| {
        spec.test = Some(TableSource::Fraction(0.5));
        spec.scale = scale_named("minmax");
    })
    .unwrap();
    let train: Vec<f32> = (0..3).map(|row| data.train.row(row)[0]).collect();
    assert!(train.contains(&0.0) && train.contains(&1.0), "{train:?}");
}

#[test]
fn the_summary_is_of_raw_values() {
    let content = "a,b,y\n1,0.1,x\n,0.2,z\n-3,0.3,x\n";
    let data = load_one(content, TargetKind::Classes { outputs: 2 }, |spec| {
        spec.missing = Missing::Mean;
        spec.scale = scale_named("standard");
    })
    .unwrap();
    let [table] = data.summary.tables.as_slice() else { panic!("one table") };
    assert_eq!((table.rows, table.dropped), (3, 0));
    let a = NumberSummary {
        name: "a".into(),
        min: -3.0,
        max: 1.0,
        mean: -1.0,
        missing: 1,
        distinct: None,
    };
    assert_eq!(table.features[0], FeatureSummary::Number(a));
    let counts = vec![("x".to_owned(), 2), ("z".to_owned(), 1)];
    assert_eq!(table.targets, [TargetSummary::Classes { name: "y".into(), counts }]);
    assert_eq!(data.summary.scaling_hint(&data.schema), None);
}

#[test]
fn constants_are_warned_about() {
    let ends = |content: &str, kind| -> Vec<String> {
        let warnings = load_one(content, kind, |_| {}).unwrap().warnings;
        warnings.iter().map(|text| text.split("): ").nth(1).unwrap().to_owned()).collect()
    };
    assert_eq!(ends("a,y\n1,2\n2,3\n", NUMBERS), [""; 0]);
    assert_eq!(
        ends("a,b,y\n1,2,5\n2,2,5\n", NUMBERS),
        ["feature \"b\" is constant", "target \"y\" is always 5: there is nothing to learn"]
    );
    assert_eq!(
        ends("a,b,y\n2,2,n\n2,2,n\n", TargetKind::Classes { outputs: 1 }),
        [
            "2 features are constant: \"a\", \"b\"",
            "target \"y\" is always \"n\": there is nothing to learn"
        ]
    );
}

#[test]
fn unscaled_features_of_different_sizes_get_a_hint() {
    let hint = |content: &str| {
        let data = load_one(content, NUMBERS, |_| {}).unwrap();
        data.summary.scaling_hint(&data.schema)
    };
    assert_eq!(hint("a,b,y\n1,2,900\n2,3,1\n"), None);
    let large = hint("a,tax,y\n1,187,9\n2,-711,1\n").unwrap();
    assert!(large.starts_with("feature \"tax\" lies between -711 and 187 and is not"), "{large}");
    let ratio = hint("a,b,y\n0,0,9\n0.01,2,1\n").unwrap();
    assert!(ratio.starts_with("feature \"b\" has a range of 2 and \"a\" one of 0.01"), "{ratio}");
}

#[test]
fn rows_stay_whole_and_in_order_whichever_part_is_the_largest() {
    let rows: Vec<usize> = (0..100).filter(|row| row % 9 != 4).collect();
    let mut content = "a,y,b\n".to_owned();
    for row in 0..100 {
        let b = if rows.contains(&row) { (2 * row).to_string() } else { String::new() };
        content.push_str(&format!("{row},c{},{b}\n", row % 2));
    }
    for (test, validation) in [(0.1, 0.1), (0.8, 0.1), (0.1, 0.8), (0.3, 0.5)] {
        let data = load_one(&content, TargetKind::Classes { outputs: 2 }, |spec| {
            spec.missing = Missing::Drop;
            spec.test = Some(TableSource::Fraction(test));
            spec.validation = Some(TableSource::Fraction(validation));
        })
        .unwrap();
        let mut seen = Vec::new();
        for part in [&data.train, data.validation.as_ref().unwrap(), data.test.as_ref().unwrap()] {
            let from = seen.len();
            for values in part.values.chunks(3) {
                assert_eq!(values[1..], [2.0 * values[0], values[0] % 2.0]);
                seen.push(values[0] as usize);
            }
            assert!(seen[from..].is_sorted());
            assert_eq!(part.values.capacity(), part.values.len());
        }
        seen.sort_unstable();
        assert_eq!(seen, rows);
    }
}

/// Cells of any format are `f64` until they are scaled.
#[test]
fn a_large_offset_with_a_small_spread_survives_scaling() {
    let content = "a,y\n1700000001,1\n1700000002,2\n1700000004,3\n";
    let data = load_one(content, NUMBERS, |spec| spec.scale = scale_named("minmax")).unwrap();
    assert_eq!(data.train.values, [0.0, 1.0, 1.0 / 3.0, 2.0, 1.0, 3.0]);
    assert_eq!(data.warnings, [""; 0]);
    let seen = data.summary.tables[0].features[0].number().unwrap();
    assert_eq!((seen.min, seen.max, seen.is_constant()), (1_700_000_001.0, 1_700_000_004.0, false));
    // What is not scaled is rounded, and that is said.
    let data = load_one(content, NUMBERS, |_| {}).unwrap();
    assert!(data.warnings[0].ends_with(
        "feature \"a\": 3 distinct values become 1 as the network sees them (in f32): \
         `data.scale = \"standard\"` scales before it rounds"
    ));
    // A number that no f32 holds is as good as any where it is scaled.
    let data =
        load_one("a,y\n1e60,1\n3e60,2\n", NUMBERS, |spec| spec.scale = scale_named("minmax"));
    assert_eq!(data.unwrap().train.values, [0.0, 1.0, 1.0, 2.0]);
    let message =
        load_one("a,y\n1e101,1\n3,2\n", NUMBERS, |spec| spec.scale = scale_named("minmax"));
    assert_eq!(
        message.unwrap_err(),
        "t.csv:2: column 1 (a): found \"1e101\", wanted a number up to 1e100"
    );
}

#[test]
fn targets_far_from_one_are_warned_about() {
    let end = |content: &str| -> String {
        let warnings = load_one(content, NUMBERS, |_| {}).unwrap().warnings;
        let [warning] = &warnings[..] else { return format!("{warnings:?}") };
        warning.split("): ").nth(1).unwrap().split(" (predictions").next().unwrap().to_owned()
    };
    assert_eq!(end("a,y\n1,-999\n2,999\n"), "[]");
    assert_eq!(
        end("a,y\n1,0\n2,1500000\n"),
        "target \"y\" lies between 0 and 1500000: targets far above 1 in size are learned slowly or not at all; \
         set `data.columns.y = { scale = \"standard\" }`"
    );
    assert_eq!(
        end("a,y\n1,1990\n2,2020\n3,2001\n"),
        "target \"y\" lies between 1990 and 2020: targets far above 1 in size are learned slowly or not at all; \
         set `data.columns.y = { scale = \"standard\" }`"
    );
    assert_eq!(
        end("a,y\n1,0.00001\n2,0.00002\n"),
        "target \"y\" lies between 0.00001 and 0.00002: targets far below 1 in size are learned slowly or not at \
         all; set `data.columns.y = { scale = \"standard\" }`"
    );
}
