//! Two resolved jobs, compared: which lines change the result, and which of them differ.

/// How the line with the epochs begins.
const EPOCHS: &str = "epochs = ";

/// The lines of a resolved job that determine the numbers. How the cluster runs and what is kept of it does not, and
/// where the tables are does not either: what is in them is compared by its hash. How many epochs are made does not change
/// those that were.
fn essentials(job: &str) -> impl Iterator<Item = &str> {
    const FREE: [&str; 3] = ["[cluster]", "[checkpoint]", "[journal]"];
    const FILES: [&str; 4] = ["train = ", "test = ", "validation = ", "initial_weights = "];
    let mut section = "";
    job.lines().filter(move |line| {
        if line.starts_with('[') {
            section = line;
        }
        let is_file = FILES.iter().any(|key| line.starts_with(key)) && !line.contains("fraction");
        let is_epochs = section == "[train]" && line.starts_with(EPOCHS);
        !FREE.contains(&section) && !is_file && !is_epochs
    })
}

/// The hash of those lines.
pub(super) fn hash(job: &str) -> String {
    hash_lines(essentials(job))
}

/// The hash of all that makes the weights of a run: the same for every run of a job on the same tables, whatever its name.
pub(super) fn origin(job: &str, data_blake3: &str, initial_weights_blake3: &str) -> String {
    let lines = essentials(job).filter(|line| !line.starts_with("name = "));
    hash_lines(lines.chain([data_blake3, initial_weights_blake3]))
}

fn hash_lines<'a>(lines: impl Iterator<Item = &'a str>) -> String {
    let mut hasher = blake3::Hasher::new();
    for line in lines {
        hasher.update(line.as_bytes());
        hasher.update(b"\n");
    }
    hasher.finalize().to_hex().to_string()
}

/// The epochs of a resolved job.
pub(super) fn epochs(job: &str) -> Option<u32> {
    job.lines().find_map(|line| line.strip_prefix(EPOCHS)?.trim().parse().ok())
}

/// The first line in which two resolved jobs differ, in words.
pub(super) fn first_difference(before: &str, now: &str) -> Option<String> {
    let mut lines = (essentials(before), essentials(now));
    loop {
        match (lines.0.next(), lines.1.next()) {
            (None, None) => return None,
            (before, now) if before == now => {}
            (before, now) => {
                let line = |line: Option<&str>| line.unwrap_or("(nothing)").trim().to_string();
                return Some(format!("it was `{}`, it is `{}`", line(before), line(now)));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_lines_that_change_the_result_count() {
        let job = "seed = 1\n[data]\ntrain = \"/a.csv\"\ntest = { fraction = 0.1 }\n[train]\nepochs = 3\nbatch_size = 4\n\
                   [cluster]\nworkers_min = 1\n[journal]\nevery_steps = 10\n";
        for (from, to, is_same) in [
            ("/a.csv", "/b/c.csv", true),
            ("epochs = 3", "epochs = 9", true),
            ("workers_min = 1", "workers_min = 2", true),
            ("every_steps = 10", "every_steps = 1", true),
            ("seed = 1", "seed = 2", false),
            ("fraction = 0.1", "fraction = 0.2", false),
            ("batch_size = 4", "batch_size = 5", false),
            ("batch_size = 4\n", "", false),
        ] {
            let other = job.replace(from, to);
            assert_eq!(hash(&other) == hash(job), is_same, "{from} to {to}");
            assert_eq!(first_difference(job, &other).is_none(), is_same, "{from} to {to}");
        }
        assert_eq!(epochs(job), Some(3));
    }
}
