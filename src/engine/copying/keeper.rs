//! Stores the progress of copies, one thing after the other, each until it is certain.

use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::time::sleep;
use tracing::warn;

use crate::checkpoint::{CopiedRange, CopyStore, StoredCopy};
use crate::failpoint;
use crate::model::{Reason, Row, TableId};
use crate::pipeline::{StoreToken, pause};
use crate::status::EngineMeter;

/// What is to be stored.
#[derive(Debug)]
pub(super) enum Keep {
    /// A new copy, before whose parts are read what runs now must be over.
    Begin(Box<StoredCopy>),
    /// A new copy of a table whose changes have been told all along.
    Anew(Box<StoredCopy>),
    /// Other storages or another state of a copy.
    Change(Box<StoredCopy>),
    /// A range whose rows are durable.
    Copied(TableId, CopiedRange),
    /// Keys to be read again; a position waits for it.
    Wanted(TableId, Vec<Row>, StoreToken),
    /// Keys that have been read again.
    Repaired(TableId, Vec<Row>),
    /// A copy is finished.
    Finished(TableId),
}

/// What is stored.
#[derive(Debug)]
pub(super) enum Kept {
    /// A new copy; what must be over before its parts are read.
    Begun(TableId, u64),
    /// Keys to be read again.
    Wanted(StoreToken),
    /// A copy is finished.
    Finished(TableId),
}

/// What reasons of storing are about.
const OBJECT: &str = "snapshot progress";

/// Stores until nobody asks any more.
pub(super) async fn keep<C: CopyStore>(
    store: Arc<C>,
    meter: Arc<EngineMeter>,
    mut wishes: mpsc::UnboundedReceiver<Keep>,
    kept: mpsc::UnboundedSender<Kept>,
) {
    while let Some(wish) = wishes.recv().await {
        let mut attempt = 0;
        let outcome = loop {
            match carry_out(&*store, &wish).await {
                Ok(outcome) => break outcome,
                Err(reason) => {
                    attempt += 1;
                    let reason = Reason { object: OBJECT.to_owned(), ..reason };
                    let (code, class, message) = (reason.code, reason.class, reason.message.clone());
                    if meter.raise(reason) {
                        warn!(code, "cannot store the progress of the copy: {message}");
                    }
                    sleep(pause(class, attempt, fastrand::f64())).await;
                }
            }
        };
        if attempt > 0 {
            meter.clear(|reason| reason.object == OBJECT);
        }
        if let Some(outcome) = outcome {
            // The coordinator may be gone; then nobody needs to know.
            drop(kept.send(outcome));
        }
    }
}

async fn carry_out<C: CopyStore>(store: &C, wish: &Keep) -> Result<Option<Kept>, Reason> {
    match wish {
        Keep::Begin(copy) => {
            let barrier = store.begin(copy).await?;
            store.change(&StoredCopy { barrier, ..StoredCopy::clone(copy) }).await?;
            return Ok(Some(Kept::Begun(copy.table, barrier)));
        }
        Keep::Anew(copy) => {
            store.begin(copy).await?;
            return Ok(Some(Kept::Begun(copy.table, copy.barrier)));
        }
        Keep::Change(copy) => store.change(copy).await?,
        Keep::Copied(table, range) => {
            failpoint::hit("before_copied");
            store.copied(*table, *range).await?;
            failpoint::hit("after_copied");
        }
        Keep::Wanted(table, keys, token) => {
            failpoint::hit("before_repairs_stored");
            store.add_repairs(*table, keys).await?;
            return Ok(Some(Kept::Wanted(*token)));
        }
        Keep::Repaired(table, keys) => store.repaired(*table, keys).await?,
        Keep::Finished(table) => {
            failpoint::hit("before_copy_finished");
            store.finished(*table).await?;
            return Ok(Some(Kept::Finished(*table)));
        }
    }
    Ok(None)
}
