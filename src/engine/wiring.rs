//! The one place that names products: which source and which sink the engine is made of.

use std::sync::Arc;

use tokio::sync::watch;

use super::command::Inbox;
use super::run::{self, Ended};
use super::{Options, Parts};
use crate::model::{Budget, Class, Reason};
use crate::sink::starrocks::{self, StarRocks};
use crate::source::postgres::{self, Postgres, TablePattern};
use crate::status::{Meters, Status};
use crate::verify::{self, Verifier};

/// What to connect.
#[derive(Clone, Debug)]
pub struct Blueprint {
    /// The source.
    pub source: postgres::Options,
    /// The sink.
    pub sink: starrocks::Options,
    /// The engine.
    pub engine: Options,
}

/// An engine whose parts are made and which has not started.
pub struct Wired(Parts<Postgres, StarRocks>);

impl Blueprint {
    /// The shared numbers of an engine of these options, and the budget they show.
    pub fn status(&self) -> (Status, Meters, Budget) {
        let budget = Budget::new(self.engine.memory_budget);
        let (source, pipeline) = (&self.source, &self.source.pipeline);
        let (status, meters) = Status::new(pipeline, &source.slot, &source.publication, budget.clone());
        (status, meters, budget)
    }

    /// Makes the parts. Connects to nothing yet.
    ///
    /// # Errors
    /// If an option can never work, such as a certificate file that cannot be read.
    pub fn wire(
        self,
        meters: Meters,
        budget: Budget,
        inbox: Inbox,
        signals: watch::Receiver<u32>,
    ) -> Result<Wired, Reason> {
        Ok(Wired(Parts {
            source: Arc::new(Postgres::new(self.source, meters.source)),
            sink: Arc::new(StarRocks::new(self.sink, meters.sink)?),
            options: self.engine,
            budget,
            inbox,
            signals,
            meter: meters.engine,
            pipeline_meter: meters.pipeline,
        }))
    }

    /// Looks at both sides and changes nothing.
    ///
    /// # Errors
    /// If an option can never work.
    pub async fn check(self) -> Result<Checked, Reason> {
        let (_, meters, _) = self.status();
        let source = Postgres::new(self.source, meters.source);
        let sink = StarRocks::new(self.sink, meters.sink)?;
        let (source, notes, tables) = match source.check().await {
            Ok(seen) => seen,
            Err(reason) => (vec![reason], Vec::new(), Vec::new()),
        };
        let sink = sink.check(&tables).await;
        Ok(Checked { source, sink, notes })
    }

    /// Compares tables with their copies: those named as in `TABLES`, or all that are replicated.
    ///
    /// # Errors
    /// If a name means no replicated table, a side cannot be asked, or the pipeline does not pass what the source
    /// holds.
    pub async fn verify(
        self,
        names: &[String],
        options: verify::Options,
        sidecar: &impl verify::Sidecar,
        watch: &(dyn Fn(verify::Step<'_>) + Send + Sync),
    ) -> Result<Vec<verify::TableReport>, Reason> {
        let patterns = named(names)?;
        let (source, mut tables) = postgres::Contents::open(self.source).await?;
        if let Some(none) = patterns.iter().find(|pattern| !tables.iter().any(|t| pattern.matches(&t.schema.name))) {
            let table = none.table.as_deref().unwrap_or("*");
            return Err(no_such_table(format!("{}.{table} is not among the replicated tables", none.schema)));
        }
        tables.retain(|table| names.is_empty() || patterns.iter().any(|pattern| pattern.matches(&table.schema.name)));
        if tables.is_empty() {
            return Err(no_such_table("there is no replicated table to compare".to_owned()));
        }
        let target = starrocks::Contents::connect(self.sink).await?;
        let verifier = Verifier { source: &source, target: &target, sidecar, options, watch };
        verifier.run(&tables).await
    }
}

fn named(names: &[String]) -> Result<Vec<TablePattern>, Reason> {
    let mut patterns = Vec::new();
    for name in names {
        patterns.extend(TablePattern::parse_list(name).map_err(|error| no_such_table(error.to_string()))?);
    }
    Ok(patterns)
}

fn no_such_table(message: String) -> Reason {
    let remedy = "Name tables as in TABLES: schema.table, or schema.* for all of a schema. What keeps a table out is told \
                  by `sluicegate check`.";
    Reason::new(verify::NO_SUCH_TABLE, Class::Config, "", message, remedy)
}

impl Wired {
    /// Runs until asked to stop.
    pub async fn run(self) -> Ended {
        run::run(self.0).await
    }
}

/// What a look at both sides found.
#[derive(Clone, Debug, Default)]
pub struct Checked {
    /// What is wrong at the source.
    pub source: Vec<Reason>,
    /// What is wrong at the sink.
    pub sink: Vec<Reason>,
    /// What a person should know.
    pub notes: Vec<String>,
}
