//! Whether the coordinator's machine runs short of room for checkpoints, or of memory: looked at when a checkpoint was written, on
//! the thread that writes it. A shortage is told once, and again only after there was enough. Only Linux says how much memory is
//! left; where something is not said, nothing is told.

use std::fs;
use std::path::Path;

/// The disk is short when fewer checkpoints than the first fit on it, and no more when more than the second do.
const CHECKPOINTS_SHORT: u64 = 4;
const CHECKPOINTS_ENOUGH: u64 = 8;

/// Memory is short when less than the first share of it is left, and no more when more than the second is.
const MEMORY_SHORT: f64 = 0.05;
const MEMORY_ENOUGH: f64 = 0.08;

/// Bytes that are left, and all.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Room {
    left: u64,
    all: u64,
}

/// What is short now.
#[derive(Debug, Default)]
pub(crate) struct Shortages {
    disk: Shortage,
    memory: Shortage,
}

#[derive(Debug, Default)]
struct Shortage(bool);

impl Shortage {
    /// Whether it is short now and was not before.
    fn is_new(&mut self, is_short: bool, is_enough: bool) -> bool {
        let was = std::mem::replace(&mut self.0, is_short);
        self.0 |= was && !is_enough;
        self.0 && !was
    }
}

impl Shortages {
    /// Looks at the machine, whose run folder gets checkpoints of about so many bytes; what there is to warn of.
    pub(crate) fn look(&mut self, folder: &Path, checkpoint_bytes: u64) -> Vec<String> {
        self.judge(disk(folder), memory(), checkpoint_bytes)
    }

    fn judge(
        &mut self,
        disk: Option<Room>,
        memory: Option<Room>,
        checkpoint_bytes: u64,
    ) -> Vec<String> {
        let mut warnings = Vec::new();
        if let Some(Room { left, .. }) = disk {
            let fits = left / checkpoint_bytes.max(1);
            let is_short = fits < CHECKPOINTS_SHORT;
            if self.disk.is_new(is_short, fits > CHECKPOINTS_ENOUGH) {
                warnings.push(format!(
                    "the disk of the run folder has {} left, less than {CHECKPOINTS_SHORT} checkpoints take: make room, or lower \
                     checkpoint.keep",
                    shown(left)
                ));
            }
        }
        if let Some(Room { left, all }) = memory {
            let share = left as f64 / all.max(1) as f64;
            if self.memory.is_new(share < MEMORY_SHORT, share > MEMORY_ENOUGH) {
                warnings.push(format!(
                    "the coordinator's machine has {} of its {} of memory left: when that is used up, a process is killed",
                    shown(left),
                    shown(all)
                ));
            }
        }
        warnings
    }
}

fn shown(bytes: u64) -> String {
    match bytes >> 20 {
        mib @ 0..1024 => format!("{mib} MiB"),
        mib => format!("{:.1} GiB", mib as f64 / 1024.0),
    }
}

fn disk(folder: &Path) -> Option<Room> {
    let found = nix::sys::statvfs::statvfs(folder).ok()?;
    // Of other widths elsewhere.
    #[allow(clippy::useless_conversion)]
    let bytes = |blocks: nix::libc::fsblkcnt_t| {
        u64::from(blocks).saturating_mul(u64::from(found.fragment_size()))
    };
    Some(Room { left: bytes(found.blocks_available()), all: bytes(found.blocks()) })
}

/// Of the machine, or of the container that this process is in, whichever has less.
fn memory() -> Option<Room> {
    let machine = fs::read_to_string("/proc/meminfo").ok().and_then(|text| of_machine(&text));
    let read = |name: &str| fs::read_to_string(format!("/sys/fs/cgroup/memory.{name}")).ok();
    let texts = read("max").zip(read("current")).zip(read("stat"));
    let container = texts.and_then(|((max, used), stat)| of_container(&max, &used, &stat));
    [machine, container].into_iter().flatten().min_by_key(|room| room.left)
}

fn of_machine(meminfo: &str) -> Option<Room> {
    let kib = |name: &str| {
        let line = meminfo.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim().trim_end_matches("kB").trim().parse::<u64>().ok()
    };
    let (left, all) = (kib("MemAvailable:")?, kib("MemTotal:")?);
    Some(Room { left: left << 10, all: all << 10 })
}

/// What a container may use less what it does, but for pages of files that can go.
fn of_container(max: &str, used: &str, stat: &str) -> Option<Room> {
    let all: u64 = max.trim().parse().ok()?;
    let used: u64 = used.trim().parse().ok()?;
    let pages = stat.lines().find_map(|line| line.strip_prefix("inactive_file "))?;
    let kept = used.saturating_sub(pages.trim().parse().ok()?);
    Some(Room { left: all.saturating_sub(kept), all })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn a_shortage_is_told_once_and_again_after_there_was_enough() {
        let mut shortages = Shortages::default();
        let mut told = |left: u64, share: u64| {
            let disk = Some(Room { left: left * MIB, all: 1000 * MIB });
            let memory = Some(Room { left: share * MIB, all: 100 * MIB });
            shortages.judge(disk, memory, 10 * MIB).len()
        };
        let found: Vec<usize> =
            [(500, 50), (39, 50), (39, 50), (60, 50), (30, 4), (30, 6), (30, 4), (95, 9), (39, 4)]
                .map(|(left, share)| told(left, share))
                .into();
        assert_eq!(found, [0, 1, 0, 0, 1, 0, 0, 0, 2]);
    }

    #[test]
    fn what_is_not_said_is_not_told() {
        let mut shortages = Shortages::default();
        assert_eq!(shortages.judge(None, None, 0), [""; 0]);
        let said = shortages.judge(Some(Room { left: 3 * MIB, all: 9 * MIB }), None, MIB);
        assert!(said[0].contains("has 3 MiB left"), "{said:?}");
    }

    #[test]
    fn what_linux_says_of_memory() {
        let meminfo = "MemTotal:       2048 kB\nMemFree: 1 kB\nMemAvailable:    512 kB\n";
        assert_eq!(of_machine(meminfo), Some(Room { left: 512 << 10, all: 2048 << 10 }));
        assert_eq!(of_machine("MemTotal: x kB"), None);
        let found = of_container("1000\n", "900\n", "anon 5\ninactive_file 300\n");
        assert_eq!(found, Some(Room { left: 400, all: 1000 }));
        assert_eq!(of_container("max\n", "900\n", "inactive_file 300\n"), None);
    }
}
