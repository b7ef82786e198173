//! Commands: guarded against repetition and surprise, then handed to the engine.
//!
//! Always: one command at a time; an accepted request with an id is carried out once, also if its client goes away in
//! the middle; nothing is answered with success that was not accepted. Not here: which command fits when (`engine`).

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Mutex;
use tokio::time::timeout;
use tonic::{Code, Request, Response, Status};

use super::board::Board;
use super::failure::{Failure, refused};
use super::pb;
use super::pb::control_service_server::ControlService;
use super::remembered::{Asked, Known, Remembered};
use super::translate;
use crate::engine::{Command, Handle};

/// Time the engine has to accept or refuse. It answers from its loop, so this is long.
const ENGINE_PATIENCE: Duration = Duration::from_secs(5);
/// Bytes of a request id, at most.
const REQUEST_ID_BYTES_MAX: usize = 128;

/// The control service. Clones share the desk.
#[derive(Clone, Debug)]
pub(super) struct Control(Arc<Desk>);

/// Where commands are taken, one at a time.
#[derive(Debug)]
struct Desk {
    handle: Handle,
    board: Board,
    remembered: Mutex<Remembered>,
}

impl Control {
    /// Commands for this engine.
    pub(super) fn new(handle: Handle, board: Board) -> Control {
        Control(Arc::new(Desk { handle, board, remembered: Mutex::default() }))
    }

    async fn command(&self, command: Command, guard: Option<pb::Guard>) -> Result<pb::Accepted, Status> {
        self.ask(command, guard, Vec::new()).await
    }

    async fn ask(
        &self,
        command: Command,
        guard: Option<pb::Guard>,
        tables: Vec<String>,
    ) -> Result<pb::Accepted, Status> {
        let pb::Guard { request_id, expected_generation } = guard.unwrap_or_default();
        if request_id.len() > REQUEST_ID_BYTES_MAX {
            let problem = format!("is {} bytes long; {REQUEST_ID_BYTES_MAX} are allowed", request_id.len());
            return Err(Failure::new(Code::InvalidArgument, "BAD_REQUEST", format!("guard.request_id {problem}"))
                .field("guard.request_id", problem)
                .into());
        }
        let desk = self.0.clone();
        let asked = Asked { command, expected_generation, tables };
        // A task of its own: if the client goes, the command is still taken note of.
        let answer = tokio::spawn(async move { desk.take(request_id, asked).await }).await;
        answer.unwrap_or_else(|_| Err(Failure::new(Code::Internal, "BUG", "the command's task ended early").into()))
    }
}

impl Desk {
    async fn take(&self, id: String, asked: Asked) -> Result<pb::Accepted, Status> {
        let mut remembered = self.remembered.lock().await;
        if !id.is_empty() {
            match remembered.look_up(&id, &asked, Instant::now()) {
                Known::New => {}
                Known::Same(accepted) => return Ok(*accepted),
                Known::Other => {
                    let message = "this request_id was used for another request; take a new one";
                    return Err(Failure::new(Code::AlreadyExists, "REQUEST_ID_REUSED", message).into());
                }
            }
        }
        self.expect_generation(asked.expected_generation)?;
        let accepted = self.send(asked.command.clone()).await?;
        if !id.is_empty() {
            remembered.keep(id, asked, accepted.clone(), Instant::now());
        }
        Ok(accepted)
    }

    fn expect_generation(&self, expected: Option<u64>) -> Result<(), Status> {
        let current = self.board.now().snapshot.generation;
        match expected {
            Some(expected) if expected != current => {
                let message = format!("generation is {current}, not {expected}: something changed in between");
                Err(Failure::new(Code::Aborted, "GENERATION_MISMATCH", message)
                    .with("generation", current)
                    .with("expected_generation", expected)
                    .into())
            }
            Some(_) | None => Ok(()),
        }
    }

    async fn send(&self, command: Command) -> Result<pb::Accepted, Status> {
        let name = command.name();
        match timeout(ENGINE_PATIENCE, self.handle.send(command)).await {
            Ok(Ok(outcome)) => {
                tracing::info!(command = name, changed = outcome.changed, outcome.generation, "command accepted");
                Ok(pb::Accepted {
                    changed: outcome.changed,
                    generation: outcome.generation,
                    message: outcome.message,
                    status: Some(translate::status(&self.board.now())),
                })
            }
            Ok(Err(refusal)) => {
                tracing::info!(command = name, %refusal, "command refused");
                Err(refused(&refusal).into())
            }
            Err(_) => {
                let seconds = ENGINE_PATIENCE.as_secs();
                let message = format!(
                    "the engine did not answer within {seconds} s; whether {name} will be carried out is not known"
                );
                Err(Failure::new(Code::Unavailable, "ENGINE_SILENT", message).with("command", name).into())
            }
        }
    }
}

fn reload_command(request: &pb::ReloadConfigRequest) -> Command {
    let wish = |value: u64| (value > 0).then_some(value);
    Command::Reload {
        flush_rows: wish(request.flush_size),
        flush_bytes: wish(request.flush_bytes),
        flush_interval: wish(request.flush_interval_ms).map(Duration::from_millis),
    }
}

fn reload_results(request: &pb::ReloadConfigRequest) -> Vec<pb::SettingResult> {
    let values = [
        ("flush_size", request.flush_size),
        ("flush_bytes", request.flush_bytes),
        ("flush_interval_ms", request.flush_interval_ms),
    ];
    let applied = values.into_iter().filter(|(_, value)| *value > 0).map(|(setting, value)| pb::SettingResult {
        setting: setting.to_owned(),
        outcome: pb::SettingOutcome::Applied.into(),
        message: format!("{setting} is {value}"),
    });
    let tables = (!request.tables.is_empty()).then(|| pb::SettingResult {
        setting: "tables".to_owned(),
        outcome: pb::SettingOutcome::NeedsRestart.into(),
        message: TABLES_NEED_RESTART.to_owned(),
    });
    applied.chain(tables).collect()
}

const TABLES_NEED_RESTART: &str =
    "tables cannot change while running and were left as they are; set TABLES and restart";

#[tonic::async_trait]
impl ControlService for Control {
    async fn pause(&self, request: Request<pb::PauseRequest>) -> Result<Response<pb::PauseResponse>, Status> {
        let accepted = self.command(Command::Pause, request.into_inner().guard).await?;
        Ok(Response::new(pb::PauseResponse { accepted: Some(accepted) }))
    }

    async fn resume(&self, request: Request<pb::ResumeRequest>) -> Result<Response<pb::ResumeResponse>, Status> {
        let accepted = self.command(Command::Resume, request.into_inner().guard).await?;
        Ok(Response::new(pb::ResumeResponse { accepted: Some(accepted) }))
    }

    async fn drain_and_stop(
        &self,
        request: Request<pb::DrainAndStopRequest>,
    ) -> Result<Response<pb::DrainAndStopResponse>, Status> {
        let accepted = self.command(Command::DrainAndStop, request.into_inner().guard).await?;
        Ok(Response::new(pb::DrainAndStopResponse { accepted: Some(accepted) }))
    }

    async fn stop(&self, request: Request<pb::StopRequest>) -> Result<Response<pb::StopResponse>, Status> {
        let accepted = self.command(Command::Stop, request.into_inner().guard).await?;
        Ok(Response::new(pb::StopResponse { accepted: Some(accepted) }))
    }

    async fn reload_config(
        &self,
        request: Request<pb::ReloadConfigRequest>,
    ) -> Result<Response<pb::ReloadConfigResponse>, Status> {
        let request = request.into_inner();
        let results = reload_results(&request);
        let only_tables = results.iter().all(|result| result.outcome() == pb::SettingOutcome::NeedsRestart);
        if !request.tables.is_empty() && only_tables {
            return Err(Failure::new(Code::FailedPrecondition, "NEEDS_RESTART", TABLES_NEED_RESTART)
                .field("tables", TABLES_NEED_RESTART)
                .into());
        }
        let accepted = self.ask(reload_command(&request), request.guard, request.tables).await?;
        Ok(Response::new(pb::ReloadConfigResponse { accepted: Some(accepted), results }))
    }

    async fn start_snapshot(
        &self,
        request: Request<pb::StartSnapshotRequest>,
    ) -> Result<Response<pb::StartSnapshotResponse>, Status> {
        let pb::StartSnapshotRequest { guard, tables } = request.into_inner();
        let accepted = self.command(Command::StartCopy { tables }, guard).await?;
        Ok(Response::new(pb::StartSnapshotResponse { accepted: Some(accepted) }))
    }

    async fn pause_snapshot(
        &self,
        request: Request<pb::PauseSnapshotRequest>,
    ) -> Result<Response<pb::PauseSnapshotResponse>, Status> {
        let accepted = self.command(Command::PauseCopy, request.into_inner().guard).await?;
        Ok(Response::new(pb::PauseSnapshotResponse { accepted: Some(accepted) }))
    }

    async fn resume_snapshot(
        &self,
        request: Request<pb::ResumeSnapshotRequest>,
    ) -> Result<Response<pb::ResumeSnapshotResponse>, Status> {
        let accepted = self.command(Command::ResumeCopy, request.into_inner().guard).await?;
        Ok(Response::new(pb::ResumeSnapshotResponse { accepted: Some(accepted) }))
    }

    async fn cancel_snapshot(
        &self,
        request: Request<pb::CancelSnapshotRequest>,
    ) -> Result<Response<pb::CancelSnapshotResponse>, Status> {
        let pb::CancelSnapshotRequest { guard, tables } = request.into_inner();
        let accepted = self.command(Command::CancelCopy { tables }, guard).await?;
        Ok(Response::new(pb::CancelSnapshotResponse { accepted: Some(accepted) }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_setting_asked_for_is_answered() {
        use pb::SettingOutcome::{Applied, NeedsRestart};
        let none = pb::ReloadConfigRequest::default();
        let tables = vec!["public.orders".to_owned()];
        let cases = [
            ("nothing", none.clone(), vec![]),
            ("one", pb::ReloadConfigRequest { flush_bytes: 9, ..none.clone() }, vec![("flush_bytes", Applied)]),
            (
                "all",
                pb::ReloadConfigRequest { flush_size: 1, flush_bytes: 2, flush_interval_ms: 3, tables, ..none },
                vec![
                    ("flush_size", Applied),
                    ("flush_bytes", Applied),
                    ("flush_interval_ms", Applied),
                    ("tables", NeedsRestart),
                ],
            ),
        ];
        for (name, request, want) in cases {
            let got = reload_results(&request);
            let got: Vec<_> = got.iter().map(|result| (result.setting.as_str(), result.outcome())).collect();
            assert_eq!(got, want, "{name}");
        }
    }
}
