//! Numbers, names and tables for people.

use std::borrow::Cow;

use lockstep_proto::words::count;

use super::Values;
use super::escape::visible;

/// Widest table of measures: more columns go below.
const TABLE_CHARS_MAX: usize = 80;

/// The name of a measure, for people: a loss that is scaled, though metrics are not, says so.
pub fn shown(name: &str, loss_is_scaled: bool) -> Cow<'_, str> {
    match loss_is_scaled && matches!(name, "loss" | "validation_loss") {
        true => format!("{name} (scaled)").into(),
        false => name.into(),
    }
}

/// `loss 0.1234, mae 0.9000`, the loss first, the validation table's last.
pub fn listed(values: &Values, loss_is_scaled: bool) -> String {
    let mut names: Vec<&String> = values.keys().collect();
    names.sort_by_key(|name| (name.starts_with("validation_"), !name.ends_with("loss")));
    let item =
        |name: &&String| format!("{} {}", shown(name, loss_is_scaled), figure(values[*name]));
    names.iter().map(item).collect::<Vec<_>>().join(", ")
}

/// What was measured, a row for each table that was: a line each.
pub fn measures(tables: &[(&str, &Values)], loss_is_scaled: bool) -> Vec<String> {
    let tables: Vec<_> = tables.iter().filter(|(_, values)| !values.is_empty()).collect();
    let mut names: Vec<&String> = tables.iter().flat_map(|(_, values)| values.keys()).collect();
    names.sort_by_key(|name| (*name != "loss", *name));
    names.dedup();
    let column = |name: &&String| {
        let figures = tables.iter().map(|(_, values)| {
            values.get(*name).map_or_else(|| "-".to_string(), |&value| figure(value))
        });
        let name = shown(name, loss_is_scaled).into_owned();
        std::iter::once(name).chain(figures).collect::<Vec<_>>()
    };
    let first: Vec<String> = std::iter::once("")
        .chain(tables.iter().map(|(table, _)| *table))
        .map(str::to_string)
        .collect();
    let mut blocks = vec![vec![first.clone()]];
    for column in names.iter().map(column) {
        let mut block = blocks.pop().unwrap_or_default();
        block.push(column);
        let is_too_wide =
            side_by_side(&block, &[0]).iter().any(|line| line.chars().count() > TABLE_CHARS_MAX);
        if let Some(column) = block.pop_if(|_| is_too_wide) {
            blocks.extend([block, vec![first.clone(), column]]);
        } else {
            blocks.push(block);
        }
    }
    blocks.retain(|block| block.len() > 1);
    blocks.iter().flat_map(|block| side_by_side(block, &[0])).collect()
}

/// Columns of equally many cells side by side, those in `left` to the left, the others to the right: a line each.
pub fn side_by_side(columns: &[Vec<String>], left: &[usize]) -> Vec<String> {
    let shown: Vec<Vec<_>> =
        columns.iter().map(|column| column.iter().map(|cell| visible(cell)).collect()).collect();
    let widths: Vec<usize> = shown
        .iter()
        .map(|column| column.iter().map(|cell| cell.chars().count()).max().unwrap_or(0))
        .collect();
    let row = |at: usize| {
        let cells =
            shown.iter().zip(&widths).enumerate().map(|(place, (column, &width))| {
                match left.contains(&place) {
                    true => format!("{:<width$}", column[at]),
                    false => format!("{:>width$}", column[at]),
                }
            });
        cells.collect::<Vec<_>>().join("  ").trim_end().to_string()
    };
    (0..shown.first().map_or(0, Vec::len)).map(row).collect()
}

/// A loss or metric in a few digits.
pub fn figure(value: f64) -> String {
    match value.abs() {
        small if small > 0.0 && small < 0.001 => format!("{value:.3e}"),
        large if large >= 1e7 => format!("{value:.3e}"),
        _ => format!("{value:.4}"),
    }
}

/// `59 s`, `1 min 05 s`.
pub fn duration(seconds: f64) -> String {
    let whole = seconds.round() as u64;
    match whole {
        0..=59 => format!("{whole} s"),
        60..=3599 => format!("{} min {:02} s", whole / 60, whole % 60),
        _ => format!("{} h {:02} min", whole / 3600, whole % 3600 / 60),
    }
}

/// A count with a comma every three digits.
pub fn thousands(number: f64) -> String {
    let digits = format!("{:.0}", number.max(0.0));
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1 thread`, `process 5` or `processes 5, 6`: the noun, as often as there are numbers, and the numbers.
pub fn numbered(noun: &str, numbers: &[u32]) -> String {
    let nouns = lockstep_proto::words::nouns(numbers.len() as u64, noun);
    let numbers: Vec<String> = numbers.iter().map(u32::to_string).collect();
    format!("{nouns} {}", numbers.join(", "))
}

/// The steps of a run that were compared.
pub fn verified(first: u64, last: u64, hashes: usize) -> String {
    let steps = match first == last {
        true => format!("step {first} agrees"),
        false => format!("steps {first} to {last} agree"),
    };
    format!("{steps} ({} compared)", count(hashes as u64, "hash"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(all: &[(&str, f64)]) -> Values {
        all.iter().map(|&(name, value)| (name.to_string(), value)).collect()
    }

    #[test]
    fn numbers_are_easy_to_read() {
        assert_eq!(thousands(0.0), "0");
        assert_eq!(thousands(999.4), "999");
        assert_eq!(thousands(1234567.0), "1,234,567");
        assert_eq!(duration(59.4), "59 s");
        assert_eq!(duration(61.0), "1 min 01 s");
        assert_eq!(duration(7261.0), "2 h 01 min");
        assert_eq!(verified(1, 1, 1), "step 1 agrees (1 hash compared)");
        assert_eq!(numbered("process", &[5]), "process 5");
        assert_eq!(numbered("process", &[5, 6]), "processes 5, 6");
        for (value, wanted) in [
            (0.0, "0.0000"),
            (-0.5, "-0.5000"),
            (0.000_012_34, "1.234e-5"),
            (1.5e30, "1.500e30"),
            (f64::NAN, "NaN"),
        ] {
            assert_eq!(figure(value), wanted);
        }
    }

    #[test]
    fn the_loss_comes_first_and_validation_last() {
        let values = values(&[
            ("accuracy", 0.97),
            ("loss", 0.1234),
            ("validation_accuracy", 0.5),
            ("validation_loss", 0.15),
        ]);
        let wanted =
            "loss 0.1234, accuracy 0.9700, validation_loss 0.1500, validation_accuracy 0.5000";
        assert_eq!(listed(&values, false), wanted);
        let wanted = wanted.replace("loss ", "loss (scaled) ");
        assert_eq!(listed(&values, true), wanted);
    }

    #[test]
    fn a_row_for_each_table_that_was_measured() {
        let training = values(&[("accuracy", 0.97), ("loss", 12.5)]);
        let test = values(&[("accuracy", 0.5), ("loss", 0.15)]);
        let nothing = Values::new();
        let shown =
            measures(&[("training", &training), ("validation", &nothing), ("test", &test)], false);
        let wanted = [
            "             loss  accuracy",
            "training  12.5000    0.9700",
            "test       0.1500    0.5000",
        ];
        assert_eq!(shown, wanted);
        let scaled = measures(&[("training", &training)], true);
        assert_eq!(scaled[0], "          loss (scaled)  accuracy");
        assert!(measures(&[("training", &nothing)], false).is_empty());
    }

    #[test]
    fn wide_tables_go_on_below() {
        let names: Vec<String> = (0..20).map(|at| format!("metric_{at:02}")).collect();
        let many: Values = names.iter().map(|name| (name.clone(), 1.0)).collect();
        let shown = measures(&[("training", &many)], false);
        assert_eq!(shown.len(), 4 * 2);
        assert!(shown.iter().all(|line| line.chars().count() <= TABLE_CHARS_MAX), "{shown:#?}");
        assert!(names.iter().all(|name| shown.iter().any(|line| line.contains(name))));
    }

    #[test]
    fn cells_cannot_leave_their_place() {
        let columns = [vec!["a\nb".to_string(), "c".into()], vec!["1".into(), "22".into()]];
        assert_eq!(side_by_side(&columns, &[0]), [r"a\nb   1", "c     22"]);
    }
}
