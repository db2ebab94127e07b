//! Numbers with their nouns, for every message of every crate: the one place that knows plurals.

/// `(1, "row")` as "1 row", `(2, "row")` as "2 rows", `(0, "hash")` as "0 hashes".
pub fn count(number: u64, noun: &str) -> String {
    format!("{number} {}", nouns(number, noun))
}

/// The noun alone, as it goes with the number: for numbers that are written in a way of their own.
pub fn nouns(number: u64, noun: &str) -> String {
    let hisses = ["s", "x", "sh", "tch", "nch"].iter().any(|end| noun.ends_with(end));
    let is_after_consonant = |stem: &&str| !stem.ends_with(['a', 'e', 'i', 'o', 'u']);
    match (number, noun.strip_suffix('y').filter(is_after_consonant)) {
        (1, _) => noun.to_string(),
        (_, Some(stem)) => format!("{stem}ies"),
        (_, None) if hisses => format!("{noun}es"),
        (_, None) => format!("{noun}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nouns_go_with_their_numbers() {
        for (number, noun, wanted) in [
            (0, "worker", "0 workers"),
            (1, "worker", "1 worker"),
            (2, "worker", "2 workers"),
            (1, "hash", "1 hash"),
            (3, "hash", "3 hashes"),
            (2, "class", "2 classes"),
            (2, "batch", "2 batches"),
            (2, "epoch", "2 epochs"),
            (1, "missing cell", "1 missing cell"),
            (2, "category", "2 categories"),
            (2, "key", "2 keys"),
        ] {
            assert_eq!(count(number, noun), wanted);
        }
    }
}
