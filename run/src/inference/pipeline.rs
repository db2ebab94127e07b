//! Reading, working and writing at once, on all cores, in order and in bounded memory: while some items are worked on, the ones
//! before them are written and the next ones are read. Knows nothing of what they are, and no thread by itself: these are rayon's.

use rayon::prelude::*;

/// Works on items that come in order, and passes the results on in the same order: at most `at_once` items are in each of the
/// three stages. The first error in the order of the items is the one that is told, and nothing behind it is written.
pub(super) fn run<T: Send, U: Send, E: Send>(
    at_once: usize,
    mut next: impl FnMut() -> Result<Option<T>, E> + Send,
    work: impl Fn(T) -> Result<U, E> + Sync,
    mut write: impl FnMut(U) -> Result<(), E> + Send,
) -> Result<(), E> {
    let mut found = read(at_once, &mut next);
    let mut done: Vec<Result<U, E>> = Vec::new();
    loop {
        let Found { items, end } = found;
        let is_over = items.is_empty() && done.is_empty();
        let write_done = || done.into_iter().try_for_each(|result| write(result?));
        let work_on = || items.into_par_iter().map(&work).collect::<Vec<Result<U, E>>>();
        let read_next = || match end {
            None => (read(at_once, &mut next), None),
            Some(end) => (Found { items: Vec::new(), end: Some(Ok(())) }, end.err()),
        };
        let (written, ((read, failed), worked)) =
            rayon::join(write_done, || rayon::join(read_next, work_on));
        written?;
        (found, done) = (read, worked);
        // What could not be read comes after what was.
        done.extend(failed.map(Err));
        if is_over && done.is_empty() {
            return Ok(());
        }
    }
}

/// Items that were read.
struct Found<T, E> {
    items: Vec<T>,
    /// Whether there are no more behind them, and why if not all could be read.
    end: Option<Result<(), E>>,
}

fn read<T, E>(at_once: usize, next: &mut impl FnMut() -> Result<Option<T>, E>) -> Found<T, E> {
    let mut found = Found { items: Vec::with_capacity(at_once), end: None };
    while found.items.len() < at_once && found.end.is_none() {
        match next() {
            Ok(Some(item)) => found.items.push(item),
            Ok(None) => found.end = Some(Ok(())),
            Err(error) => found.end = Some(Err(error)),
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// An item that is counted as long as it is there.
    struct Counted<'a>(usize, &'a AtomicUsize);

    impl Drop for Counted<'_> {
        fn drop(&mut self) {
            self.1.fetch_sub(1, Ordering::SeqCst);
        }
    }

    /// What was written of so many items, the error, and the most that were there at a time.
    fn ran(items: usize, bad: &[usize], unreadable: usize) -> (Vec<usize>, Option<usize>, usize) {
        let (there, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let (mut at, mut written) = (0, Vec::new());
        let ended = run(
            4,
            || {
                at += 1;
                if at - 1 == unreadable {
                    return Err(unreadable);
                }
                if at > items {
                    return Ok(None);
                }
                most.fetch_max(there.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                Ok(Some(Counted(at - 1, &there)))
            },
            |item| if bad.contains(&item.0) { Err(item.0) } else { Ok(item) },
            |item| {
                written.push(item.0);
                Ok(())
            },
        );
        assert_eq!(there.load(Ordering::SeqCst), 0);
        (written, ended.err(), most.load(Ordering::SeqCst))
    }

    #[test]
    fn items_are_written_in_order_and_few_are_there_at_a_time() {
        for items in [0, 1, 3, 4, 5, 1000] {
            let (written, error, most) = ran(items, &[], usize::MAX);
            assert_eq!((written, error), ((0..items).collect(), None));
            assert!(most <= 3 * 4, "{most} of {items}");
        }
    }

    #[test]
    fn the_first_error_is_told_and_nothing_behind_it_is_written() {
        for (bad, unreadable, wanted) in [
            (&[7, 5][..], usize::MAX, 5),
            (&[], 6, 6),
            (&[5], 6, 5),
            (&[7], 6, 6),
            (&[0], usize::MAX, 0),
            (&[], 0, 0),
            (&[], 20, 20),
        ] {
            let (written, error, _) = ran(20, bad, unreadable);
            assert_eq!((written, error), ((0..wanted).collect(), Some(wanted)));
        }
    }
}
