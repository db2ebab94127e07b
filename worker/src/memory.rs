//! Whether this machine could ever hold what a coordinator says that it will be sent. Reserves nothing.

use std::fs::read_to_string;

use crate::WorkerError;

/// Refuses what is larger than all memory of this machine, where that is known. Memory that is only taken at the moment counts
/// as there.
pub(crate) fn check(
    what: &str,
    wanted_bytes: u128,
    total_bytes: Option<u64>,
) -> Result<(), WorkerError> {
    match total_bytes {
        Some(has_bytes) if wanted_bytes > u128::from(has_bytes) => {
            Err(WorkerError::Memory { what: what.to_string(), wanted_bytes, has_bytes })
        }
        _ => Ok(()),
    }
}

/// Memory and swap, as far as this process may use them; `None` where that is not known.
pub(crate) fn total_bytes() -> Option<u64> {
    let machine = of_meminfo(&read_to_string("/proc/meminfo").ok()?)?;
    let limit = || {
        let groups = read_to_string("/proc/self/cgroup").ok()?;
        let group = groups.lines().find_map(|line| line.strip_prefix("0::"))?.to_string();
        read_to_string(format!("/sys/fs/cgroup{group}/memory.max")).ok()?.trim().parse().ok()
    };
    Some(limit().map_or(machine, |limit: u64| limit.min(machine)))
}

fn of_meminfo(text: &str) -> Option<u64> {
    let kib = |name: &str| -> Option<u64> {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim_start_matches(':').split_whitespace().next()?.parse().ok()
    };
    Some((kib("MemTotal")? + kib("SwapTotal").unwrap_or(0)) << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_says() {
        let text = "MemTotal:       24684092 kB\nMemFree: 3 kB\nSwapTotal:       1024 kB\n";
        assert_eq!(of_meminfo(text), Some((24684092 + 1024) << 10));
        assert_eq!(of_meminfo("MemTotal: 1 kB"), Some(1024));
        assert_eq!(of_meminfo("nothing"), None);
    }
}
