//! The results as text: for the terminal, and as a page of the documentation.

use std::fmt::Write as _;

use crate::results::{
    AxisResult, CopyPair, Drained, FleetResult, Latencies, LatencyResult, MemoryResult, Pair, Results, SnapshotResult,
    Spread, WorkloadResult,
};

/// Tables for the terminal.
pub(crate) fn text(results: &Results) -> String {
    tables(results).into_iter().map(|(_, table)| table + "\n").collect()
}

/// `docs/performance.md`.
pub(crate) fn page(results: &Results) -> String {
    let Results { taken_at, command, machine, pinned, .. } = results;
    let manner = if *pinned { "walsender and reader bound to a core each" } else { "nothing pinned to a core" };
    let mut page = format!(
        "# Performance\n\
         Written by `scripts/bench.sh --write-docs`; do not edit. The figures are one machine's; the ratios travel \
         better than the\nfigures. Measure on yours: `scripts/bench.sh --quick` takes less than three minutes besides \
         the build.\n\n\
         - machine: {machine}\n- command: `{command}`, {taken_at}, {manner}\n- raw results: [performance.json]\
         (performance.json)\n\n![Drain rate by workload](performance.svg)\n"
    );
    for (heading, table) in tables(results) {
        // Writing to a String cannot fail.
        let _ = write!(page, "\n## {heading}\n{}\n{table}", explained(heading));
    }
    page
}

const RATE: &str = "Drain rate";
const CPU: &str = "CPU";
const MEMORY: &str = "Memory";
const LATENCY: &str = "Latency";
const SNAPSHOT: &str = "Copy of existing rows";
const SWEEP: &str = "Cost as the work grows";
const BOUNDS: &str = "Memory where much is asked for";
const FLEET: &str = "Many idle sidecars";

fn explained(heading: &str) -> &'static str {
    match heading {
        RATE => {
            "A backlog waits behind one slot per run and is drained by `pg_recvlogical -f /dev/null` and by Sluicegate \
             into a\nserver that checks and counts the rows and keeps none (`--discard`), one right after the other. \
             The clock runs from the\nmoment the slot is in use until its confirmed position is the backlog's end: for \
             Sluicegate that includes loading, storing\nthe checkpoint and confirming. Medians; the ratio's range in \
             brackets. Settings are the defaults, except\n`FLUSH_INTERVAL_MS=20` and `CHECKPOINT_INTERVAL=50ms`, \
             because the wait of a backlog's last rows is latency, not rate,\nand `SNAPSHOT=never`, because copying \
             is measured below.\n"
        }
        CPU => {
            "CPU seconds per million row changes, medians, over TCP. How the reader reads decides what the walsender \
             pays.\n"
        }
        BOUNDS => {
            "`MEMORY_BUDGET` is the default, 64 MiB. Promised are the budget and 16 MB; for a row that is larger than the \
             budget twice\nits size and 16 MB, because it is held once as it came and once as it is sent; 15 MB while \
             idle. At the end: ten seconds after\nthe last row was durable, or while the sink is stalled.\n"
        }
        FLEET => {
            "Sidecars beside one server, each with a slot and a table of its own, while nothing is written. Promised are \
             less than 600 MB\nof RSS and 2 % of one core for all of them.\n"
        }
        MEMORY => "Most memory the sidecar held, over all runs. `MEMORY_BUDGET` is the default, 64 MiB.\n",
        SWEEP => {
            "![Rate and CPU time as the work grows](performance-sweep.svg)\n\n\
             Backlogs that differ in one respect, drained as above over TCP. A straight line is a steady cost; where \
             Sluicegate bends\nand pg_recvlogical does not, the cost is ours.\n\n\
             - Few rows per transaction: each transaction has two messages of its own, for either reader.\n\
             - Many columns: a value costs its checks and its field name, so the cost grows with their number although \
             the bytes do not.\n\
             - Large rows: rows a second fall as bytes a row grow; CPU a MB is the figure to look at.\n\
             - Many tables: every table is loaded on its own, and a load costs the sidecar some tenths of a \
             millisecond, as much as hundreds\n  of rows. The interval between flushes decides how many loads there \
             are; it is 20 ms here, fifty times shorter than the\n  default. Parts of a table that wait for the sink go \
             together, so that a sink that falls behind gets fewer and larger loads.\n"
        }
        SNAPSHOT => {
            "A table is read by psql, `COPY (SELECT * FROM t) TO STDOUT` to /dev/null with its blocks split between the \
             connections,\nand copied by Sluicegate (`SNAPSHOT=initial`, `SNAPSHOT_PARALLELISM` as given, else defaults) \
             into the stand-in, one right after\nthe other. The clock runs from the first transaction that reads until psql \
             has ended, or until every row is durable in the sink\nand the copy is stored as finished. MB are those of the \
             table's storage. CPU in seconds per million rows. Medians; the\nratio's range in brackets.\n"
        }
        _ => {
            "From the moment before an `INSERT` is sent until its row is visible in the stand-in, default settings. A \
             few changes\nafter a quiet time go out at once; beside steady traffic a change waits for the next flush \
             (`FLUSH_INTERVAL_MS`, 1 s by\ndefault). With `synchronous_commit = off` the server itself would keep a \
             commit back for up to three times\n`wal_writer_delay`.\n"
        }
    }
}

fn tables(results: &Results) -> Vec<(&'static str, String)> {
    let mut tables = Vec::new();
    if !results.drain.is_empty() {
        tables.push((RATE, rates(&results.drain)));
        tables.push((CPU, cpu(&results.drain)));
        tables.push((MEMORY, memory(results)));
    }
    if let Some(latency) = &results.latency {
        tables.push((LATENCY, latencies(latency)));
    }
    if !results.snapshot.is_empty() {
        tables.push((SNAPSHOT, copies(&results.snapshot)));
    }
    if !results.sweep.is_empty() {
        tables.push((SWEEP, grown(&results.sweep)));
    }
    if !results.memory.is_empty() {
        tables.push((BOUNDS, bounds(&results.memory)));
    }
    if let Some(fleet) = &results.fleet {
        tables.push((FLEET, fleet_table(fleet)));
    }
    tables
}

fn rates(workloads: &[WorkloadResult]) -> String {
    let mut rows = vec![header(&["workload", "rows", "over", "pg_recvlogical", "sluicegate", "MB/s", "ratio"])];
    for workload in workloads {
        for (over, pairs) in [("TCP", &workload.tcp), ("unix", &workload.unix)] {
            let seconds = |of: fn(&Pair) -> Drained| Spread::of(pairs.iter().map(|pair| of(pair).seconds));
            let (Some(reference), Some(ours)) = (seconds(|pair| pair.reference), seconds(|pair| pair.sluicegate))
            else {
                continue;
            };
            let rate = |spread: Spread| format!("{:.0} k rows/s", workload.rows as f64 / spread.median / 1e3);
            rows.push(vec![
                format!("{}: {}", workload.name, workload.title),
                thousands(workload.rows),
                over.to_owned(),
                rate(reference),
                rate(ours),
                format!("{:.0}", workload.bytes as f64 / ours.median / 1e6),
                Spread::of(pairs.iter().map(Pair::ratio)).map_or_else(String::new, ratio),
            ]);
        }
    }
    aligned(&rows)
}

fn ratio(ratio: Spread) -> String {
    format!("{:.2} ({:.2} to {:.2})", ratio.median, ratio.least, ratio.most)
}

fn cpu(workloads: &[WorkloadResult]) -> String {
    let columns = [
        "workload",
        "walsender, pg_recvlogical reads",
        "pg_recvlogical",
        "walsender, sluicegate reads",
        "sluicegate",
        "sluicegate : its walsender",
    ];
    let mut rows = vec![header(&columns)];
    for workload in workloads.iter().filter(|workload| !workload.tcp.is_empty()) {
        let median = |of: fn(&Pair) -> f64| Spread::of(workload.tcp.iter().map(of)).map_or(f64::NAN, |s| s.median);
        let per_million = |seconds: f64| format!("{:.2}", seconds * 1e6 / workload.rows as f64);
        rows.push(vec![
            workload.name.clone(),
            per_million(median(|pair| pair.reference.walsender_cpu)),
            per_million(median(|pair| pair.reference.reader_cpu)),
            per_million(median(|pair| pair.sluicegate.walsender_cpu)),
            per_million(median(|pair| pair.sluicegate.reader_cpu)),
            format!("{:.2}", median(|pair| pair.sluicegate.reader_cpu / pair.sluicegate.walsender_cpu)),
        ]);
    }
    aligned(&rows)
}

fn memory(results: &Results) -> String {
    let mut rows = vec![header(&["workload", "peak RSS"])];
    let megabytes = |bytes: u64| format!("{:.1} MB", bytes as f64 / 1e6);
    if let Some(latency) = &results.latency {
        rows.push(vec!["idle".to_owned(), megabytes(latency.rss_idle)]);
    }
    for workload in &results.drain {
        let peaks = workload.tcp.iter().chain(&workload.unix).map(|pair| pair.sluicegate.reader_rss_peak);
        rows.push(vec![workload.name.clone(), megabytes(peaks.max().unwrap_or(0))]);
    }
    aligned(&rows)
}

fn latencies(latency: &LatencyResult) -> String {
    let mut rows = vec![header(&["", "rows", "p50", "p99", "max"])];
    let beside = format!("beside {} rows/s", thousands(latency.load_rows_per_second as u64));
    let series = [("idle", &latency.idle), ("a few in a row", &latency.few), (beside.as_str(), &latency.loaded)];
    for (name, latencies) in series.into_iter().filter(|(_, latencies)| !latencies.milliseconds.is_empty()) {
        let quantile = |part| format!("{:.0} ms", Latencies::quantile(latencies, part));
        let count = latencies.milliseconds.len().to_string();
        rows.push(vec![name.to_owned(), count, quantile(0.5), quantile(0.99), quantile(1.0)]);
    }
    aligned(&rows)
}

fn copies(snapshots: &[SnapshotResult]) -> String {
    let columns = [
        "table",
        "rows",
        "connections",
        "COPY",
        "sluicegate",
        "ratio",
        "CPU: COPY's backends",
        "sluicegate's backends",
        "sluicegate",
        "peak RSS",
    ];
    let mut rows = vec![header(&columns)];
    for snapshot in snapshots {
        let median =
            |of: fn(&CopyPair) -> f64| Spread::of(snapshot.pairs.iter().map(of)).map_or(f64::NAN, |s| s.median);
        let rate = |seconds: f64| {
            let (rows, bytes) = (snapshot.rows as f64 / seconds, snapshot.bytes as f64 / seconds);
            format!("{:.0} k rows/s, {:.0} MB/s", rows / 1e3, bytes / 1e6)
        };
        let per_million = |seconds: f64| format!("{:.2}", seconds * 1e6 / snapshot.rows as f64);
        let peak = snapshot.pairs.iter().map(|pair| pair.sluicegate.reader_rss_peak).max().unwrap_or(0);
        rows.push(vec![
            snapshot.name.clone(),
            thousands(snapshot.rows),
            snapshot.connections.to_string(),
            rate(median(|pair| pair.reference.seconds)),
            rate(median(|pair| pair.sluicegate.seconds)),
            Spread::of(snapshot.pairs.iter().map(CopyPair::ratio)).map_or_else(String::new, ratio),
            per_million(median(|pair| pair.reference.backends_cpu)),
            per_million(median(|pair| pair.sluicegate.backends_cpu)),
            per_million(median(|pair| pair.sluicegate.reader_cpu)),
            format!("{:.1} MB", peak as f64 / 1e6),
        ]);
    }
    aligned(&rows)
}

fn grown(axes: &[AxisResult]) -> String {
    let columns = [
        "what grows",
        "",
        "pg_recvlogical",
        "sluicegate",
        "MB/s",
        "ratio",
        "CPU µs a row: pg_recvlogical",
        "sluicegate",
        "sluicegate, CPU ms a MB",
        "peak RSS",
    ];
    let mut rows = vec![header(&columns)];
    for (axis, point) in axes.iter().flat_map(|axis| axis.points.iter().map(move |point| (axis, point))) {
        let ours = |pair: &Pair| pair.sluicegate;
        let rate = |of: fn(&Pair) -> Drained| format!("{:.1} k rows/s", point.rate(of) / 1e3);
        let megabytes = point.bytes as f64 / 1e6;
        let peak = point.tcp.iter().map(|pair| pair.sluicegate.reader_rss_peak).max().unwrap_or(0);
        rows.push(vec![
            axis.title.clone(),
            thousands(point.value),
            rate(|pair| pair.reference),
            rate(ours),
            format!("{:.0}", megabytes / point.median(|pair| ours(pair).seconds)),
            format!("{:.2}", point.median(Pair::ratio)),
            format!("{:.2}", point.micros(|pair| pair.reference)),
            format!("{:.2}", point.micros(ours)),
            format!("{:.2}", point.median(|pair| ours(pair).reader_cpu) * 1e3 / megabytes),
            format!("{:.1} MB", peak as f64 / 1e6),
        ]);
    }
    aligned(&rows)
}

fn bounds(cases: &[MemoryResult]) -> String {
    let mut rows = vec![header(&["", "promised", "peak RSS", "at the end"])];
    let megabytes = |bytes: u64| format!("{:.1} MB", bytes as f64 / 1e6);
    for MemoryResult { title, limit, peak, after, .. } in cases {
        rows.push(vec![title.clone(), megabytes(*limit), megabytes(*peak), megabytes(*after)]);
    }
    aligned(&rows)
}

fn fleet_table(fleet: &FleetResult) -> String {
    let FleetResult { sidecars, rss, pss, cpu, wakeups_per_second, server_cpu, transactions_per_minute } = fleet;
    let share = |part: &f64| format!("{:.2} % of a core", part * 100.0);
    let megabytes = |bytes: &u64| format!("{:.0} MB", *bytes as f64 / 1e6);
    let rows = [
        ("idle sidecars", sidecars.to_string()),
        ("RSS together", megabytes(rss)),
        ("PSS together (shared memory counted once)", megabytes(pss)),
        ("CPU together", share(cpu)),
        ("the server's CPU for all of them", share(server_cpu)),
        ("statements and transactions of each, a minute", format!("{transactions_per_minute:.0}")),
        ("wake-ups of each, a second", format!("{wakeups_per_second:.1}")),
    ];
    let rows = rows.map(|(what, value)| vec![what.to_owned(), value]);
    aligned(&[vec![header(&["", "measured"])], rows.to_vec()].concat())
}

fn header(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// `1234567` as `1,234,567`.
fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let (head, tail) = digits.split_at((digits.len() - 1) % 3 + 1);
    tail.as_bytes().chunks(3).fold(head.to_owned(), |text, group| text + "," + &String::from_utf8_lossy(group))
}

/// A Markdown table with its columns aligned; the first row is its header.
fn aligned(rows: &[Vec<String>]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let columns = rows.first().map_or(0, Vec::len);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut table = String::new();
    for (number, row) in rows.iter().enumerate() {
        let cells: Vec<String> = row
            .iter()
            .zip(&widths)
            .enumerate()
            .map(|(at, (cell, width))| if at == 0 { format!("{cell:<width$}") } else { format!("{cell:>width$}") })
            .collect();
        table += &format!("| {} |\n", cells.join(" | "));
        if number == 0 {
            let rules: Vec<String> = widths
                .iter()
                .enumerate()
                .map(|(at, width)| "-".repeat(*width) + if at == 0 { "-" } else { ":" })
                .collect();
            table += &format!("|-{}|\n", rules.join("|-"));
        }
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_and_tables_aligned() {
        let cases = [(0, "0"), (999, "999"), (1000, "1,000"), (1_234_567, "1,234,567")];
        for (number, want) in cases {
            assert_eq!(thousands(number), want);
        }
        let rows = [header(&["x", "rate"]), header(&["long", "5"])];
        assert_eq!(aligned(&rows), "| x    | rate |\n|------|-----:|\n| long |    5 |\n");
    }
}
