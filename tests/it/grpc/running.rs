//! A server in this process, with an engine that obeys at once and takes notes.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sluicegate::engine::{Command, Handle, Inbox, Outcome, Refusal};
use sluicegate::grpc::client::{self, Client};
use sluicegate::grpc::{self, Listeners, Options};
use sluicegate::model::{Budget, Lsn, Stage, TableName, TableState};
use sluicegate::status::{CopyNumbers, CopyPhase, Meters, SlotHealth, Status, TableMeter};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tonic::transport::{Channel, Endpoint};

/// Far longer than anything here takes; only a hang reaches it.
pub(super) const TIME_LIMIT: Duration = Duration::from_secs(30);

/// Free ports on the loopback.
pub(super) fn options() -> Options {
    let free = SocketAddr::from(([127, 0, 0, 1], 0));
    Options { grpc_addr: free, http_addr: Some(free), lag_max: Duration::from_secs(300), reflection: true }
}

#[derive(Debug, Default)]
struct Notes {
    commands: Vec<Command>,
    refuse_next: Option<Refusal>,
    paused: bool,
}

/// A server that runs.
pub(super) struct Running {
    pub(super) grpc: SocketAddr,
    pub(super) http: SocketAddr,
    pub(super) meters: Arc<Meters>,
    notes: Arc<Mutex<Notes>>,
    stop: oneshot::Sender<()>,
    server: JoinHandle<Result<(), grpc::ServeError>>,
}

impl Running {
    pub(super) async fn start() -> Running {
        let (status, meters) = Status::new("app", "app_slot", "app_pub", Budget::new(64 << 20));
        let meters = Arc::new(meters);
        meters.engine.heartbeat();
        let (handle, inbox) = Handle::new();
        let notes = Arc::<Mutex<Notes>>::default();
        tokio::spawn(obey(inbox, meters.clone(), notes.clone()));
        let options = options();
        let listeners = Listeners::bind(&options).await.expect("free ports");
        let (grpc, http) = (listeners.grpc_addr(), listeners.http_addr().expect("HTTP is on"));
        let (stop, stopped) = oneshot::channel();
        let shutdown = async {
            let _ = stopped.await;
        };
        let server = tokio::spawn(grpc::serve(listeners, options, status, handle, shutdown));
        Running { grpc, http, meters, notes, stop, server }
    }

    pub(super) async fn client(&self) -> Client {
        client::connect(self.grpc).await.expect("the server is there")
    }

    pub(super) async fn channel(&self) -> Channel {
        let endpoint = Endpoint::from_shared(format!("http://{}", self.grpc)).expect("an address");
        endpoint.connect().await.expect("the server is there")
    }

    /// The commands the engine got, oldest first.
    pub(super) fn commands(&self) -> Vec<Command> {
        self.notes.lock().expect("the engine did not panic").commands.clone()
    }

    pub(super) fn refuse_next(&self, refusal: Refusal) {
        self.notes.lock().expect("the engine did not panic").refuse_next = Some(refusal);
    }

    pub(super) fn orders(&self) -> TableMeter {
        let name = TableName { schema: "shop".to_owned(), name: "orders".to_owned() };
        self.meters.pipeline.table(&name, "orders")
    }

    /// Numbers of a pipeline in the middle of its work.
    pub(super) fn stream_one_table(&self) {
        let meters = &self.meters;
        meters.engine.stage(Stage::Cdc, "streaming");
        meters.source.received(500, Lsn(0x1400));
        meters.source.slot_health(SlotHealth {
            wal_status: "reserved".to_owned(),
            active: true,
            restart_lsn: Lsn(0x400),
            confirmed_lsn: Lsn(0x400),
            retained_bytes: 4096,
            safe_bytes: Some(1 << 20),
        });
        meters.pipeline.received(Lsn(0x1000), 1_700_000_000_000_000);
        meters.pipeline.flowed(7, 2);
        meters.pipeline.durable(Lsn(0xC00), 1_700_000_000_000_000);
        meters.pipeline.rows_settled(4);
        meters.engine.checkpoint(Lsn(0x800));
        meters.source.confirmed(Lsn(0x400));
        meters.sink.loaded(5, 300);
        let orders = TableName { schema: "shop".into(), name: "orders".into() };
        meters.sink.changed(&orders, "date_range", "null", 2);
        meters.engine.copy(
            &orders,
            "orders",
            CopyNumbers {
                phase: CopyPhase::Finished,
                rows: 1000,
                bytes: 64_000,
                chunks_done: 2,
                chunks_total: 2,
                permille: 1000,
                rows_per_second: 0,
                bytes_per_second: 0,
                left: None,
                repairs: 0,
            },
        );
        let table = self.orders();
        table.received(4, 2, 1, 0);
        table.loaded(5);
        table.state(TableState::Streaming);
        meters.sink.reachable(true);
        meters.source.connected(true);
    }

    /// Ends the server and waits for it.
    pub(super) async fn end(self) {
        self.stop.send(()).expect("the server still runs");
        let ended = tokio::time::timeout(TIME_LIMIT, self.server).await.expect("an end in time");
        ended.expect("no panic").expect("no error");
    }
}

async fn obey(mut inbox: Inbox, meters: Arc<Meters>, notes: Arc<Mutex<Notes>>) {
    let mut generation = 0;
    while let Some(request) = inbox.recv().await {
        let mut notes = notes.lock().expect("no test panicked with the notes");
        notes.commands.push(request.command.clone());
        let answer = match notes.refuse_next.take() {
            Some(refusal) => Err(refusal),
            None => {
                let changed = match request.command {
                    Command::Pause => !std::mem::replace(&mut notes.paused, true),
                    Command::Resume => std::mem::replace(&mut notes.paused, false),
                    Command::DrainAndStop | Command::Stop => true,
                    Command::StartCopy { .. } | Command::CancelCopy { .. } => true,
                    Command::PauseCopy | Command::ResumeCopy => true,
                    Command::Reload { flush_rows, flush_bytes, flush_interval } => {
                        flush_rows.is_some() || flush_bytes.is_some() || flush_interval.is_some()
                    }
                };
                meters.engine.paused(notes.paused);
                if changed {
                    generation = meters.engine.next_generation();
                }
                Ok(Outcome { changed, generation, message: format!("{}: done", request.command.name()) })
            }
        };
        // The asker may be gone.
        let _ = request.answer.send(answer);
    }
}
