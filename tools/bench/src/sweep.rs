//! How the cost of a row grows with the work: backlogs that differ in one respect, from little to a lot.
//!
//! Always: each point is drained by `pg_recvlogical` and by Sluicegate over the same backlog, so that what a point
//! costs the server itself shows in both. Start at [`axes`].

use std::time::Instant;

use rig::Cluster;

use crate::backlog::{Backlog, Changes};
use crate::drain::{Drains, Transport};
use crate::results::{AxisResult, PointResult};
use crate::workload::{NARROW, NARROW_ROW};
use crate::{Failure, Plan};

/// What grows.
struct Axis {
    name: &'static str,
    title: &'static str,
    fixed: &'static str,
    values: &'static [u64],
    changes: fn(u64, f64) -> Changes,
}

fn axes() -> [Axis; 4] {
    [
        Axis {
            name: "transaction",
            title: "rows per transaction",
            fixed: "narrow rows, one table",
            values: &[1, 10, 100, 1000, 10_000, 100_000, 1_000_000],
            changes: by_transaction,
        },
        Axis {
            name: "columns",
            title: "columns",
            fixed: "1 kB of text split between them",
            values: &[2, 5, 10, 20, 50, 100, 200],
            changes: by_columns,
        },
        Axis {
            name: "size",
            title: "bytes per row",
            fixed: "one large column, stored uncompressed",
            values: &[50, 500, 2000, 5000, 20_000, 50_000, 100_000],
            changes: by_size,
        },
        Axis {
            name: "tables",
            title: "tables",
            fixed: "transactions of 100 narrow rows, 10 rows in each of 10 tables",
            values: &[1, 10, 30, 100, 300, 1000],
            changes: by_tables,
        },
    ]
}

/// Drains every point.
pub(crate) async fn run(plan: &Plan, cluster: &Cluster) -> Result<Vec<AxisResult>, Failure> {
    let mut results = Vec::new();
    let wanted = |axis: &Axis| plan.axes.is_empty() || plan.axes.iter().any(|name| name == axis.name);
    for axis in axes().into_iter().filter(wanted) {
        let mut points = Vec::new();
        for &value in axis.values {
            points.push(point(plan, cluster, &axis, value).await?);
        }
        results.push(AxisResult { title: axis.title.to_owned(), fixed: axis.fixed.to_owned(), points });
    }
    Ok(results)
}

async fn point(plan: &Plan, cluster: &Cluster, axis: &Axis, value: u64) -> Result<PointResult, Failure> {
    let changes = Changes { name: format!("{}_{value}", axis.name), ..(axis.changes)(value, plan.scale) };
    println!("\n{value} {}, {} rows", axis.title, changes.rows);
    let start = Instant::now();
    let mut backlog = Backlog::make(cluster, &changes).await?;
    println!("   made in {:.1} s", start.elapsed().as_secs_f64());
    let mut drains = Drains::new(plan, cluster, &[]);
    let tcp = drains.pairs(&mut backlog, Transport::Tcp, plan.sweep_pairs).await?;
    let result = PointResult { value, rows: backlog.rows, bytes: drains.bytes, tcp };
    backlog.forget().await?;
    Ok(result)
}

fn scaled(rows: u64, scale: f64) -> u64 {
    ((rows as f64 * scale) as u64).max(1)
}

/// An anonymous block that inserts rows `low` to `high` for every batch and commits each.
fn batches(rows: u64, batch: u64, insert: &str) -> String {
    format!(
        "DO $$ DECLARE high bigint; BEGIN FOR low IN 1..{rows} BY {batch} LOOP \
         high := least(low + {batch} - 1, {rows}); {insert}; COMMIT; END LOOP; END $$"
    )
}

/// Numbers of the rows from `low` to `high`.
const NUMBERS: &str = "generate_series(low, high) i";

fn one_table(table: String, row: &str, from: &str, rows: u64, batch: u64) -> Changes {
    let insert = format!("INSERT INTO public.t SELECT {row} FROM {from}");
    Changes {
        name: String::new(),
        tables: vec!["t".to_owned()],
        setup: vec![table],
        marker: insert.replace("(low, high)", "(0, 0)"),
        sessions: vec![batches(rows, batch, &insert)],
        rows,
    }
}

fn by_transaction(batch: u64, scale: f64) -> Changes {
    // The server takes long for many commits; what a transaction is to hold must be there.
    let rows = match batch {
        1 => 100_000,
        10 => 200_000,
        _ => 400_000,
    };
    one_table(NARROW.to_owned(), NARROW_ROW, NUMBERS, scaled(rows, scale).max(batch), batch)
}

/// Bytes of a row of which only the number of columns differs.
const SPLIT_BYTES: u64 = 1000;

fn by_columns(columns: u64, scale: f64) -> Changes {
    let texts = columns - 1;
    let width = SPLIT_BYTES / texts;
    let named = (0..texts).map(|at| format!(", c{at} text"));
    let values = (0..texts).map(|at| format!(", substr(whole, {}, {width})", at * width + 1));
    let table = format!("CREATE TABLE public.t (id bigint PRIMARY KEY{})", named.collect::<String>());
    // OFFSET keeps the server from making the text anew for each column.
    let from = "(SELECT i, repeat(md5(i::text), 32) AS whole FROM generate_series(low, high) i OFFSET 0) rows";
    let select = format!("i{}", values.collect::<String>());
    one_table(table, &select, from, scaled(50_000, scale), 100)
}

/// Bytes of a whole backlog of large rows.
const SIZE_BYTES: u64 = 100_000_000;

fn by_size(bytes: u64, scale: f64) -> Changes {
    let rows = scaled((SIZE_BYTES / bytes).min(400_000), scale);
    let table = "CREATE TABLE public.t (id bigint PRIMARY KEY, body text);
        ALTER TABLE public.t ALTER body SET STORAGE EXTERNAL";
    let row = format!("i, left(repeat(md5(i::text), {}), {bytes})", bytes / 32 + 1);
    one_table(table.to_owned(), &row, NUMBERS, rows, (rows / 10).clamp(1, 100))
}

/// Rows that a transaction puts into one of its tables, and tables that it writes to.
const RUN: u64 = 10;
const RUNS: u64 = 10;

fn by_tables(tables: u64, scale: f64) -> Changes {
    let batch = RUN * RUNS;
    let rows = scaled(200_000, scale).next_multiple_of(batch);
    let named = |at: u64| format!("t{at}");
    let setup =
        (0..tables).map(|at| NARROW.replace("public.t ", &format!("public.{} ", named(at)))).collect::<Vec<_>>();
    let insert = format!(
        "FOR n IN 0..{last} LOOP EXECUTE format('INSERT INTO public.t%s SELECT {row} FROM generate_series(%s, %s) i', \
         (low / {RUN} + n) % {tables}, low + n * {RUN}, low + n * {RUN} + {RUN} - 1); END LOOP",
        last = RUNS - 1,
        // The row stands in a quoted format.
        row = NARROW_ROW.replace('%', "%%").replace('\'', "''"),
    );
    Changes {
        name: String::new(),
        tables: (0..tables).map(named).collect(),
        setup: vec![setup.join("; ")],
        sessions: vec![batches(rows, batch, &insert)],
        marker: format!("INSERT INTO public.t0 SELECT {NARROW_ROW} FROM generate_series(0, 0) i"),
        rows,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_point_has_the_rows_it_says() {
        for axis in axes() {
            assert!(axis.values.is_sorted(), "{}", axis.title);
            for &value in axis.values {
                let changes = (axis.changes)(value, 1.0);
                let tables = if axis.name == "tables" { value } else { 1 };
                assert_eq!(changes.tables.len() as u64, tables, "{value} {}", axis.title);
                assert!(changes.rows >= 1000 && changes.rows <= 1_000_000, "{value} {}", axis.title);
            }
        }
    }
}
