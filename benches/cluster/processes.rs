//! What the system knows of processes and of the loopback interface, from `/proc`. Where there is none, nothing is known.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::process::Child;
use std::time::Duration;

/// Between two looks: a peak is kept by the system, so that only what grows after the last look is missed.
const LOOK_INTERVAL: Duration = Duration::from_millis(10);

/// Peak resident memory in bytes, but for what others share with the process.
pub(crate) struct Memory {
    pub(crate) coordinator: Option<u64>,
    /// The largest worker's.
    pub(crate) worker: Option<u64>,
}

/// The peaks of a process: all its memory, and what it has mapped of memory that is shared.
struct Peaks {
    role: Role,
    bytes: u64,
    shared: u64,
}

/// Watches the children of a launcher until it ends. Each process shares so many bytes of its own, if it shares at all.
pub(crate) fn watch(launcher: &mut Child, own_shared: u64) -> io::Result<Memory> {
    let mut seen: HashMap<u32, Peaks> = HashMap::new();
    while launcher.try_wait()?.is_none() {
        for child in children(launcher.id()) {
            let status = fs::read_to_string(format!("/proc/{child}/status")).unwrap_or_default();
            let Some((role, bytes)) = role(child).zip(bytes_of(&status, "VmHWM:")) else {
                continue;
            };
            let peaks = seen.entry(child).or_insert(Peaks { role, bytes, shared: 0 });
            peaks.bytes = bytes;
            peaks.shared = bytes_of(&status, "RssShmem:").unwrap_or(0).max(peaks.shared);
        }
        std::thread::sleep(LOOK_INTERVAL);
    }
    let largest = |role| {
        let of_role = seen.values().filter(|peaks| peaks.role == role);
        of_role.map(|peaks| peaks.bytes - peaks.shared.saturating_sub(own_shared)).max()
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

/// A line of `/proc/PID/status`.
fn bytes_of(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(1024 * kibibytes)
}

/// Bytes that have crossed the loopback interface, packets' headers included, by the text of `/proc/net/dev`.
pub(crate) fn loopback_bytes(interfaces: &str) -> Option<u64> {
    let line = interfaces.lines().find_map(|line| line.trim().strip_prefix("lo:"))?;
    line.split_whitespace().next()?.parse().ok()
}
