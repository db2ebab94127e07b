//! Which rows of the training file become the test and validation tables. Depends on the seed, the fractions, the number
//! of rows and, where each class is to have its share of each part, the rows' classes; every part keeps the file's order.

use lockstep_proto::random::{Purpose, Random};

use crate::error::{DataError, count};

/// Counter of [`Purpose::Split`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SplitPart {
    Test = 0,
    Validation = 1,
}

impl SplitPart {
    pub(crate) fn key(self) -> &'static str {
        match self {
            SplitPart::Test => "data.test",
            SplitPart::Validation => "data.validation",
        }
    }
}

/// Rows of a table, and the class of each where a part is to have every class's share.
pub(crate) struct Pool {
    pub(crate) rows: Vec<u32>,
    /// The stratum of each of the rows; `None` where rows are taken without regard to anything.
    pub(crate) strata: Option<Vec<u32>>,
}

impl Pool {
    /// Takes `ceil(fraction * rows)` rows out of the pool and returns them.
    pub(crate) fn take(
        &mut self,
        fraction: f64,
        part: SplitPart,
        seed: u64,
    ) -> Result<Vec<u32>, DataError> {
        let from = self.rows.len();
        let wanted = (fraction * from as f64).ceil() as usize;
        let fault = |problem: String| Err(DataError::Spec { key: part.key(), problem });
        let takes =
            || format!("a fraction of {fraction} takes {wanted} of {}", count(from as u64, "row"));
        if wanted == 0 || wanted >= from {
            return fault(format!(
                "{}, wanted at least one row on each side; give another fraction or more rows",
                takes()
            ));
        }
        let is_taken = match &self.strata {
            None => chosen(from, wanted, Random::new(seed, Purpose::Split, part as u64, 0)),
            Some(strata) => match chosen_by_stratum(strata, wanted, part, seed) {
                Some(is_taken) => is_taken,
                None => {
                    return fault(format!(
                        "{}, but every class keeps at least one row for the training; give a smaller fraction, more \
                         rows, or `data.stratify = false`",
                        takes()
                    ));
                }
            },
        };
        let mut places = is_taken.iter();
        let mut taken = Vec::with_capacity(wanted);
        self.rows.retain(|&row| {
            let is_taken = places.next() == Some(&true);
            taken.extend(is_taken.then_some(row));
            !is_taken
        });
        if let Some(strata) = &mut self.strata {
            let mut places = is_taken.iter();
            strata.retain(|_| places.next() == Some(&false));
        }
        Ok(taken)
    }
}

/// The rows to learn from and those to validate, of so many rows in memory, as a job's fraction would cut a table of them: with
/// `classes`, each one's share of both.
///
/// # Errors
/// If the fraction leaves nothing on one side, or a class without a row to learn from.
pub fn validation_split(
    rows: usize,
    classes: Option<Vec<u32>>,
    fraction: f64,
    seed: u64,
) -> Result<[Vec<u32>; 2], DataError> {
    check(fraction, SplitPart::Validation)?;
    let mut pool = Pool { rows: (0..).take(rows).collect(), strata: classes };
    let validation = pool.take(fraction, SplitPart::Validation, seed)?;
    Ok([pool.rows, validation])
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

/// The same with each stratum's share; `None` if that leaves a stratum without a row.
fn chosen_by_stratum(
    strata: &[u32],
    wanted: usize,
    part: SplitPart,
    seed: u64,
) -> Option<Vec<bool>> {
    let strata_len = strata.iter().max().map_or(0, |&last| last as usize + 1);
    let mut places: Vec<Vec<u32>> = vec![Vec::new(); strata_len];
    for (place, &stratum) in (0..).zip(strata) {
        places[stratum as usize].push(place);
    }
    let sizes: Vec<usize> = places.iter().map(Vec::len).collect();
    let shares = shares(&sizes, wanted)?;
    let mut is_chosen = vec![false; strata.len()];
    for ((stratum, mut places), share) in (1..).zip(places).zip(shares) {
        Random::new(seed, Purpose::Split, part as u64, stratum).shuffle(&mut places);
        for &place in &places[..share] {
            is_chosen[place as usize] = true;
        }
    }
    Some(is_chosen)
}

/// How many of each stratum are taken: in proportion, what is over to the largest remainders, the first of equals first;
/// never all of a stratum.
fn shares(sizes: &[usize], wanted: usize) -> Option<Vec<usize>> {
    let all = sizes.iter().sum::<usize>() as u128;
    let exact = |size: usize| wanted as u128 * size as u128;
    let cap = |size: usize| size.saturating_sub(1);
    let mut shares: Vec<usize> =
        sizes.iter().map(|&size| ((exact(size) / all.max(1)) as usize).min(cap(size))).collect();
    let mut order: Vec<usize> = (0..sizes.len()).collect();
    order.sort_by_key(|&stratum| std::cmp::Reverse(exact(sizes[stratum]) % all.max(1)));
    let mut left = wanted - shares.iter().sum::<usize>();
    while left > 0 {
        let before = left;
        for &stratum in &order {
            if left > 0 && shares[stratum] < cap(sizes[stratum]) {
                shares[stratum] += 1;
                left -= 1;
            }
        }
        if left == before {
            return None;
        }
    }
    Some(shares)
}

/// Whether a fraction leaves rows on both sides in principle.
pub(crate) fn check(fraction: f64, part: SplitPart) -> Result<(), DataError> {
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

    fn take(
        rows: &mut Vec<u32>,
        fraction: f64,
        part: SplitPart,
        seed: u64,
    ) -> Result<Vec<u32>, DataError> {
        let mut pool = Pool { rows: std::mem::take(rows), strata: None };
        let taken = pool.take(fraction, part, seed);
        *rows = pool.rows;
        taken
    }

    #[test]
    fn every_class_has_its_share_of_every_part() {
        // Seven of a class in eight, one of another, and one row of a third.
        let strata: Vec<u32> =
            (0..161).map(|row| if row == 77 { 2 } else { u32::from(row % 8 == 0) }).collect();
        for seed in 0..20 {
            let mut pool = Pool { rows: (0..161).collect(), strata: Some(strata.clone()) };
            let count = |rows: &[u32], class| {
                rows.iter().filter(|&&row| strata[row as usize] == class).count()
            };
            let test = pool.take(0.2, SplitPart::Test, seed).unwrap();
            assert_eq!([0, 1, 2].map(|class| count(&test, class)), [29, 4, 0]);
            let validation = pool.take(0.25, SplitPart::Validation, seed).unwrap();
            assert_eq!([0, 1, 2].map(|class| count(&validation, class)), [28, 4, 0]);
            assert!([&test, &validation, &pool.rows].iter().all(|rows| rows.is_sorted()));
            assert_eq!(pool.strata.unwrap().len(), pool.rows.len());
            assert_eq!(count(&pool.rows, 2), 1);
        }
    }

    #[test]
    fn shares_are_whole_and_leave_every_class_a_row() {
        for (sizes, wanted, shares_wanted) in [
            (&[10, 10][..], 4, Some(vec![2, 2])),
            (&[5, 5, 5], 4, Some(vec![2, 1, 1])),
            (&[98, 1, 1], 10, Some(vec![10, 0, 0])),
            (&[3, 3], 4, Some(vec![2, 2])),
            (&[3, 3], 5, None),
            (&[1, 9], 8, Some(vec![0, 8])),
            (&[], 0, Some(vec![])),
        ] {
            assert_eq!(shares(sizes, wanted), shares_wanted, "{sizes:?} {wanted}");
        }
    }

    #[test]
    fn stratified_rows_are_fixed_for_all_time() {
        let strata = Some((0..10).map(|row| row % 3).collect());
        let mut pool = Pool { rows: (0..10).collect(), strata };
        assert_eq!(pool.take(0.4, SplitPart::Test, 42).unwrap(), FROZEN);
    }

    const FROZEN: [u32; 4] = [1, 6, 8, 9];

    #[test]
    fn parts_are_disjoint_in_file_order_and_counted_like_scikit_learn() {
        for (count, fraction, wanted) in
            [(10, 0.2, 2), (10, 0.25, 3), (506, 0.2, 102), (2, 0.5, 1), (3, 0.01, 1)]
        {
            let mut left: Vec<u32> = (0..count).collect();
            let taken = take(&mut left, fraction, SplitPart::Test, 42).unwrap();
            assert_eq!(taken.len(), wanted);
            assert!(taken.is_sorted() && left.is_sorted());
            let mut all = [taken.clone(), left].concat();
            all.sort_unstable();
            assert_eq!(all, (0..count).collect::<Vec<_>>());
            let again = take(&mut (0..count).collect(), fraction, SplitPart::Test, 42).unwrap();
            assert_eq!(taken, again);
        }
    }

    #[test]
    fn seed_and_part_choose_the_rows() {
        let rows = |part, seed| take(&mut (0..1000).collect(), 0.1, part, seed).unwrap();
        assert_ne!(rows(SplitPart::Test, 1), rows(SplitPart::Test, 2));
        assert_ne!(rows(SplitPart::Test, 1), rows(SplitPart::Validation, 1));
    }

    #[test]
    fn both_sides_keep_a_row() {
        for (count, fraction) in [(1, 0.5), (2, 0.9), (0, 0.5)] {
            let error =
                take(&mut (0..count).collect(), fraction, SplitPart::Validation, 1).unwrap_err();
            assert!(error.to_string().contains("at least one row on each side"), "{error}");
        }
        for fraction in [0.0, 1.0, -0.5, f64::NAN, f64::INFINITY] {
            let error = check(fraction, SplitPart::Test).unwrap_err().to_string();
            assert!(error.starts_with("data.test: found a fraction of"), "{error}");
        }
    }
}
