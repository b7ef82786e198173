//! Errors as gRPC clients expect them: a status code, a sentence, and details a program can read.
//!
//! The details are `google.rpc.Status` with `ErrorInfo` and, for bad fields, `BadRequest` (googleapis,
//! `google/rpc/status.proto` and `error_details.proto`), in the trailer `grpc-status-details-bin`.

use std::collections::BTreeMap;

use prost::Message;
use prost_types::Any;
use tonic::{Code, Status};

use crate::engine::Refusal;

/// Whose reasons these are.
const DOMAIN: &str = "sluicegate";
const ERROR_INFO: &str = "type.googleapis.com/google.rpc.ErrorInfo";
const BAD_REQUEST: &str = "type.googleapis.com/google.rpc.BadRequest";

#[derive(Clone, PartialEq, Message)]
struct RpcStatus {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
    #[prost(message, repeated, tag = "3")]
    details: Vec<Any>,
}

#[derive(Clone, PartialEq, Message)]
struct ErrorInfo {
    #[prost(string, tag = "1")]
    reason: String,
    #[prost(string, tag = "2")]
    domain: String,
    #[prost(btree_map = "string, string", tag = "3")]
    metadata: BTreeMap<String, String>,
}

#[derive(Clone, PartialEq, Message)]
struct BadRequest {
    #[prost(message, repeated, tag = "1")]
    field_violations: Vec<FieldViolation>,
}

#[derive(Clone, PartialEq, Message)]
struct FieldViolation {
    #[prost(string, tag = "1")]
    field: String,
    #[prost(string, tag = "2")]
    description: String,
}

/// An error under construction.
pub(super) struct Failure {
    code: Code,
    message: String,
    info: ErrorInfo,
    violations: Vec<FieldViolation>,
}

impl Failure {
    /// An error with a stable reason, upper case, and a sentence.
    pub(super) fn new(code: Code, reason: &str, message: impl Into<String>) -> Failure {
        let info = ErrorInfo { reason: reason.to_owned(), domain: DOMAIN.to_owned(), metadata: BTreeMap::new() };
        Failure { code, message: message.into(), info, violations: Vec::new() }
    }

    /// Adds a fact for programs.
    pub(super) fn with(mut self, key: &str, value: impl ToString) -> Failure {
        self.info.metadata.insert(key.to_owned(), value.to_string());
        self
    }

    /// Adds a field of the request and what is wrong with it.
    pub(super) fn field(mut self, field: &str, description: impl Into<String>) -> Failure {
        self.violations.push(FieldViolation { field: field.to_owned(), description: description.into() });
        self
    }
}

impl From<Failure> for Status {
    fn from(failure: Failure) -> Status {
        let mut details = vec![Any { type_url: ERROR_INFO.to_owned(), value: failure.info.encode_to_vec() }];
        if !failure.violations.is_empty() {
            let bad = BadRequest { field_violations: failure.violations };
            details.push(Any { type_url: BAD_REQUEST.to_owned(), value: bad.encode_to_vec() });
        }
        let whole = RpcStatus { code: failure.code as i32, message: failure.message.clone(), details };
        Status::with_details(failure.code, failure.message, whole.encode_to_vec().into())
    }
}

/// What the engine refused, in gRPC's terms.
pub(super) fn refused(refusal: &Refusal) -> Failure {
    let message = refusal.to_string();
    match refusal {
        Refusal::TooEarly { command, stage } => Failure::new(Code::FailedPrecondition, "TOO_EARLY", message)
            .with("command", command)
            .with("stage", stage.name()),
        Refusal::TooLate { command, stage } => Failure::new(Code::FailedPrecondition, "TOO_LATE", message)
            .with("command", command)
            .with("stage", stage.name()),
        // Fields of the request carry the settings' names in lower case.
        Refusal::BadSetting { setting, problem } => Failure::new(Code::InvalidArgument, "BAD_SETTING", message)
            .with("setting", setting)
            .field(&setting.to_ascii_lowercase(), problem),
        Refusal::UnknownTable { table } => Failure::new(Code::InvalidArgument, "UNKNOWN_TABLE", message)
            .with("table", table)
            .field("tables", format!("{table} is not replicated")),
        Refusal::Gone => Failure::new(Code::Unavailable, "ENGINE_GONE", message),
    }
}

/// The stable reason in an error that came over the wire, if it carries one of ours.
pub(super) fn reason(status: &Status) -> Option<String> {
    let whole = RpcStatus::decode(status.details()).ok()?;
    let info = whole.details.iter().find(|detail| detail.type_url == ERROR_INFO)?;
    let info = ErrorInfo::decode(info.value.as_slice()).ok()?;
    (info.domain == DOMAIN).then_some(info.reason)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Stage;

    #[test]
    fn refusals_have_a_code_and_a_reason() {
        let cases = [
            (Refusal::TooEarly { command: "pause", stage: Stage::Init }, Code::FailedPrecondition, "TOO_EARLY"),
            (Refusal::TooLate { command: "stop", stage: Stage::Stopped }, Code::FailedPrecondition, "TOO_LATE"),
            (
                Refusal::BadSetting { setting: "FLUSH_SIZE", problem: "is 0".to_owned() },
                Code::InvalidArgument,
                "BAD_SETTING",
            ),
            (Refusal::UnknownTable { table: "a.b".to_owned() }, Code::InvalidArgument, "UNKNOWN_TABLE"),
            (Refusal::Gone, Code::Unavailable, "ENGINE_GONE"),
        ];
        for (refusal, code, want) in cases {
            let status = Status::from(refused(&refusal));
            assert_eq!((status.code(), reason(&status).as_deref()), (code, Some(want)), "{refusal:?}");
            assert_eq!(status.message(), refusal.to_string());
        }
    }

    #[test]
    fn a_bad_setting_names_its_field() {
        let refusal = Refusal::BadSetting { setting: "FLUSH_SIZE", problem: "is above 10".to_owned() };
        let whole = RpcStatus::decode(Status::from(refused(&refusal)).details()).expect("details decode");
        let bad = BadRequest::decode(whole.details[1].value.as_slice()).expect("a BadRequest");
        let want = FieldViolation { field: "flush_size".to_owned(), description: "is above 10".to_owned() };
        assert_eq!(bad.field_violations, [want]);
    }

    #[test]
    fn foreign_details_have_no_reason_of_ours() {
        for details in [&b""[..], b"\xff\xff\xff", b"\x08\x03"] {
            let status = Status::with_details(Code::Internal, "x", details.to_vec().into());
            assert_eq!(reason(&status), None, "{details:?}");
        }
    }
}
