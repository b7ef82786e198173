//! What the system says of this process (Linux `proc(5)`); zero where it does not tell.

use std::fs;
use std::time::Duration;

/// Clock ticks a second in `/proc` files: `USER_HZ`, 100 on every architecture we build for.
const TICKS_PER_SECOND: u64 = 100;

/// Numbers that are cheap to read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Process {
    /// Resident memory in bytes.
    pub(super) resident_bytes: u64,
    /// Virtual memory in bytes.
    pub(super) virtual_bytes: u64,
    /// Processor time used, in user and system mode.
    pub(super) cpu: Duration,
}

impl Process {
    /// Reads them now.
    pub(super) fn read() -> Process {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
        Process {
            resident_bytes: kibibytes(&status, "VmRSS:").unwrap_or(0) * 1024,
            virtual_bytes: kibibytes(&status, "VmSize:").unwrap_or(0) * 1024,
            cpu: cpu(&stat).unwrap_or_default(),
        }
    }
}

/// Open file descriptors and how many there may be.
pub(super) fn file_descriptors() -> (u64, u64) {
    let open = fs::read_dir("/proc/self/fd").map_or(0, |entries| entries.count() as u64);
    let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    (open, open_files_max(&limits).unwrap_or(0))
}

fn kibibytes(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

fn cpu(stat: &str) -> Option<Duration> {
    // The second field is the command in parentheses and may hold anything; fields count on after the last one.
    let after_command = stat.rsplit_once(')')?.1;
    let mut from_utime = after_command.split_whitespace().skip(11);
    let user: u64 = from_utime.next()?.parse().ok()?;
    let system: u64 = from_utime.next()?.parse().ok()?;
    Some(Duration::from_millis(user.saturating_add(system).saturating_mul(1000 / TICKS_PER_SECOND)))
}

fn open_files_max(limits: &str) -> Option<u64> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proc_files_are_understood() {
        let status = "Name:\tsluicegate\nVmSize:\t  205000 kB\nVmRSS:\t   14336 kB\n";
        assert_eq!((kibibytes(status, "VmRSS:"), kibibytes(status, "VmSwap:")), (Some(14_336), None));
        let stat = "42 (a )( b) S 1 42 42 0 -1 4194560 900 0 0 0 250 50 0 0 20 0 4 0 100 1 2 3";
        assert_eq!((cpu(stat), cpu("42 (x"), cpu("")), (Some(Duration::from_secs(3)), None, None));
        let limits = "Limit  Soft Limit  Hard Limit  Units\nMax open files            1024   524288   files\n";
        assert_eq!((open_files_max(limits), open_files_max("Max open files unlimited")), (Some(1024), None));
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn this_process_is_seen() {
        let (open, open_max) = file_descriptors();
        assert!(Process::read().resident_bytes > 0 && open > 0 && open <= open_max);
    }
}
