//! The settings in force, with where each comes from, fit to be shown.
//!
//! Always: made from the options, not from the variables' text, so what is shown is what was understood; a password
//! is shown as `***`, wherever it was written. Start at [`list`].

use super::Settings;
use super::env::{Origin, Reading};
use super::value::print_size;
use super::vars::{Fallback, VARS, Var};
use crate::sink::starrocks::{self, DeleteMode, SinkUrl};

/// A setting in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Effective {
    /// Name.
    pub name: &'static str,
    /// Value, [`HIDDEN`] for a password; `None` if there is none.
    pub value: Option<String>,
    /// Where it comes from.
    pub origin: Origin,
}

/// What stands for a password.
pub const HIDDEN: &str = "***";

/// Every setting, in the order of the table.
pub(super) fn list(settings: &Settings, reading: &Reading) -> Vec<Effective> {
    let of = |var: &Var| {
        let value = value(var, settings, reading);
        let origin = match reading.found.get(var.name) {
            Some(found) => found.origin.clone(),
            None => origin_elsewhere(var.name, settings, reading).unwrap_or(Origin::Default),
        };
        Effective { name: var.name, value, origin }
    };
    VARS.iter().map(of).collect()
}

fn value(var: &Var, settings: &Settings, reading: &Reading) -> Option<String> {
    let Settings { source, sink, engine, .. } = settings;
    let hidden = || HIDDEN.to_owned();
    match var.name {
        "SOURCE_URL" => Some(source.connect.redacted()),
        "SOURCE_PASSWORD" => (source.connect.password.is_some() || source.connect.password_file.is_some()).then(hidden),
        "SLOT" => Some(source.slot.clone()),
        "PUBLICATION" => Some(source.publication.clone()),
        "SINK_URL" => Some(sink_url(sink)),
        "SINK_PASSWORD" => origin_of_sink_password(reading).map(|_| hidden()),
        "SINK_USER" => Some(sink.user.clone()),
        "SINK_DATABASE" => Some(sink.database.clone()),
        "SINK_PORT" => Some(sink.sql_port.to_string()),
        "DELETE_MODE" => Some(match sink.delete_mode {
            DeleteMode::Soft => "soft".to_owned(),
            DeleteMode::Hard => "hard".to_owned(),
        }),
        "STREAM_SPOOL_FOLDER" if source.spool.is_some() => {
            source.spool.as_ref().map(|spool| spool.folder.display().to_string())
        }
        "FLUSH_BYTES" => Some(print_size(engine.flush.flush_bytes)),
        name => match (reading.found.get(name), var.default) {
            (Some(found), _) if !var.secret => Some(found.value.clone()),
            (Some(_), _) => Some(hidden()),
            (None, Fallback::Value(value)) => Some(value.to_owned()),
            (None, Fallback::Required | Fallback::Depends(_)) => None,
        },
    }
}

/// Where a setting that is not set by itself comes from, if from another variable.
fn origin_elsewhere(name: &str, settings: &Settings, reading: &Reading) -> Option<Origin> {
    let within = |url: &str| {
        let origin = &reading.found.get(url)?.origin;
        Some(Origin::Within(origin.variable(url).to_owned()))
    };
    let url = || SinkUrl::parse(&reading.found.get("SINK_URL")?.value).ok();
    match name {
        "SOURCE_PASSWORD" => {
            let connect = &settings.source.connect;
            let from_file = connect.password_file.is_some() || connect.password.is_none();
            let libpq = ["PGPASSWORD", "PGPASSFILE"].into_iter().find(|name| reading.foreign(name).is_some());
            match libpq {
                Some(name) => Some(Origin::Variable(name.to_owned())),
                None if from_file => None,
                None => within("SOURCE_URL"),
            }
        }
        "SINK_PASSWORD" => origin_of_sink_password(reading),
        "SINK_USER" => url()?.user.and(within("SINK_URL")),
        "SINK_DATABASE" => url()?.database.and(within("SINK_URL")),
        "SINK_PORT" => url()?.sql_port.and(within("SINK_URL")),
        _ => None,
    }
}

fn origin_of_sink_password(reading: &Reading) -> Option<Origin> {
    if let Some(found) = reading.found.get("SINK_PASSWORD") {
        return Some(found.origin.clone());
    }
    let url = reading.found.get("SINK_URL")?;
    SinkUrl::parse(&url.value).ok()?.password?;
    Some(Origin::Within(url.origin.variable("SINK_URL").to_owned()))
}

/// The frontends; user, password, database and SQL port are shown as settings of their own.
fn sink_url(sink: &starrocks::Options) -> String {
    let scheme = if sink.frontends.iter().any(|frontend| frontend.https) { "starrocks+https" } else { "starrocks" };
    let hosts: Vec<String> = sink.frontends.iter().map(ToString::to_string).collect();
    format!("{scheme}://{}", hosts.join(","))
}
