//! What the system knows of processes and of the loopback interface, from `/proc`. Where there is none, nothing is known.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::process::Child;
use std::time::{Duration, Instant};

/// Between two looks: a peak is kept by the system, so that only what grows after the last look is missed.
const LOOK_INTERVAL: Duration = Duration::from_millis(10);

/// Between two looks at what a process has mapped of others' memory: these take longer, and it hardly changes.
const MAPS_INTERVAL: Duration = Duration::from_millis(100);

/// Peak resident memory in bytes, but for what the process only reads of memory that others share with it.
pub(crate) struct Memory {
    pub(crate) coordinator: Option<u64>,
    /// The largest worker's.
    pub(crate) worker: Option<u64>,
}

/// What is known of a process: its peak, and the most that it has mapped of others' memory.
struct Seen {
    role: Role,
    bytes: u64,
    foreign: u64,
}

/// Watches the children of a launcher until it ends.
pub(crate) fn watch(launcher: &mut Child) -> io::Result<Memory> {
    let mut seen: HashMap<u32, Seen> = HashMap::new();
    let mut looked = Instant::now();
    while launcher.try_wait()?.is_none() {
        let looks_at_maps = looked.elapsed() >= MAPS_INTERVAL;
        for child in children(launcher.id()) {
            let Some((role, bytes)) = role(child).zip(peak_bytes(child)) else { continue };
            let seen = seen.entry(child).or_insert(Seen { role, bytes, foreign: 0 });
            seen.bytes = bytes;
            if looks_at_maps {
                seen.foreign = foreign_bytes(child).unwrap_or(0).max(seen.foreign);
            }
        }
        if looks_at_maps {
            looked = Instant::now();
        }
        std::thread::sleep(LOOK_INTERVAL);
    }
    let largest = |role| {
        let of_role = seen.values().filter(|seen| seen.role == role);
        of_role.map(|seen| seen.bytes.saturating_sub(seen.foreign)).max()
    };
    Ok(Memory { coordinator: largest(Role::Coordinator), worker: largest(Role::Worker) })
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    Coordinator,
    Worker,
}

fn role(process: u32) -> Option<Role> {
    let line = fs::read(format!("/proc/{process}/cmdline")).ok()?;
    line.split(|&byte| byte == 0).find_map(|word| match word {
        b"coordinator" => Some(Role::Coordinator),
        b"worker" => Some(Role::Worker),
        _ => None,
    })
}

fn children(parent: u32) -> Vec<u32> {
    let Ok(processes) = fs::read_dir("/proc") else { return Vec::new() };
    let is_child = |process: &u32| {
        let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
        // The name in brackets may hold anything; after it come the state and the parent.
        let parent_of = stat.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().nth(1));
        parent_of.and_then(|found| found.parse().ok()) == Some(parent)
    };
    let names = processes.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    names.filter(is_child).collect()
}

fn peak_bytes(process: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(1024 * kibibytes)
}

/// Resident bytes of mappings that are shared and read only.
fn foreign_bytes(process: u32) -> Option<u64> {
    let maps = fs::read_to_string(format!("/proc/{process}/smaps")).ok()?;
    let mut is_foreign = false;
    let mut kibibytes = 0;
    for line in maps.lines() {
        let mut words = line.split_whitespace();
        match (words.next(), words.next()) {
            (Some("Rss:"), Some(number)) if is_foreign => {
                kibibytes += number.parse::<u64>().ok()?
            }
            (Some(range), Some(access)) if !range.ends_with(':') => is_foreign = access == "r--s",
            _ => {}
        }
    }
    Some(1024 * kibibytes)
}

/// Bytes that have crossed the loopback interface, packets' headers included, by the text of `/proc/net/dev`.
pub(crate) fn loopback_bytes(interfaces: &str) -> Option<u64> {
    let line = interfaces.lines().find_map(|line| line.trim().strip_prefix("lo:"))?;
    line.split_whitespace().next()?.parse().ok()
}
