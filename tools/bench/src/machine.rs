//! What the figures were taken on.

use std::fs;

use serde::{Deserialize, Serialize};

/// The machine and its server.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Machine {
    /// Name of the CPU.
    pub(crate) cpu: String,
    /// Cores this process may use.
    pub(crate) cores: usize,
    /// Memory, GiB.
    pub(crate) memory_gib: f64,
    /// Kernel release.
    pub(crate) kernel: String,
    /// Version of PostgreSQL.
    pub(crate) postgres: String,
}

impl Machine {
    /// This machine, with this PostgreSQL.
    pub(crate) fn this(postgres: String) -> Machine {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let field = |text: &str, name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.trim_start().strip_prefix(':'))?;
            Some(line.trim().to_owned())
        };
        let memory = field(&read("/proc/meminfo"), "MemTotal").and_then(|text| text.split(' ').next()?.parse().ok());
        Machine {
            cpu: field(&read("/proc/cpuinfo"), "model name").unwrap_or_else(|| std::env::consts::ARCH.to_owned()),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            memory_gib: memory.map_or(0.0, |kib: f64| (kib / 104_857.6).round() / 10.0),
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            postgres,
        }
    }
}

impl std::fmt::Display for Machine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Machine { cpu, cores, memory_gib, kernel, postgres } = self;
        write!(f, "{cpu}, {cores} cores, {memory_gib} GiB, Linux {kernel}, PostgreSQL {postgres}")
    }
}
