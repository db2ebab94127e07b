//! Which rows of the training file become the test and validation tables. Depends on the seed, the fractions and
//! the number of rows alone; every part keeps the file's order.

use lockstep_proto::random::{Purpose, Random};

use crate::error::{DataError, count};

/// Counter of [`Purpose::Split`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Test = 0,
    Validation = 1,
}

impl Part {
    pub(crate) fn key(self) -> &'static str {
        match self {
            Part::Test => "data.test",
            Part::Validation => "data.validation",
        }
    }
}

/// Takes `ceil(fraction * rows)` rows out of `rows` and returns them.
pub(crate) fn take(
    rows: &mut Vec<u32>,
    fraction: f64,
    part: Part,
    seed: u64,
) -> Result<Vec<u32>, DataError> {
    let from = rows.len();
    let wanted = (fraction * from as f64).ceil() as usize;
    if wanted == 0 || wanted >= from {
        return Err(DataError::Spec {
            key: part.key(),
            problem: format!(
                "a fraction of {fraction} takes {wanted} of {}, wanted at least one row on each side; \
                 give another fraction or more rows",
                count(from as u64, "row"),
            ),
        });
    }
    let is_taken = chosen(from, wanted, Random::new(seed, Purpose::Split, part as u64, 0));
    let mut taken = Vec::with_capacity(wanted);
    let mut places = is_taken.iter();
    rows.retain(|&row| {
        let is_taken = places.next() == Some(&true);
        if is_taken {
            taken.push(row);
        }
        !is_taken
    });
    Ok(taken)
}

/// Which of `from` rows are the `wanted` ones.
fn chosen(from: usize, wanted: usize, mut random: Random) -> Vec<bool> {
    // In four bytes each: this may be a narrow table's largest list.
    let mut order: Vec<u32> = (0..).take(from).collect();
    random.shuffle(&mut order);
    let mut is_chosen = vec![false; from];
    for &index in &order[..wanted] {
        is_chosen[index as usize] = true;
    }
    is_chosen
}

/// Whether a fraction leaves rows on both sides in principle.
pub(crate) fn check(fraction: f64, part: Part) -> Result<(), DataError> {
    if fraction > 0.0 && fraction < 1.0 {
        return Ok(());
    }
    Err(DataError::Spec {
        key: part.key(),
        problem: format!("found a fraction of {fraction}, wanted above 0 and below 1"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_disjoint_in_file_order_and_counted_like_scikit_learn() {
        for (count, fraction, wanted) in
            [(10, 0.2, 2), (10, 0.25, 3), (506, 0.2, 102), (2, 0.5, 1), (3, 0.01, 1)]
        {
            let mut left: Vec<u32> = (0..count).collect();
            let taken = take(&mut left, fraction, Part::Test, 42).unwrap();
            assert_eq!(taken.len(), wanted);
            assert!(taken.is_sorted() && left.is_sorted());
            let mut all = [taken.clone(), left].concat();
            all.sort_unstable();
            assert_eq!(all, (0..count).collect::<Vec<_>>());
            let again = take(&mut (0..count).collect(), fraction, Part::Test, 42).unwrap();
            assert_eq!(taken, again);
        }
    }

    #[test]
    fn seed_and_part_choose_the_rows() {
        let rows = |part, seed| take(&mut (0..1000).collect(), 0.1, part, seed).unwrap();
        assert_ne!(rows(Part::Test, 1), rows(Part::Test, 2));
        assert_ne!(rows(Part::Test, 1), rows(Part::Validation, 1));
    }

    #[test]
    fn both_sides_keep_a_row() {
        for (count, fraction) in [(1, 0.5), (2, 0.9), (0, 0.5)] {
            let error = take(&mut (0..count).collect(), fraction, Part::Validation, 1).unwrap_err();
            assert!(error.to_string().contains("at least one row on each side"), "{error}");
        }
        for fraction in [0.0, 1.0, -0.5, f64::NAN, f64::INFINITY] {
            let error = check(fraction, Part::Test).unwrap_err().to_string();
            assert!(error.starts_with("data.test: found a fraction of"), "{error}");
        }
    }
}
