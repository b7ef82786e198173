//! Fills each module's options from environment variables.
//!
//! In: an [`Env`]. Out: [`Settings`], or [`Problems`] with everything that is wrong. Always: a wrong value never
//! becomes a default; all problems are told together; no message, note or `Debug` text holds a secret. Not here: what
//! the options do. Start at [`Settings::from_env`]; the settings themselves are the table in `vars`.

mod bad_values;
mod effective;
mod env;
mod nearest;
mod options;
mod page;
mod problem;
mod value;
mod vars;

use std::net::SocketAddr;

use serde::Deserialize;

use crate::{engine, grpc, sink, source};

pub use effective::{Effective, HIDDEN};
pub use env::{Env, Origin, ProcessEnv};
pub use page::{help, page};
pub use problem::{Problem, Problems};
pub use vars::{Alias, AliasRule, Fallback, Group, Kind, VARS, Var};

/// Everything the environment says, understood.
#[derive(Clone, Debug)]
pub struct Settings {
    /// For the source.
    pub source: source::postgres::Options,
    /// For the sink.
    pub sink: sink::starrocks::Options,
    /// For the engine, with those of the pipeline.
    pub engine: engine::Options,
    /// For the servers.
    pub grpc: grpc::Options,
    /// For logs.
    pub log: LogOptions,
    /// Name of the pipeline.
    pub pipeline: String,
    /// What a person should know, one sentence each without a final period: old names, names without effect.
    pub notes: Vec<String>,
    /// Every setting in force, fit to be shown.
    pub effective: Vec<Effective>,
}

/// What is logged, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogOptions {
    /// Directives of `tracing_subscriber::EnvFilter`; valid.
    pub filter: String,
    /// The form of lines.
    pub format: LogFormat,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Text on a terminal, JSON elsewhere.
    Auto,
    /// Text.
    Text,
    /// A JSON object a line.
    Json,
}

impl Settings {
    /// Reads all settings.
    ///
    /// # Errors
    /// Everything that is wrong, at once.
    pub fn from_env(env: &impl Env) -> Result<Settings, Problems> {
        options::settings(env::read_all(env))
    }
}

/// Where the running process listens for gRPC, for clients on the same machine: they need no other setting.
///
/// # Errors
/// What is wrong with `GRPC_ADDR`; other settings are not looked at.
pub fn grpc_addr(env: &impl Env) -> Result<SocketAddr, Problems> {
    options::grpc_addr(env::read(env, &[vars::var("GRPC_ADDR")]))
}
