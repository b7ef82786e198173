//! Commands with their guards, as any client sends them.

use std::time::Duration;

use prost::Message;
use sluicegate::engine::{Command, Refusal};
use sluicegate::grpc::pb::control_service_client::ControlServiceClient;
use sluicegate::grpc::pb::{self, Guard};
use sluicegate::model::Stage;
use tonic::{Code, Status};

use super::running::Running;

fn guard(request_id: &str, expected_generation: Option<u64>) -> Option<Guard> {
    Some(Guard { request_id: request_id.to_owned(), expected_generation })
}

/// `google.rpc.Status` as far as a client needs it to find the details.
#[derive(Clone, PartialEq, Message)]
struct Details {
    #[prost(message, repeated, tag = "3")]
    details: Vec<prost_types::Any>,
}

/// `google.rpc.ErrorInfo` without its metadata, and by the same field numbers the first violation of a `BadRequest`.
#[derive(Clone, PartialEq, Message)]
struct TwoTexts {
    #[prost(string, tag = "1")]
    first: String,
    #[prost(string, tag = "2")]
    second: String,
}

#[derive(Clone, PartialEq, Message)]
struct Violations {
    #[prost(message, repeated, tag = "1")]
    violations: Vec<TwoTexts>,
}

/// Code, stable reason and the fields complained of.
fn told(status: &Status) -> (Code, String, Vec<String>) {
    let details = Details::decode(status.details()).expect("google.rpc.Status").details;
    let [info, rest @ ..] = &details[..] else { panic!("an error without details: {status:?}") };
    assert_eq!(info.type_url, "type.googleapis.com/google.rpc.ErrorInfo");
    let info = TwoTexts::decode(info.value.as_slice()).expect("google.rpc.ErrorInfo");
    assert_eq!(info.second, "sluicegate");
    let fields = rest.iter().flat_map(|bad| {
        assert_eq!(bad.type_url, "type.googleapis.com/google.rpc.BadRequest");
        Violations::decode(bad.value.as_slice()).expect("google.rpc.BadRequest").violations
    });
    (status.code(), info.first, fields.map(|violation| violation.first).collect())
}

#[tokio::test]
async fn a_request_id_is_carried_out_once() {
    let server = Running::start().await;
    let mut control = ControlServiceClient::new(server.channel().await);
    let first = control.pause(pb::PauseRequest { guard: guard("a", None) }).await.expect("accepted").into_inner();
    let again = control.pause(pb::PauseRequest { guard: guard("a", None) }).await.expect("accepted").into_inner();
    assert_eq!(again, first, "the same response, status and all");
    assert_eq!(server.commands(), [Command::Pause], "the engine was asked once");
    let accepted = first.accepted.expect("what became of it");
    assert!(accepted.changed && accepted.generation == 1 && accepted.status.is_some(), "{accepted:?}");

    let other = control.resume(pb::ResumeRequest { guard: guard("a", None) }).await.expect_err("another request");
    assert_eq!(told(&other), (Code::AlreadyExists, "REQUEST_ID_REUSED".to_owned(), vec![]));
    let bound = control.pause(pb::PauseRequest { guard: guard("a", Some(0)) }).await.expect_err("another request");
    assert_eq!(bound.code(), Code::AlreadyExists);
    assert_eq!(server.commands().len(), 1);
    server.end().await;
}

#[tokio::test]
async fn a_refused_request_may_be_sent_again_with_its_id() {
    let server = Running::start().await;
    let mut control = ControlServiceClient::new(server.channel().await);
    server.refuse_next(Refusal::TooEarly { command: "pause", stage: Stage::Init });
    let refused = control.pause(pb::PauseRequest { guard: guard("a", None) }).await.expect_err("too early");
    assert_eq!(told(&refused), (Code::FailedPrecondition, "TOO_EARLY".to_owned(), vec![]));
    let accepted = control.pause(pb::PauseRequest { guard: guard("a", None) }).await.expect("accepted later");
    assert!(accepted.into_inner().accepted.expect("what became of it").changed);
    server.end().await;
}

#[tokio::test]
async fn an_expected_generation_must_hold() {
    let server = Running::start().await;
    let mut control = ControlServiceClient::new(server.channel().await);
    control.pause(pb::PauseRequest { guard: guard("", Some(0)) }).await.expect("generation is 0");
    let late = control.resume(pb::ResumeRequest { guard: guard("", Some(0)) }).await.expect_err("generation is 1");
    assert_eq!(told(&late), (Code::Aborted, "GENERATION_MISMATCH".to_owned(), vec![]));
    control.resume(pb::ResumeRequest { guard: guard("", Some(1)) }).await.expect("generation is 1");
    assert_eq!(server.commands(), [Command::Pause, Command::Resume]);
    server.end().await;
}

#[tokio::test]
async fn an_id_without_end_is_refused() {
    let server = Running::start().await;
    let mut control = ControlServiceClient::new(server.channel().await);
    let request = pb::StopRequest { guard: guard(&"x".repeat(129), None) };
    let error = control.stop(request).await.expect_err("129 bytes");
    let fields = vec!["guard.request_id".to_owned()];
    assert_eq!(told(&error), (Code::InvalidArgument, "BAD_REQUEST".to_owned(), fields));
    server.end().await;
}

#[tokio::test]
async fn settings_are_reloaded_or_the_answer_says_why_not() {
    let server = Running::start().await;
    let mut control = ControlServiceClient::new(server.channel().await);
    let none = pb::ReloadConfigRequest::default();
    let tables = vec!["shop.orders".to_owned()];

    let both = pb::ReloadConfigRequest { flush_interval_ms: 250, tables: tables.clone(), ..none.clone() };
    let answer = control.reload_config(both).await.expect("accepted").into_inner();
    assert!(answer.accepted.expect("what became of it").changed);
    let results: Vec<_> = answer.results.iter().map(|result| (result.setting.as_str(), result.outcome())).collect();
    use pb::SettingOutcome::{Applied, NeedsRestart};
    assert_eq!(results, [("flush_interval_ms", Applied), ("tables", NeedsRestart)]);
    let interval = Some(Duration::from_millis(250));
    let want = Command::Reload { flush_rows: None, flush_bytes: None, flush_interval: interval };
    assert_eq!(server.commands(), [want], "zero keeps");

    let only_tables = pb::ReloadConfigRequest { tables, ..none.clone() };
    let error = control.reload_config(only_tables).await.expect_err("nothing could be applied");
    let fields = vec!["tables".to_owned()];
    assert_eq!(told(&error), (Code::FailedPrecondition, "NEEDS_RESTART".to_owned(), fields));

    server.refuse_next(Refusal::BadSetting { setting: "FLUSH_BYTES", problem: "is above 10".to_owned() });
    let too_much = pb::ReloadConfigRequest { flush_bytes: 11, ..none };
    let error = control.reload_config(too_much).await.expect_err("out of range");
    let fields = vec!["flush_bytes".to_owned()];
    assert_eq!(told(&error), (Code::InvalidArgument, "BAD_SETTING".to_owned(), fields));
    server.end().await;
}

#[tokio::test]
async fn fifty_clients_at_once_see_one_order() {
    let server = Running::start().await;
    let channel = server.channel().await;
    let mut calls = tokio::task::JoinSet::new();
    for n in 0..50 {
        let mut control = ControlServiceClient::new(channel.clone());
        calls.spawn(async move {
            // Each id comes from five clients.
            let guard = guard(&format!("id {}", n % 10), None);
            let answer = control.pause(pb::PauseRequest { guard }).await.expect("accepted").into_inner();
            (n % 10, answer.accepted.expect("what became of it"))
        });
    }
    let answers = calls.join_all().await;
    assert_eq!(server.commands().len(), 10, "each id was carried out once");
    let first = answers.iter().filter(|(_, accepted)| accepted.changed).count();
    assert_eq!(first, 5, "the five answers to the one id that changed something are the same");
    for (id, accepted) in &answers {
        let same = answers.iter().filter(|(other, _)| other == id).all(|(_, other)| other == accepted);
        assert!(same, "id {id} got different answers");
    }
    server.end().await;
}
