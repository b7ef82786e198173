//! Crash points for tests: with the feature `failpoints`, `SLUICEGATE_FAILPOINT=name:n` ends the process at its n-th
//! pass of the point, as `kill -9` would. Without the feature a point costs nothing.

/// Passes a crash point.
#[cfg(not(feature = "failpoints"))]
#[inline(always)]
pub fn hit(_name: &str) {}

/// Passes a crash point.
#[cfg(feature = "failpoints")]
pub fn hit(name: &str) {
    use std::sync::LazyLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    static WANTED: LazyLock<Option<(String, u64)>> = LazyLock::new(|| {
        let setting = std::env::var("SLUICEGATE_FAILPOINT").ok()?;
        let (name, pass) = setting.split_once(':').unwrap_or((&setting, "1"));
        Some((name.to_owned(), pass.parse().unwrap_or(1)))
    });
    static PASSES: AtomicU64 = AtomicU64::new(0);

    if let Some((wanted, pass)) = &*WANTED
        && wanted == name
        && PASSES.fetch_add(1, Ordering::Relaxed) + 1 == *pass
    {
        // SIGKILL to ourselves: nothing is flushed, no destructor runs, as in a real crash.
        let myself = std::process::id().to_string();
        drop(std::process::Command::new("kill").args(["-9", &myself]).status());
        std::process::abort();
    }
}
