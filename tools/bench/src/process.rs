//! What a process has used so far, from `/proc`.

use std::fs;
use std::path::Path;

/// CPU time and memory of one process.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Usage {
    /// User and system time of all its threads, ended ones too.
    pub(crate) cpu_seconds: f64,
    /// Most memory it ever held.
    pub(crate) rss_peak_bytes: u64,
    /// Memory it holds now.
    pub(crate) rss_bytes: u64,
}

/// What a process that does next to nothing has used so far.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Idling {
    /// CPU time of the threads that are there, to the nanosecond.
    pub(crate) cpu_seconds: f64,
    /// How often they went to sleep by themselves, and so how often they were woken.
    pub(crate) switches: u64,
}

/// What the threads of a process have used; `None` once it is gone. Those that have ended are left out.
pub(crate) fn idling(pid: u32) -> Option<Idling> {
    let mut sum = Idling::default();
    for task in fs::read_dir(Path::new("/proc").join(pid.to_string()).join("task")).ok()? {
        let folder = task.ok()?.path();
        // One that has just ended.
        let Ok(times) = fs::read_to_string(folder.join("schedstat")) else { continue };
        let Ok(status) = fs::read_to_string(folder.join("status")) else { continue };
        sum.cpu_seconds += times.split_ascii_whitespace().next()?.parse::<f64>().ok()? / 1e9;
        let switches = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"))?;
        sum.switches += switches.trim().parse::<u64>().ok()?;
    }
    Some(sum)
}

/// Memory of a process in which what it shares with others counts in part.
pub(crate) fn pss(pid: u32) -> Option<u64> {
    let sums = fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("smaps_rollup")).ok()?;
    kilobytes(&sums, "Pss:").map(|kilobytes| kilobytes * 1024)
}

/// The unit of the times in `/proc/PID/stat`: `USER_HZ` is 100 on every architecture PostgreSQL runs on.
const TICKS_PER_SECOND: f64 = 100.0;

/// What the process has used; `None` once it is gone.
pub(crate) fn usage(pid: u32) -> Option<Usage> {
    let folder = Path::new("/proc").join(pid.to_string());
    let cpu_seconds = cpu_seconds(&fs::read_to_string(folder.join("stat")).ok()?)?;
    let status = fs::read_to_string(folder.join("status")).ok()?;
    Some(Usage {
        cpu_seconds,
        rss_peak_bytes: kilobytes(&status, "VmHWM:").unwrap_or(0) * 1024,
        rss_bytes: kilobytes(&status, "VmRSS:").unwrap_or(0) * 1024,
    })
}

/// Fields 14 and 15 of `stat` (proc(5)). The second field is a name in parentheses and may hold anything.
fn cpu_seconds(stat: &str) -> Option<f64> {
    let after_name = stat.rsplit_once(')')?.1;
    let mut fields = after_name.split_ascii_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<f64>().ok();
    Some((ticks()? + ticks()?) / TICKS_PER_SECOND)
}

fn kilobytes(status: &str, name: &str) -> Option<u64> {
    status.lines().find_map(|line| line.strip_prefix(name))?.trim().strip_suffix(" kB")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_behind_any_name() {
        let stat = "7 (a) b (c)) S 1 7 7 0 -1 4194560 1 2 3 4 250 50 9 9 20 0 1 0 5 6 7";
        assert_eq!(cpu_seconds(stat), Some(3.0));
        assert_eq!(kilobytes("VmPeak:\t 9 kB\nVmHWM:\t     712 kB\n", "VmHWM:"), Some(712));
        let own = usage(std::process::id()).unwrap();
        assert!(own.rss_peak_bytes >= own.rss_bytes && own.rss_bytes > 0);
        assert!(pss(std::process::id()).is_some_and(|pss| pss > 0));
        assert!(idling(std::process::id()).is_some_and(|own| own.cpu_seconds > 0.0));
    }
}
