//! Compares one table.
//!
//! In: the table. Out: its report. Always: read once from each side; a second time, keys alone, only if rows seem to
//! differ whose key is more than one number. Start at [`Verifier::table`].

use std::collections::HashSet;

use tokio::time::Instant;

use super::look::{Key, Looked};
use super::print::{KeyCode, Printer};
use super::report::{ColumnDifference, Difference, Kind, TableReport, Verdict};
use super::sketch::{Decoded, Side, Sketch};
use super::{Sidecar, Step, Stop, Verifier};
use crate::model::{Class, Reason, TableName, TableSchema};
use crate::sink::{self, Spelling};
use crate::source::{self, Readable};

/// Rows between two words on how many were read.
const TELL_EVERY: u64 = 1 << 14;

/// Times a table is read whose rows change so fast that only a part of what seems to differ can be looked at.
const READINGS_MAX: u32 = 3;

/// What one reading of both sides showed.
struct Reading {
    decoded: Decoded,
    rows: [u64; 2],
    odd_keys: u64,
}

impl<S: source::Reader, T: sink::Reader, C: Sidecar> Verifier<'_, S, T, C> {
    /// Compares one table.
    ///
    /// # Errors
    /// If no table can be compared.
    pub(super) async fn table(&self, readable: &Readable) -> Result<TableReport, Reason> {
        let schema = &readable.schema;
        let start = Instant::now();
        let mut report = TableReport::new(&schema.name, &schema.target);
        match self.compare(readable, &mut report).await {
            Ok(()) => {}
            Err(Stop::Table(reason)) => (report.verdict, report.reason) = (Verdict::Undecided, Some(reason)),
            Err(Stop::All(reason)) => return Err(reason),
        }
        report.elapsed = start.elapsed();
        if report.verdict != Verdict::Equal {
            report.notes.extend(readable.notes.iter().cloned());
            let blocked = self.sidecar.ask().await.map(|progress| progress.blocked).unwrap_or_default();
            let of_this = blocked.into_iter().filter(|(table, _)| *table == schema.name.to_string());
            report.notes.extend(of_this.map(|(_, why)| format!("the pipeline has blocked it: {why}")));
        }
        Ok(report)
    }

    async fn compare(&self, readable: &Readable, report: &mut TableReport) -> Result<(), Stop> {
        let schema = &readable.schema;
        let table = self.target.open(schema.clone()).await.map_err(Stop::Table)?;
        report.notes.extend(table.left_out().iter().map(|out| format!("column {} {}", out.column, out.why)));
        let mut looked = Looked::default();
        for _ in 0..READINGS_MAX {
            let reading = self.read(schema, &table).await?;
            [report.rows, report.target_rows] = reading.rows;
            if reading.odd_keys > 0 {
                return Err(Stop::Table(odd_keys(&schema.name, reading.odd_keys)));
            }
            let one_of = reading.decoded.one_of;
            let keys = self.keys(schema, &table, &reading.decoded).await?;
            looked = self.look(schema, &table, &keys).await?;
            report.estimated = one_of > 1;
            self.count(&looked, one_of, report);
            // A part of what seemed to differ that does not is no word on the rest.
            if !report.estimated || report.differences() > 0 {
                report.verdict = verdict(report, !table.left_out().is_empty());
                break;
            }
        }
        if report.verdict == Verdict::Undecided && report.estimated {
            return Err(Stop::Table(too_fast(&schema.name)));
        }
        self.name(schema, &table, looked, report).await
    }

    fn count(&self, looked: &Looked, one_of: u64, report: &mut TableReport) {
        let of = |kind| looked.stand.iter().filter(|(_, how)| *how == kind).count() as u64 * one_of;
        report.missing = of(Kind::Missing);
        report.extra = of(Kind::Extra);
        report.differing = of(Kind::Differing);
        report.unsettled = looked.unsettled;
    }

    /// Reads the source, then, once the pipeline has passed it, the target.
    async fn read(&self, schema: &TableSchema, table: &T::Table) -> Result<Reading, Stop> {
        let columns = table.columns();
        let mut sketch = Sketch::new();
        let mut rows = [0, 0];
        let mut source = Printer::new(table, schema, columns, Side::Source);
        let mut take = |values: &[Option<&[u8]>]| {
            sketch.add(&source.print(values), Side::Source);
            self.told(&schema.name, "source", &mut rows[0]);
        };
        let end = self.source.scan(schema, columns, &mut take).await.map_err(Stop::Table)?;
        self.passes(end).await?;
        let mut target = Printer::new(table, schema, columns, Side::Target);
        let mut take = |values: &[Option<&[u8]>]| {
            sketch.add(&target.print(values), Side::Target);
            self.told(&schema.name, "target", &mut rows[1]);
        };
        self.target.scan(table, columns, &mut take).await.map_err(Stop::Table)?;
        Ok(Reading { decoded: sketch.decode(), rows, odd_keys: source.odd_keys + target.odd_keys })
    }

    fn told(&self, table: &TableName, side: &'static str, rows: &mut u64) {
        *rows += 1;
        if rows.is_multiple_of(TELL_EVERY) {
            (self.watch)(Step::Reading { table, side, rows: *rows });
        }
    }

    /// The keys that codes stand for.
    async fn keys(&self, schema: &TableSchema, table: &T::Table, decoded: &Decoded) -> Result<Vec<Key>, Stop> {
        let codes = &decoded.keys;
        if codes.is_empty() || KeyCode::of(schema) == KeyCode::Number {
            return Ok(codes.iter().map(|code| vec![code.cast_signed().to_string()]).collect());
        }
        // Only a row that is there has its key read; one that has gone from both sides is equal.
        let mut found: HashSet<Key> = HashSet::new();
        let columns = &table.columns()[..schema.key.len()];
        let mut source = Printer::new(table, schema, columns, Side::Source);
        let mut target = Printer::new(table, schema, columns, Side::Target);
        let wanted = |(code, key): (u64, Key)| codes.binary_search(&code).is_ok().then_some(key);
        let mut take = |values: &[Option<&[u8]>]| found.extend(wanted(source.key_of(values)));
        self.source.scan(schema, columns, &mut take).await.map_err(Stop::Table)?;
        let mut take = |values: &[Option<&[u8]>]| found.extend(wanted(target.key_of(values)));
        self.target.scan(table, columns, &mut take).await.map_err(Stop::Table)?;
        Ok(found.into_iter().collect())
    }

    /// Names the first rows that differ, and their columns.
    async fn name(
        &self,
        schema: &TableSchema,
        table: &T::Table,
        looked: Looked,
        report: &mut TableReport,
    ) -> Result<(), Stop> {
        let mut stand = looked.stand;
        match KeyCode::of(schema) {
            KeyCode::Number => stand.sort_by_key(|(key, _)| key[0].parse::<i64>().unwrap_or_default()),
            KeyCode::Hashed => stand.sort_by(|(one, _), (other, _)| one.cmp(other)),
        }
        stand.truncate(self.options.differences_max);
        for (key, kind) in stand {
            let columns = match kind {
                Kind::Differing => self.differing_columns(schema, table, &key).await?,
                Kind::Missing | Kind::Extra => Vec::new(),
            };
            let names = schema.key.iter().map(|at| schema.columns[*at].name.clone());
            report.found.push(Difference { kind, key: names.zip(key).collect(), columns });
        }
        Ok(())
    }

    async fn differing_columns(
        &self,
        schema: &TableSchema,
        table: &T::Table,
        key: &Key,
    ) -> Result<Vec<ColumnDifference>, Stop> {
        let columns = table.columns();
        let keys = std::slice::from_ref(key);
        let (mut one, mut other) = (Vec::new(), Vec::new());
        let mut take = |values: &[Option<&[u8]>]| one = self.seen(table, Side::Source, values);
        self.source.rows(schema, columns, keys, &mut take).await.map_err(Stop::Table)?;
        let mut take = |values: &[Option<&[u8]>]| other = self.seen(table, Side::Target, values);
        self.target.rows(table, columns, keys, &mut take).await.map_err(Stop::Table)?;
        let all = columns.iter().zip(one.into_iter().zip(other));
        let differing = all.filter(|(_, (one, other))| one.spelled != other.spelled);
        Ok(differing
            .map(|(at, (one, other))| ColumnDifference {
                name: schema.columns[*at].name.clone(),
                values: self.options.values.then_some((one.shown, other.shown)),
            })
            .collect())
    }

    /// The values of one row of one side.
    fn seen(&self, table: &T::Table, side: Side, values: &[Option<&[u8]>]) -> Vec<Seen> {
        let one = |(column, value): (&usize, &Option<&[u8]>)| {
            let Some(text) = *value else { return Seen::default() };
            let mut spelled = Vec::new();
            let there = match side {
                Side::Source => table.source(*column, text, &mut spelled),
                Side::Target => table.target(*column, text, &mut spelled),
            };
            let shown = self.options.values.then(|| String::from_utf8_lossy(text).into_owned());
            Seen { spelled: there.then_some(spelled), shown }
        };
        table.columns().iter().zip(values).map(one).collect()
    }
}

/// A value of one side.
#[derive(Clone, Debug, Default)]
struct Seen {
    /// `None` is NULL.
    spelled: Option<Vec<u8>>,
    /// As its server wrote it, if values are told.
    shown: Option<String>,
}

fn verdict(report: &TableReport, columns_missing: bool) -> Verdict {
    if report.differences() > 0 || columns_missing {
        Verdict::Different
    } else if report.unsettled > 0 {
        Verdict::Undecided
    } else {
        Verdict::Equal
    }
}

fn odd_keys(table: &TableName, rows: u64) -> Reason {
    let message =
        format!("{rows} rows of {table} have a key that is no whole number, although its column holds only those");
    Reason::new("VERIFY_KEY", Class::Bug, table.to_string(), message, "Report it, please.")
}

fn too_fast(table: &TableName) -> Reason {
    let message = format!("more rows of {table} changed while it was read than can be looked at again");
    let remedy = "Compare it at a quieter time, or pause the applications that write to it.";
    Reason::new("VERIFY_TOO_FAST", Class::Retry, table.to_string(), message, remedy)
}
