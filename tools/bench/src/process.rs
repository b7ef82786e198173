//! What a process has used so far, from its clock and `/proc`.

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

/// What the process has used; `None` once it is gone.
pub(crate) fn usage(pid: u32) -> Option<Usage> {
    let folder = Path::new("/proc").join(pid.to_string());
    let cpu_seconds = cpu_seconds(pid)?;
    let status = fs::read_to_string(folder.join("status")).ok()?;
    Some(Usage {
        cpu_seconds,
        rss_peak_bytes: kilobytes(&status, "VmHWM:").unwrap_or(0) * 1024,
        rss_bytes: kilobytes(&status, "VmRSS:").unwrap_or(0) * 1024,
    })
}

/// The process's own clock, as `/proc` counts in steps of 10 ms, which is too coarse for short runs.
fn cpu_seconds(pid: u32) -> Option<f64> {
    let (pid, mut clock) = (libc::pid_t::try_from(pid).ok()?, 0);
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    #[expect(unsafe_code, reason = "the standard library cannot ask for another process's clock")]
    // SAFETY: `clock` and `time` are valid and writable for the whole of both calls.
    let known = unsafe {
        libc::clock_getcpuclockid(pid, &raw mut clock) == 0 && libc::clock_gettime(clock, &raw mut time) == 0
    };
    known.then_some(time.tv_sec as f64 + time.tv_nsec as f64 / 1e9)
}

fn kilobytes(status: &str, name: &str) -> Option<u64> {
    status.lines().find_map(|line| line.strip_prefix(name))?.trim().strip_suffix(" kB")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_has_used_something() {
        assert_eq!(kilobytes("VmPeak:\t 9 kB\nVmHWM:\t     712 kB\n", "VmHWM:"), Some(712));
        let own = usage(std::process::id()).unwrap();
        assert!(own.rss_peak_bytes >= own.rss_bytes && own.rss_bytes > 0 && own.cpu_seconds > 0.0);
        assert!(usage(u32::MAX).is_none(), "there is no such process");
        assert!(pss(std::process::id()).is_some_and(|pss| pss > 0));
        assert!(idling(std::process::id()).is_some_and(|own| own.cpu_seconds > 0.0));
    }
}
