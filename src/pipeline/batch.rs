//! What a lane carries out at once: its table's part of a flush unit, and the parts that came while it was busy.
//!
//! In: jobs in their order. Out: their entries as if one unit had held them, and what to report of each unit. Always:
//! one schema; within bounds unless a single job is beyond them. Why: where the sink is slower than the source, or has
//! more tables than it takes loads at once, parts wait; made one by one they would be many small loads, and the wait
//! would only grow.

use std::sync::Arc;

use super::acks::UnitId;
use super::core::{Item, Job, Report, What};
use super::rope::Rope;
use crate::model::{Change, Lsn, Permit, TableSchema};

/// Most entries and bytes of rows that are put together, as a flush unit's are bounded by default; of bytes no more than
/// the setting allows.
const ENTRIES_MAX: usize = 500_000;
const BYTES_MAX: usize = 16 << 20;

/// One or several jobs.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) schema: Arc<TableSchema>,
    pub(super) items: Rope<Item>,
    /// The budget's shares of the rows.
    pub(super) permits: Vec<Arc<[Arc<Permit>]>>,
    /// The units, and through which position the table is whole with each.
    units: Vec<(UnitId, Lsn)>,
    /// Size of the rows; `None` while nobody had to know.
    bytes: Option<usize>,
}

impl Batch {
    pub(super) fn new(job: Job) -> Batch {
        let Job { unit, schema, items, through, permits, .. } = job;
        Batch { schema, items, permits: vec![permits], units: vec![(unit, through)], bytes: None }
    }

    /// Adds a job that follows, or gives it back because it does not fit.
    pub(super) fn add(&mut self, job: Job) -> Result<(), Job> {
        let bytes = *self.bytes.get_or_insert_with(|| size(&self.items)) + size(&job.items);
        let entries = self.items.len() + job.items.len();
        let bytes_max = usize::try_from(job.bytes_max).unwrap_or(BYTES_MAX).min(BYTES_MAX);
        if !Arc::ptr_eq(&self.schema, &job.schema) || entries > ENTRIES_MAX || bytes > bytes_max {
            return Err(job);
        }
        self.bytes = Some(bytes);
        self.items.extend(job.items);
        self.permits.push(job.permits);
        self.units.push((job.unit, job.through));
        Ok(())
    }

    /// What to report once all of it is in.
    pub(super) fn done(&self) -> Vec<Report> {
        let table = self.schema.id;
        self.units.iter().map(|(unit, through)| Report::Done { unit: *unit, table, through: *through }).collect()
    }

    /// What to report if any of it is not.
    pub(super) fn lost(&self) -> Vec<Report> {
        let table = self.schema.id;
        self.units.iter().map(|(unit, _)| Report::Lost { unit: *unit, table }).collect()
    }

    /// The positions through which the table is whole, in ascending order.
    pub(super) fn through(&self) -> impl Iterator<Item = Lsn> + use<> {
        self.units.iter().map(|(_, through)| *through).collect::<Vec<_>>().into_iter()
    }
}

fn size(items: &Rope<Item>) -> usize {
    let of = |item: &Item| match &item.what {
        What::Change(Change::Insert { new }) | What::Change(Change::Update { new, .. }) | What::Copied(new) => {
            new.size()
        }
        What::Change(Change::Delete { old }) => old.row().size(),
        What::Truncate | What::Empty | What::Sweep(_) | What::Wanted(_) => 0,
    };
    items.iter().map(of).sum()
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::Pin;
    use std::sync::Mutex;
    use std::time::Duration;

    use tokio::sync::{Semaphore, mpsc};

    use crate::model::{
        Block, Budget, Change, Column, ColumnType, Event, Load, Lsn, Reason, Row, RowBuilder, TableId, TableName,
        TableSchema, Value,
    };
    use crate::pipeline::{MissingValues, Options, Pipeline};
    use crate::sink::{Deletes, Fate, LoadError, Loaded, Sink, Ticket};
    use crate::status::Status;
    use std::sync::Arc;

    /// Takes a load for each permit, and notes how many rows it had.
    struct Slow {
        permits: Semaphore,
        sizes: Mutex<Vec<usize>>,
    }

    impl Sink for Slow {
        async fn setup(&self) -> Result<(), Vec<Reason>> {
            Ok(())
        }

        async fn prepare(&self, _: Arc<TableSchema>) -> Result<(), Vec<Reason>> {
            Ok(())
        }

        fn deletes(&self, _: &TableSchema) -> Deletes {
            Deletes::WithRows
        }

        fn ticket(&self, _: &TableSchema) -> Ticket {
            Ticket(String::new())
        }

        async fn load(&self, _: &Ticket, load: &Load) -> Result<Loaded, LoadError> {
            self.permits.acquire().await.unwrap().forget();
            self.sizes.lock().unwrap().push(load.rows.len());
            Ok(Loaded { rows: load.rows.len() as u64, bytes: 0 })
        }

        async fn fate(&self, _: &Ticket) -> Result<Fate, Reason> {
            Ok(Fate::Loaded)
        }

        async fn truncate(&self, schema: &TableSchema) -> Result<(), LoadError> {
            panic!("{} is not truncated", schema.name)
        }

        async fn sweep(&self, schema: &TableSchema, _: Lsn) -> Result<(), LoadError> {
            panic!("{} is not copied again", schema.name)
        }
    }

    struct NothingMissing;

    impl MissingValues for NothingMissing {
        fn fetch(
            &self,
            _: Arc<TableSchema>,
            keys: Vec<Row>,
            _: Vec<u32>,
        ) -> Pin<Box<dyn Future<Output = Result<Vec<Option<Row>>, Reason>> + Send + '_>> {
            panic!("asked for {} rows although every row is whole", keys.len())
        }
    }

    fn schema(columns: usize) -> Arc<TableSchema> {
        let column = |at| Column { name: format!("c{at}"), ty: ColumnType::Text, nullable: true };
        Arc::new(TableSchema {
            id: TableId(1),
            name: TableName { schema: "s".into(), name: "t".into() },
            target: "t".into(),
            columns: (0..columns).map(column).collect(),
            key: vec![0],
            complete: true,
        })
    }

    /// A transaction that inserts one row of so many columns and bytes.
    fn insert(lsn: u64, columns: usize, bytes: usize) -> [Event; 3] {
        let mut row = RowBuilder::with_capacity(bytes);
        row.push(Value::Text(lsn.to_string().as_bytes()));
        (1..columns).for_each(|_| row.push(Value::Text(&vec![b'x'; bytes])));
        [
            Event::Begin { commit_lsn: Lsn(lsn), commit_micros: 1, xid: 1 },
            Event::Change { table: TableId(1), change: Change::Insert { new: row.finish() } },
            Event::Commit { end_lsn: Lsn(lsn + 1) },
        ]
    }

    #[tokio::test(start_paused = true)]
    async fn what_waits_for_the_sink_goes_together() {
        const MIB: usize = 1 << 20;
        let small = |from: u64| (from..from + 9).flat_map(|lsn| insert(lsn, 2, 10)).collect::<Vec<_>>();
        let large = |from: u64| (from..from + 9).flat_map(|lsn| insert(lsn, 2, 5 * MIB)).collect::<Vec<_>>();
        let altered: Vec<_> = small(30)
            .into_iter()
            .chain([Event::Schema(schema(3))])
            .chain((40..45).flat_map(|n| insert(n, 3, 1)))
            .collect();
        let cases = [
            ("small parts", 1 << 40, small(30), vec![1, 9]),
            ("large ones, as far as they may", 1 << 40, large(30), vec![1, 3, 3, 3]),
            ("and as far as the setting allows", 11 << 20, large(30), vec![1, 2, 2, 2, 2, 1]),
            ("none beyond a change of the columns", 1 << 40, altered, vec![1, 9, 5]),
        ];
        for (name, flush_bytes, events, want) in cases {
            let sink = Arc::new(Slow { permits: Semaphore::new(0), sizes: Mutex::default() });
            let budget = Budget::new(256 * MIB);
            let (status, meters) = Status::new("p", "s", "p", budget.clone());
            // A unit for each transaction.
            let options = Options { flush_rows: 1, flush_bytes, flush_interval: Duration::from_secs(1) };
            let pipeline =
                Pipeline::start(options, sink.clone(), Arc::new(NothingMissing), budget.clone(), meters.pipeline);
            let (sender, blocks) = mpsc::channel(4);
            pipeline.attach(blocks).await;
            let first = [Event::Resumed { at: Lsn(1) }, Event::Schema(schema(2))].into_iter().chain(insert(10, 2, 10));
            for events in [first.collect(), events] {
                let permit = budget.take(1).await;
                sender.send(Block { events, permit, bytes: 1 }).await.unwrap();
                // Paused time moves on once everybody waits.
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            assert_eq!(pipeline.progress().borrow().durable, Lsn(1), "{name}: nothing is loaded yet");
            sink.permits.add_permits(100);
            assert!(pipeline.drain().await, "{name}");
            assert_eq!(*sink.sizes.lock().unwrap(), want, "{name}");
            assert_eq!(status.snapshot().rows_loaded, 0, "this sink meters nothing");
            assert!(pipeline.progress().borrow().durable >= Lsn(30), "{name}");
            assert_eq!(budget.used(), 0, "{name}: everything is given back");
        }
    }
}
