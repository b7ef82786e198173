//! The one place that names products: which source and which sink the engine is made of.

use std::sync::Arc;

use tokio::sync::watch;

use super::command::Inbox;
use super::run::{self, Ended};
use super::{Options, Parts};
use crate::model::{Budget, Reason};
use crate::sink::starrocks::{self, StarRocks};
use crate::source::postgres::{self, Postgres};
use crate::status::{Meters, Status};

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
