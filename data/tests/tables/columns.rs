//! Single columns: scales and rules for missing cells of their own, indicators, scaled targets, and what cannot be said.

use lockstep_data::{
    Column, ColumnOverride, Missing, Rows, Scale, Scaling, Schema, TableSource, TargetKind, Want,
};

use crate::{Files, divide, load, load_one, loaded, scale_named, scaling, strings, with};

const NUMBERS: TargetKind = TargetKind::Numbers;

fn scaled(scale: Scale) -> ColumnOverride {
    ColumnOverride { scale: Some(scale), ..ColumnOverride::default() }
}

fn missing(missing: Missing) -> ColumnOverride {
    ColumnOverride { missing: Some(missing), ..ColumnOverride::default() }
}

/// A table of numbers that look like none in particular, some missing in `b`.
fn table(rows: usize) -> String {
    let row = |row: usize| {
        let b = if row % 7 == 3 { String::new() } else { format!("{}", (row * row) % 101) };
        format!("{}.{row},{b},{},{}\n", row * 7 % 13, 1e9 + row as f64, 3000 + row * 17 % 90)
    };
    format!("a,b,clock,y\n{}", (0..rows).map(row).collect::<String>())
}

/// Learned, kept and used on rows that are like none of training.
#[test]
fn scales_that_are_not_linear() {
    let content = "a,b,y\n0,5,1\n1,5,3\n3,5,7\n0.5,9,0\n";
    let [log1p, quantile] = ["log1p", "quantile"].map(|name| scaled(scale_named(name)));
    let data = loaded(content, &[("a", log1p), ("b", quantile), ("y", log1p)]);
    let row = data.train.row(2);
    let (ln4, ln8) = (std::f64::consts::LN_2 * 2.0, std::f64::consts::LN_2 * 3.0);
    // Three of four: ranks 0 to 2 of 0 to 3.
    assert_eq!((row[0], row[2]), (ln4 as f32, ln8 as f32));
    assert!((row[1] + 0.430_727_3).abs() < 1e-6, "{row:?}");
    assert!(data.schema.has_scaled_targets() && !data.schema.is_of_the_first_form());
    let json = serde_json::to_string(&data.schema).unwrap();
    assert_eq!(serde_json::from_str::<Schema>(&json).unwrap(), data.schema);
    // What no training row is like.
    let files = Files::new(&[("p.csv", "a,b\n1e60,-1e60\n")]);
    let rows = data.schema.read(&files.csv("p.csv"), Want::Features).unwrap().0;
    assert!(
        (rows.values[0] - 138.155_1).abs() < 1e-3 && (rows.values[1] + 5.199_337_6).abs() < 1e-6
    );
    // A target that no output goes back from is none, and a number without a logarithm is an error where it is.
    let damaged = json.replacen("\"scale\":\"quantile\"", "\"scale\":\"log1p\"", 1);
    assert!(serde_json::from_str::<Schema>(&damaged).is_err());
    let message = load_one(content, NUMBERS, with(&[("y", quantile)])).unwrap_err();
    assert_eq!(
        message,
        "data.columns.y: found scale \"quantile\" for a target, which has no way back to the target's own unit; wanted \
         another, such as \"standard\" or \"log1p\""
    );
    let message = load_one("a,y\n1,1\n-2,3\n", NUMBERS, with(&[("a", log1p)])).unwrap_err();
    assert_eq!(
        message,
        "t.csv:3: column 1 (a): found -2e0, wanted a number that is finite when scaled: ln(1 + -2e0) is not"
    );
}

#[test]
fn a_columns_own_settings_go_before_the_tables() {
    let content = "a,b,c,y\n1,10,5,1\n3,20,6,2\n5,40,9,3\n";
    let data = load_one(content, NUMBERS, |spec| {
        spec.scale = scale_named("minmax");
        with(&[("a", scaled(Scale::NONE)), ("b", scaled(divide(10.0)))])(spec);
    })
    .unwrap();
    assert_eq!(data.train.values, [1.0, 1.0, 0.0, 1.0, 3.0, 2.0, 0.25, 2.0, 5.0, 4.0, 1.0, 3.0]);
    let scales = data.schema.features.iter().map(|column| column.settings().scale.name());
    assert_eq!(scales.collect::<Vec<_>>(), ["none", "divide", "minmax"]);
}

/// scikit-learn 1.9: `RobustScaler().fit_transform` of what `SimpleImputer(strategy="median")` gives.
#[test]
fn robust_scaling_of_filled_cells() {
    let robust = ColumnOverride {
        scale: Some(scale_named("robust")),
        missing: Some(Missing::Median),
        indicator: true,
        ..ColumnOverride::default()
    };
    let data = loaded("a,y\n1,1\n,2\n2,3\n9,4\n4,5\n", &[("a", robust)]);
    // Filled with 3, the median of 1, 2, 4 and 9; quartiles of 1, 2, 3, 4, 9 are 2 and 4.
    assert_eq!(data.schema.features[0].fill(), Some(3.0));
    assert_eq!(scaling(&data.schema.features[0]), Scaling { offset: 3.0, divisor: 2.0 });
    let wanted = [-1.0, 0.0, 1.0, 0.0, 1.0, 2.0, -0.5, 0.0, 3.0, 3.0, 0.0, 4.0, 0.5, 0.0, 5.0];
    assert_eq!(data.train, Rows::new(2, 1, wanted.to_vec()));
}

#[test]
fn an_interquartile_range_of_0_only_shifts() {
    let data = loaded("a,y\n5,1\n5,2\n5,3\n5,4\n9,5\n", &[("a", scaled(scale_named("robust")))]);
    let values: Vec<f32> = data.train.values.iter().step_by(2).copied().collect();
    assert_eq!(values, [0.0, 0.0, 0.0, 0.0, 4.0]);
}

#[test]
fn every_rule_for_missing_cells() {
    let content = "a,b,y\n1,1,1\n,2,2\n8,3,3\n3,,4\n";
    let values = |rule| {
        let data = loaded(content, &[("a", missing(rule)), ("b", missing(Missing::Drop))]);
        let values = data.train.values.chunks(3).map(|row| row[0]).collect::<Vec<f32>>();
        (values, data.summary.tables[0].dropped)
    };
    // The row without `b` is gone before anything is learned.
    assert_eq!(values(Missing::Mean), (vec![1.0, 4.5, 8.0], 1));
    assert_eq!(values(Missing::Median), (vec![1.0, 4.5, 8.0], 1));
    assert_eq!(values(Missing::Constant(-7.5)), (vec![1.0, -7.5, 8.0], 1));
    assert_eq!(values(Missing::Drop), (vec![1.0, 8.0], 2));
    // What fills is known though nothing was missing in training.
    let data = loaded("a,y\n1,1\n9,2\n", &[("a", missing(Missing::Median))]);
    let files = Files::new(&[("p.csv", "a,b\n,1\n")]);
    let rows = data.schema.read(&files.csv("p.csv"), Want::Features).unwrap().0;
    assert_eq!(rows.values, [5.0]);
}

#[test]
fn a_constant_counts_in_what_the_scale_learns() {
    let settings =
        ColumnOverride { scale: Some(scale_named("minmax")), ..missing(Missing::Constant(-10.0)) };
    let data = loaded("a,y\n10,1\n,2\n30,3\n", &[("a", settings)]);
    assert_eq!(data.train.values, [0.5, 1.0, 0.0, 2.0, 1.0, 3.0]);
    let settings =
        ColumnOverride { scale: Some(scale_named("standard")), ..missing(Missing::Constant(0.0)) };
    let data = loaded("a,y\n,1\n3,2\n3,3\n", &[("a", settings)]);
    assert_eq!(scaling(&data.schema.features[0]), Scaling { offset: 2.0, divisor: 2f64.sqrt() });
    // Nothing there at all is no harm.
    let data = loaded("a,b,y\n,1,1\n,2,2\n", &[("a", missing(Missing::Constant(4.0)))]);
    assert_eq!(data.train.row(1), [4.0, 2.0, 2.0]);
}

/// The same, whether it is said of the table or of every column; then it is kept as it always was.
#[test]
fn all_columns_or_the_table() {
    let content = table(60);
    let columns = ["a", "b", "clock"];
    let alone = ["none", "standard", "minmax", "robust", "log1p", "quantile"].map(scale_named);
    for scale in alone.into_iter().chain([divide(7.0)]) {
        for rule in [Missing::Mean, Missing::Median, Missing::Drop, Missing::Constant(2.0)] {
            let whole = load_one(&content, NUMBERS, |spec| {
                (spec.scale, spec.missing) = (scale, rule);
            });
            let said = ColumnOverride { scale: Some(scale), ..missing(rule) };
            let mut all: Vec<_> = columns.iter().map(|name| (*name, said)).collect();
            if rule == Missing::Drop {
                all.push(("y", missing(Missing::Drop)));
            }
            let each = load_one(&content, NUMBERS, with(&all));
            let (whole, each) = (whole.unwrap(), each.unwrap());
            assert_eq!(whole.train, each.train, "{scale} {rule}");
            assert_eq!(whole.schema, each.schema);
            let is_old = !["robust", "log1p", "quantile"].contains(&scale.name())
                && matches!(rule, Missing::Mean | Missing::Drop);
            assert_eq!(each.schema.is_of_the_first_form(), is_old, "{scale} {rule}");
            let json = serde_json::to_string(&each.schema).unwrap();
            assert_eq!(json.contains("\"columns\""), !is_old, "{json}");
            assert_eq!(serde_json::from_str::<Schema>(&json).unwrap(), each.schema);
        }
    }
}

#[test]
fn targets_are_scaled_only_if_they_are_told_so() {
    let content = "a,y,z\n1,100,1\n2,300,2\n3,500,9\n";
    let adjust = |columns: &[(&str, ColumnOverride)]| {
        load_one(content, NUMBERS, |spec| {
            spec.scale = scale_named("standard");
            spec.target = strings(&["y", "z"]);
            with(columns)(spec);
        })
        .unwrap()
    };
    let plain = adjust(&[]);
    assert_eq!(plain.train.targets_of(1), [300.0, 2.0]);
    assert!(!plain.schema.has_scaled_targets() && plain.schema.is_of_the_first_form());
    let data = adjust(&[("y", scaled(scale_named("minmax")))]);
    assert!(data.schema.has_scaled_targets() && !data.schema.is_of_the_first_form());
    assert_eq!(
        (data.train.targets_of(0), data.train.targets_of(2)),
        (&[0.0, 1.0][..], &[1.0, 9.0][..])
    );
    assert_eq!(scaling(&data.schema.targets[0]), Scaling { offset: 100.0, divisor: 400.0 });
    let json = serde_json::to_string(&data.schema).unwrap();
    assert_eq!(serde_json::from_str::<Schema>(&json).unwrap(), data.schema);
    // What is far from 1 is told no more.
    let far = |columns: &[(&str, ColumnOverride)]| {
        loaded("a,y\n1,5000\n2,9000\n", columns).warnings.len()
    };
    assert_eq!((far(&[]), far(&[("y", scaled(scale_named("standard")))])), (1, 0));
    // A number that no f32 holds is as good as any.
    let data = loaded("a,y\n1,1e60\n2,3e60\n", &[("y", scaled(scale_named("minmax")))]);
    assert_eq!(data.train.values, [1.0, 0.0, 2.0, 1.0]);
}

/// What is learned is learned of the training rows, and other tables get the same.
#[test]
fn other_tables_are_turned_by_what_the_training_rows_taught() {
    let settings = ColumnOverride {
        scale: Some(scale_named("robust")),
        missing: Some(Missing::Median),
        indicator: true,
        ..ColumnOverride::default()
    };
    let files = Files::new(&[("t.csv", &table(90)), ("v.csv", "y,b,a,clock\n5,,1,1000000000\n")]);
    let mut spec = files.spec("t.csv");
    with(&[("b", settings), ("clock", scaled(scale_named("standard")))])(&mut spec);
    spec.test = Some(TableSource::Fraction(0.3));
    spec.validation = files.file("v.csv");
    let data = load(&spec, NUMBERS, 3).unwrap();
    assert_eq!((data.train.features, data.schema.inputs()), (4, 4));
    let b = &data.schema.features[1];
    let validation = data.validation.unwrap();
    let Scaling { offset, divisor } = scaling(b);
    let wanted = ((b.fill().unwrap() - offset) / divisor) as f32;
    assert_eq!(validation.features_of(0)[..3], [1.0, wanted, 1.0]);
    let (again, _) = data.schema.read(&files.csv("v.csv"), Want::FeaturesAndTargets).unwrap();
    assert_eq!(again, validation);
    let seen = |rows: &Rows| {
        let mut values: Vec<f64> =
            (0..rows.len()).map(|row| rows.features_of(row)[3].into()).collect();
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        values.iter_mut().for_each(|value| *value = (*value - mean).powi(2));
        (mean, (values.iter().sum::<f64>() / values.len() as f64).sqrt())
    };
    let (mean, deviation) = seen(&data.train);
    assert!(mean.abs() < 1e-6 && (deviation - 1.0).abs() < 1e-6, "{mean} {deviation}");
    assert!(seen(&data.test.unwrap()).0.abs() > 1e-4);
}

#[test]
fn filled_cells_are_told_rule_by_rule() {
    let content = "a,b,c,d,y\n,,1,,1\n1,2,,,2\n3,4,5,6,3\n";
    let rules = [
        ("a", Missing::Mean),
        ("b", Missing::Median),
        ("c", Missing::Constant(0.5)),
        ("d", Missing::Mean),
    ];
    let data = loaded(content, &rules.map(|(name, rule)| (name, missing(rule))));
    let ends = data.warnings.iter().map(|text| text.split("): ").nth(1).unwrap());
    assert_eq!(
        ends.collect::<Vec<_>>()[..3],
        [
            "filled 3 missing cells with the training mean in \"a\", \"d\"",
            "filled 1 missing cell with the training median in \"b\"",
            "filled 1 missing cell with 0.5 in \"c\"",
        ]
    );
}

#[test]
fn what_columns_cannot_be_told() {
    let content = "size,net price,label,y\n1,2,n,4\n2,3,m,5\n";
    let indicator = |rule| ColumnOverride { indicator: true, ..missing(rule) };
    let standard = scaled(scale_named("standard"));
    for (name, said, wanted) in [
        (
            "sise",
            standard,
            "t.csv: found no column \"sise\", wanted by `data.columns`; the nearest is \"size\"",
        ),
        (
            "label",
            standard,
            "data.columns.label: found a column that is neither a feature nor a target; add it to `data.features`, or take \
             this out",
        ),
        (
            "net price",
            indicator(Missing::Drop),
            "data.columns.\"net price\": found `indicator = true` where no missing cell is filled; set `missing` to",
        ),
        (
            "y",
            missing(Missing::Mean),
            "data.columns.y: found a rule that fills a target's missing cells, wanted \"error\" or \"drop\"",
        ),
        (
            "y",
            ColumnOverride { indicator: true, ..ColumnOverride::default() },
            "data.columns.y: found an indicator for a target, wanted it for features alone; take it out",
        ),
        (
            "size",
            missing(Missing::Constant(1e60)),
            "t.csv: feature \"size\": its missing cells become constant 1",
        ),
    ] {
        let message = load_one(content, NUMBERS, |spec| {
            spec.features = Some(strings(&["size", "net price"]));
            with(&[(name, said)])(spec);
        });
        let message = message.unwrap_err();
        assert!(message.starts_with(wanted), "{message}");
    }
    let labels =
        load_one("a,y\n1,n\n2,m\n", TargetKind::Classes { outputs: 2 }, with(&[("y", standard)]));
    assert_eq!(
        labels.unwrap_err(),
        "data.columns.y: found a scale for a target of labels, wanted none; take it out"
    );
    let none = load_one("a,b,y\n1,,1\n2,,2\n", NUMBERS, with(&[("b", missing(Missing::Median))]));
    assert_eq!(
        none.unwrap_err(),
        "t.csv: feature \"b\" has no value in any training row, so no median to fill with; leave it out of \
         `data.features`"
    );
    let dropped = load_one("a,b,y\n1,,1\n2,,2\n", NUMBERS, with(&[("b", missing(Missing::Drop))]));
    assert_eq!(
        dropped.unwrap_err(),
        "t.csv: every row has a missing cell in a column whose `missing` is \"drop\", which leaves none"
    );
}

#[test]
fn a_row_to_predict_lacks_nothing_that_is_not_filled() {
    let data = loaded(
        "a,b,y\n1,1,1\n2,,2\n,3,3\n",
        &[("a", missing(Missing::Drop)), ("b", missing(Missing::Median))],
    );
    let files = Files::new(&[("p.csv", "a,b\n5,\n,5\n")]);
    let error = data.schema.read(&files.csv("p.csv"), Want::Features).unwrap_err();
    assert_eq!(
        files.message(&error),
        "p.csv:3: column 1 (a): found an empty cell, wanted a number; a row to predict is never dropped: give it a number \
         or take the row out"
    );
}

#[test]
fn settings_of_a_schema_are_those_of_a_job() {
    let columns = [("y", scaled(scale_named("standard"))), ("b", missing(Missing::Mean))];
    let data = loaded(&table(30), &columns);
    let settings = data.schema.settings();
    let names: Vec<&str> = settings.keys().map(String::as_str).collect();
    assert_eq!(names, ["a", "b", "clock", "y"]);
    let again = load_one(&table(30), NUMBERS, |spec| spec.columns = settings.clone()).unwrap();
    assert_eq!((again.schema.settings(), again.train), (settings, data.train));
}

/// The form of columns, frozen: later versions must read it.
#[test]
fn the_form_of_columns_stays_readable() {
    let robust = ColumnOverride {
        scale: Some(scale_named("robust")),
        missing: Some(Missing::Constant(0.5)),
        indicator: true,
        ..ColumnOverride::default()
    };
    let data = loaded(
        "a,b,y\n1,7,100\n,8,300\n3,9,500\n",
        &[("a", robust), ("b", scaled(divide(4.0))), ("y", scaled(scale_named("standard")))],
    );
    let frozen = include_str!("schema-columns.json");
    assert_eq!(serde_json::to_string_pretty(&data.schema).unwrap(), frozen.trim_end());
    assert_eq!(serde_json::from_str::<Schema>(frozen).unwrap(), data.schema);
    for (from, to) in [
        ("\"offset\": 1.0", "\"offset\": null"),
        ("\"divisor\": 4.0", "\"divisor\": 5.0"),
        ("\"fill\": 0.5", "\"fill\": 0.25"),
        ("\"robust\"", "\"cubic\""),
        ("\"robust\"", "\"none\""),
        ("\"indicator\": true", "\"indicator\": true, \"embedding\": 3"),
        ("\"columns\"", "\"features\": [], \"columns\""),
        ("\"target_columns\"", "\"targets\""),
        ("\"missing\": \"error\"", "\"missing\": \"mean\""),
    ] {
        let damaged = frozen.replacen(from, to, 1);
        assert_ne!(damaged, frozen, "{from}");
        assert!(serde_json::from_str::<Schema>(&damaged).is_err(), "{from} to {to}");
    }
}

#[test]
fn a_column_in_memory() {
    let column = Column::of_numbers("y", scale_named("robust"), &[1.0, 2.0, 3.0, 4.0, 100.0]);
    let mut out = Vec::new();
    column.encode(&[3.0, 5.0], &mut Vec::new(), &mut out);
    assert_eq!((out, column.width()), (vec![0.0, 1.0], 1));
}
