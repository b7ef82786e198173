//! What was measured, as it is kept in the results file.

use serde::{Deserialize, Serialize};

use crate::fleet::{CPU_MAX, RSS_MAX};
use crate::machine::Machine;

/// One run of the whole tool. A section that was not run is absent.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Results {
    /// When, RFC 3339.
    pub(crate) taken_at: String,
    /// How it was called.
    pub(crate) command: String,
    /// On what.
    pub(crate) machine: Machine,
    /// Whether walsender and reader were bound to a core each.
    pub(crate) pinned: bool,
    /// Draining a backlog.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) drain: Vec<WorkloadResult>,
    /// From commit to sink.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) latency: Option<LatencyResult>,
    /// Copying rows that exist already.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) snapshot: Vec<SnapshotResult>,
    /// Draining backlogs that differ in one respect.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) sweep: Vec<AxisResult>,
    /// Memory under what asks for much of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) memory: Vec<MemoryResult>,
    /// Many idle sidecars.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) fleet: Option<FleetResult>,
}

/// Backlogs that differ in one respect, which grows.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct AxisResult {
    /// What grows.
    pub(crate) title: String,
    /// What stays as it is.
    pub(crate) fixed: String,
    /// In ascending order.
    pub(crate) points: Vec<PointResult>,
}

/// One of them.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct PointResult {
    /// How much of what grows.
    pub(crate) value: u64,
    /// Row changes.
    pub(crate) rows: u64,
    /// Bytes that the server sent for them.
    pub(crate) bytes: u64,
    /// Over loopback TCP.
    pub(crate) tcp: Vec<Pair>,
}

impl PointResult {
    /// The median over the pairs.
    pub(crate) fn median(&self, of: impl Fn(&Pair) -> f64) -> f64 {
        Spread::of(self.tcp.iter().map(of)).map_or(f64::NAN, |spread| spread.median)
    }

    /// Row changes a second.
    pub(crate) fn rate(&self, of: impl Fn(&Pair) -> Drained) -> f64 {
        self.rows as f64 / self.median(|pair| of(pair).seconds)
    }

    /// The reader's CPU time for a row, in microseconds.
    pub(crate) fn micros(&self, of: impl Fn(&Pair) -> Drained) -> f64 {
        self.median(|pair| of(pair).reader_cpu) * 1e6 / self.rows as f64
    }
}

/// Memory of a sidecar under one kind of work, in bytes.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct MemoryResult {
    /// Short name.
    pub(crate) name: String,
    /// What it is, for a person.
    pub(crate) title: String,
    /// Most that is promised.
    pub(crate) limit: u64,
    /// Most that it held.
    pub(crate) peak: u64,
    /// What it held at the end.
    pub(crate) after: u64,
}

/// What idle sidecars cost together.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct FleetResult {
    /// How many.
    pub(crate) sidecars: u32,
    /// Memory in bytes, what they share counted for each.
    pub(crate) rss: u64,
    /// Memory in bytes, what they share counted once.
    pub(crate) pss: u64,
    /// CPU time as a part of one core.
    pub(crate) cpu: f64,
    /// How often each is woken.
    pub(crate) wakeups_per_second: f64,
    /// CPU time of the server's processes for them, as a part of one core.
    pub(crate) server_cpu: f64,
    /// Statements and transactions that each asks the server for.
    pub(crate) transactions_per_minute: f64,
}

/// The copies of one table over one number of connections.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct SnapshotResult {
    /// Short name of the workload whose table it is.
    pub(crate) name: String,
    /// Rows in the table.
    pub(crate) rows: u64,
    /// Bytes of the table's own storage, without indexes.
    pub(crate) bytes: u64,
    /// Connections that read at once.
    pub(crate) connections: u32,
    /// Copies, two by two.
    pub(crate) pairs: Vec<CopyPair>,
}

/// Two copies, one right after the other.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct CopyPair {
    /// `COPY (SELECT * FROM t) TO STDOUT` to /dev/null, by psql.
    pub(crate) reference: Copied,
    /// Sluicegate.
    pub(crate) sluicegate: Copied,
}

/// One copy.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Copied {
    /// From the first transaction that reads until psql has ended, or until the copy is stored as finished.
    pub(crate) seconds: f64,
    /// CPU time of the server's processes that read the table.
    pub(crate) backends_cpu: f64,
    /// CPU time of the reader, or readers, in that time.
    pub(crate) reader_cpu: f64,
    /// Most memory one reader ever held.
    pub(crate) reader_rss_peak: u64,
    /// CPU time of the stand-in, where there is one.
    pub(crate) standin_cpu: f64,
}

/// The drains of one backlog.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct WorkloadResult {
    /// Short name.
    pub(crate) name: String,
    /// What it is.
    pub(crate) title: String,
    /// Row changes.
    pub(crate) rows: u64,
    /// Bytes that the server sent for them.
    pub(crate) bytes: u64,
    /// Over loopback TCP.
    pub(crate) tcp: Vec<Pair>,
    /// Over the unix socket.
    pub(crate) unix: Vec<Pair>,
}

/// Two drains, one right after the other.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Pair {
    /// `pg_recvlogical -f /dev/null`.
    pub(crate) reference: Drained,
    /// Sluicegate.
    pub(crate) sluicegate: Drained,
}

/// One drain.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Drained {
    /// From the first moment the slot is in use until its confirmed position is the backlog's end.
    pub(crate) seconds: f64,
    /// CPU time of the server's process for this connection.
    pub(crate) walsender_cpu: f64,
    /// CPU time of the reader in that time.
    pub(crate) reader_cpu: f64,
    /// Most memory the reader ever held.
    pub(crate) reader_rss_peak: u64,
    /// CPU time of the stand-in, where there is one.
    pub(crate) standin_cpu: f64,
}

/// Milliseconds from the moment before an INSERT is sent to the moment its row is visible in the stand-in.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct LatencyResult {
    /// Memory of the sidecar before the first change.
    pub(crate) rss_idle: u64,
    /// One row now and then, nothing else.
    pub(crate) idle: Latencies,
    /// Three rows in a row now and then, nothing else. Older results do not have it.
    #[serde(default)]
    pub(crate) few: Latencies,
    /// One row after the other beside steady traffic.
    pub(crate) loaded: Latencies,
    /// Rows a second of that traffic.
    pub(crate) load_rows_per_second: f64,
}

/// A series of them.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Latencies {
    /// In the order they were measured.
    pub(crate) milliseconds: Vec<f64>,
}

impl Latencies {
    /// The smallest value that at least this part of the values does not exceed.
    pub(crate) fn quantile(&self, part: f64) -> f64 {
        let mut sorted = self.milliseconds.clone();
        sorted.sort_unstable_by(f64::total_cmp);
        let rank = (part * sorted.len() as f64).ceil() as usize;
        sorted.get(rank.max(1) - 1).copied().unwrap_or(f64::NAN)
    }
}

/// Median and range of some figures.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) least: f64,
    pub(crate) most: f64,
}

impl Spread {
    /// `None` of nothing.
    pub(crate) fn of(values: impl IntoIterator<Item = f64>) -> Option<Spread> {
        let mut sorted: Vec<f64> = values.into_iter().collect();
        sorted.sort_unstable_by(f64::total_cmp);
        let (&least, &most) = (sorted.first()?, sorted.last()?);
        let middle = sorted.len() / 2;
        let median =
            if sorted.len() % 2 == 1 { sorted[middle] } else { f64::midpoint(sorted[middle - 1], sorted[middle]) };
        Some(Spread { median, least, most })
    }
}

impl Pair {
    /// How many times faster Sluicegate was.
    pub(crate) fn ratio(&self) -> f64 {
        self.reference.seconds / self.sluicegate.seconds
    }
}

impl CopyPair {
    /// How many times faster Sluicegate was.
    pub(crate) fn ratio(&self) -> f64 {
        self.reference.seconds / self.sluicegate.seconds
    }
}

impl WorkloadResult {
    /// Sluicegate : pg_recvlogical over TCP.
    pub(crate) fn tcp_ratio(&self) -> Option<Spread> {
        Spread::of(self.tcp.iter().map(Pair::ratio))
    }
}

impl Results {
    /// What took more than is promised, for a person.
    pub(crate) fn over_limits(&self) -> Vec<String> {
        let megabytes = |bytes: u64| bytes as f64 / 1e6;
        let over = |result: &&MemoryResult| result.peak > result.limit;
        let told = |result: &MemoryResult| {
            let MemoryResult { title, peak, limit, .. } = result;
            format!("{title}: {:.1} MB where {:.1} MB are promised", megabytes(*peak), megabytes(*limit))
        };
        let mut found: Vec<String> = self.memory.iter().filter(over).map(told).collect();
        if let Some(fleet) = self.fleet.filter(|fleet| fleet.rss > RSS_MAX || fleet.cpu > CPU_MAX) {
            let (rss, cpu) = (megabytes(fleet.rss), fleet.cpu * 100.0);
            found.push(format!("{} idle sidecars: {rss:.0} MB, {cpu:.2} % of a core", fleet.sidecars));
        }
        found
    }

    /// The lowest of the workloads' median ratios over TCP.
    pub(crate) fn lowest_ratio(&self) -> Option<f64> {
        self.drain.iter().filter_map(|workload| Some(workload.tcp_ratio()?.median)).min_by(f64::total_cmp)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_and_quantiles() {
        assert_eq!(Spread::of([3.0, 1.0, 2.0]), Some(Spread { median: 2.0, least: 1.0, most: 3.0 }));
        assert_eq!(Spread::of([4.0, 1.0]).map(|spread| spread.median), Some(2.5));
        assert_eq!(Spread::of([]), None);
        let latencies = Latencies { milliseconds: (1..=200).rev().map(f64::from).collect() };
        let found = [0.0, 0.5, 0.99, 1.0].map(|part| latencies.quantile(part));
        assert_eq!(found, [1.0, 100.0, 198.0, 200.0]);
    }
}
