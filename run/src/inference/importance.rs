//! Permutation importance (Breiman 2001; Fisher, Rudin and Dominici 2019): how much the run's main metric gets worse when the
//! cells of one column are shuffled among the rows, so that they say nothing of their rows any more. All cores; every shuffle is
//! keyed by the seed, the column and the time, so that the numbers depend on no thread.

use std::sync::atomic::{AtomicUsize, Ordering};

use lockstep_data::{Rows, Schema};
use lockstep_proto::random::{Purpose, Random};
use lockstep_status::value::{ColumnImportance, Importance, finite};
use rayon::prelude::*;

use super::{Compared, classes, measured, not_finite};
use crate::run_folder::Model;

/// Most rows that are used: of more, so many are drawn.
const ROWS_MAX: usize = 10_000;

/// Most columns that are measured, and most that are listed.
const COLUMNS_MAX: usize = 1024;
const LISTED_MAX: usize = 256;

/// How often each column is shuffled.
const REPEATS: u64 = 5;

/// How much a model needs each column of these rows. `progress` is told how many of how many measures are made.
///
/// # Errors
/// In words, if there are too many columns, or the model's loss is not finite with nothing shuffled.
pub fn importance(
    model: &Model,
    rows: &Rows,
    seed: u64,
    progress: impl Fn(u64, u64) + Sync,
) -> Result<Importance, String> {
    let columns = places(&model.schema);
    if columns.len() > COLUMNS_MAX {
        let found = columns.len();
        return Err(format!("found {found} columns, wanted {COLUMNS_MAX} at most"));
    }
    let rows = drawn(rows, seed);
    let metrics = &model.network.spec().metrics;
    let metric = metrics.first().map_or("loss", |metric| metric.name());
    let is_better_larger = metrics.first().is_some_and(|metric| metric.is_better_larger());
    let is_ranked = classes::is_rank(metric);
    let value = |rows: Rows| {
        let compared = is_ranked.then(|| Compared::of(model, &rows));
        let (_, values) = measured(model, rows, compared.as_ref())?;
        Ok(values.get(metric).copied().unwrap_or(f64::NAN))
    };
    let base = value(rows.clone()).map_err(|fault| not_finite(&fault))?;
    let made = AtomicUsize::new(0);
    let all = columns.len() as u64 * REPEATS;
    let worse = |column: usize, time: u64| {
        let mut random = Random::new(seed, Purpose::Importance, column as u64 + 1, time);
        let found: Result<f64, lockstep_model::NonFinite> =
            value(shuffled(&rows, &columns[column].1, &mut random));
        progress(made.fetch_add(1, Ordering::Relaxed) as u64 + 1, all);
        match (found, is_better_larger) {
            (Ok(found), true) => base - found,
            (Ok(found), false) => found - base,
            (Err(_), _) => f64::NAN,
        }
    };
    let times: Vec<(usize, u64)> = (0..columns.len())
        .flat_map(|column| (0..REPEATS).map(move |time| (column, time)))
        .collect();
    let found: Vec<f64> = times.into_par_iter().map(|(column, time)| worse(column, time)).collect();
    let each = columns.iter().zip(found.chunks(REPEATS as usize));
    let mut columns: Vec<ColumnImportance> =
        each.map(|((name, _), found)| of_column(name, found)).collect();
    // Stable: equals stay in the order of the features.
    columns.sort_by(|a, b| order(b).total_cmp(&order(a)));
    let columns_left_out = columns.len().saturating_sub(LISTED_MAX);
    columns.truncate(LISTED_MAX);
    Ok(Importance {
        metric: metric.to_string(),
        value: finite(base),
        rows: rows.len() as u64,
        repeats: REPEATS,
        columns,
        columns_left_out,
    })
}

fn of_column(name: &str, worse: &[f64]) -> ColumnImportance {
    let mean = worse.iter().sum::<f64>() / worse.len() as f64;
    let worst = |of: fn(f64, f64) -> f64| worse.iter().copied().reduce(of).and_then(finite);
    ColumnImportance {
        column: name.to_string(),
        worse: finite(mean),
        least: worst(f64::min),
        most: worst(f64::max),
    }
}

fn order(column: &ColumnImportance) -> f64 {
    column.worse.unwrap_or(f64::INFINITY)
}

/// The columns and, of each, the places of a row that it fills: numbers side by side, and the place of its category, if that is
/// embedded, after the numbers of all.
fn places(schema: &Schema) -> Vec<(String, Vec<usize>)> {
    let embedded: Vec<String> =
        schema.embeddings().into_iter().map(|embedded| embedded.name).collect();
    let numbers = schema.inputs();
    let mut next = 0;
    let column = |column: &lockstep_data::Column| {
        let mut places: Vec<usize> = (next..next + column.width()).collect();
        next += column.width();
        let place = embedded.iter().position(|name| name == column.name());
        places.extend(place.map(|place| numbers + place));
        (column.name().to_string(), places)
    };
    schema.features.iter().map(column).collect()
}

/// All rows, or of too many some, in their order.
fn drawn(rows: &Rows, seed: u64) -> Rows {
    if rows.len() <= ROWS_MAX {
        return rows.clone();
    }
    let mut places: Vec<usize> = (0..rows.len()).collect();
    Random::new(seed, Purpose::Importance, 0, 0).shuffle(&mut places);
    places.truncate(ROWS_MAX);
    places.sort_unstable();
    let values = places.iter().flat_map(|&place| rows.row(place)).copied().collect();
    Rows { values, ..*rows }
}

/// The rows with what is in some places of them shuffled together.
fn shuffled(rows: &Rows, places: &[usize], random: &mut Random) -> Rows {
    let mut order: Vec<usize> = (0..rows.len()).collect();
    random.shuffle(&mut order);
    let (mut values, width) = (rows.values.clone(), rows.width());
    for (row, from) in values.chunks_exact_mut(width).zip(order) {
        let other = rows.row(from);
        places.iter().for_each(|&place| row[place] = other[place]);
    }
    Rows { values, ..*rows }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_of_a_column_stay_together_and_all_others_where_they_are() {
        let values = (0..40).flat_map(|row| [row, 100 + row, 200 + row, 300 + row]);
        let rows = Rows::new(3, 1, values.map(|value| value as f32).collect());
        let mut random = Random::new(7, Purpose::Importance, 1, 0);
        let found = shuffled(&rows, &[0, 2], &mut random);
        let mut seen = Vec::new();
        for row in 0..rows.len() {
            let (before, now) = (rows.row(row), found.row(row));
            assert_eq!((before[1], before[3]), (now[1], now[3]));
            assert_eq!(now[0] + 200.0, now[2]);
            seen.push(now[0] as usize);
        }
        assert_ne!(seen, (0..40).collect::<Vec<_>>());
        seen.sort_unstable();
        assert_eq!(seen, (0..40).collect::<Vec<_>>());
    }

    #[test]
    fn of_too_many_rows_some_are_drawn_in_their_order() {
        let rows = Rows::new(1, 1, (0..2 * (ROWS_MAX + 5)).map(|value| value as f32).collect());
        let found = drawn(&rows, 3);
        assert_eq!(found.len(), ROWS_MAX);
        assert!((1..ROWS_MAX).all(|row| found.row(row - 1)[0] < found.row(row)[0]));
        assert_eq!(found, drawn(&rows, 3));
        assert_ne!(found, drawn(&rows, 4));
    }

    #[test]
    fn a_column_that_could_not_be_measured_comes_first_and_says_nothing() {
        let column = of_column("x", &[0.5, f64::NAN]);
        assert_eq!((column.worse, order(&column)), (None, f64::INFINITY));
        let column = of_column("x", &[0.5, 0.25, 0.0]);
        assert_eq!((column.worse, column.least, column.most), (Some(0.25), Some(0.0), Some(0.5)));
    }
}
