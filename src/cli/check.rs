//! Shows what a look at both databases found.

use std::fmt::Write as _;
use std::io;

use serde::Serialize;
use tokio::runtime::Builder;

use super::Exit;
use super::settings::refuse;
use super::terminal::{Ink, Style, complain, plain, print, wrapped};
use crate::config::{Env, LogOptions, Settings};
use crate::engine::wiring::{Blueprint, Checked};
use crate::model::Reason;

/// `sluicegate check`.
pub(super) fn check(env: &impl Env, json: bool) -> Exit {
    let settings = match Settings::from_env(env) {
        Ok(settings) => settings,
        Err(problems) => return refuse(&problems),
    };
    // What is wrong is printed as findings; log lines would say it twice.
    super::run::start_logging(&LogOptions { filter: "off".to_owned(), ..settings.log });
    let blueprint = Blueprint { source: settings.source, sink: settings.sink, engine: settings.engine };
    let runtime = match Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            complain(&format!("sluicegate: cannot start: {error}\n"));
            return Exit::No;
        }
    };
    let mut checked = match runtime.block_on(blueprint.check()) {
        Ok(checked) => checked,
        Err(reason) => {
            complain(&finding(&reason, Style::of(&io::stderr())));
            return Exit::Config;
        }
    };
    checked.notes.splice(0..0, settings.notes);
    print(&if json { as_json(&checked) } else { as_text(&checked, Style::of(&io::stdout())) });
    if checked.source.is_empty() && checked.sink.is_empty() { Exit::Well } else { Exit::No }
}

fn as_text(checked: &Checked, style: Style) -> String {
    let mut text = String::new();
    for (name, findings) in [("PostgreSQL", &checked.source), ("StarRocks", &checked.sink)] {
        let verdict = match findings.len() {
            0 => style.ink(Ink::Good, "ready"),
            1 => style.ink(Ink::Bad, "1 thing to do"),
            n => style.ink(Ink::Bad, &format!("{n} things to do")),
        };
        push(&mut text, format_args!("{}: {verdict}\n", style.ink(Ink::Strong, name)));
        findings.iter().for_each(|reason| text.push_str(&finding(reason, style)));
        text.push('\n');
    }
    if !checked.notes.is_empty() {
        push(&mut text, format_args!("{}\n", style.ink(Ink::Strong, "Worth knowing")));
        checked.notes.iter().for_each(|note| text.push_str(&wrapped(&format!("- {}", plain(note)), 2, style.width)));
        text.push('\n');
    }
    text.push_str(match checked.source.len() + checked.sink.len() {
        0 => "Everything is in place.\n",
        _ => "Nothing was changed. Do the above and check again.\n",
    });
    text
}

/// One finding with its remedy and the statements to paste, which stand at the margin to be copied.
pub(super) fn finding(reason: &Reason, style: Style) -> String {
    let object = if reason.object.is_empty() { String::new() } else { format!(" ({})", plain(&reason.object)) };
    let mut text = format!("\n  {}{object}\n", style.ink(Ink::Bad, reason.code));
    text.push_str(&wrapped(&plain(&reason.message), 4, style.width));
    if !reason.remedy.is_empty() {
        text.push_str(&wrapped(&format!("To do: {}", plain(&reason.remedy)), 4, style.width));
    }
    if !reason.sql.is_empty() {
        text.push('\n');
        reason.sql.lines().for_each(|line| push(&mut text, format_args!("{}\n", plain(line))));
    }
    text
}

fn push(text: &mut String, more: std::fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    let _ = text.write_fmt(more);
}

#[derive(Serialize)]
struct Report<'a> {
    ready: bool,
    source: Vec<Finding<'a>>,
    sink: Vec<Finding<'a>>,
    notes: &'a [String],
}

#[derive(Serialize)]
struct Finding<'a> {
    code: &'a str,
    object: &'a str,
    message: &'a str,
    remedy: &'a str,
    sql: &'a str,
}

impl<'a> Finding<'a> {
    fn of(reason: &'a Reason) -> Self {
        let Reason { code, class: _, object, message, remedy, sql } = reason;
        Finding { code, object, message, remedy, sql }
    }
}

fn as_json<'a>(checked: &'a Checked) -> String {
    let findings = |reasons: &'a [Reason]| reasons.iter().map(Finding::of).collect();
    let report = Report {
        ready: checked.source.is_empty() && checked.sink.is_empty(),
        source: findings(&checked.source),
        sink: findings(&checked.sink),
        notes: &checked.notes,
    };
    // Serialising plain text and lists cannot fail.
    sonic_rs::to_string_pretty(&report).unwrap_or_default() + "\n"
}

#[cfg(test)]
mod tests {
    use sonic_rs::{JsonValueTrait, Value};

    use super::*;
    use crate::model::Class;

    fn found() -> Checked {
        let wal = Reason::new(
            "SOURCE_WAL_LEVEL",
            Class::Wait,
            "",
            "wal_level is replica, but logical replication needs logical",
            "set it and restart PostgreSQL",
        )
        .with_sql("ALTER SYSTEM SET wal_level = logical;\n-- then restart");
        let key = Reason::new("TABLE_KEY", Class::Wait, "shop.\u{1b}log", "it has no primary key", "add one");
        Checked { source: vec![wal, key], sink: vec![], notes: vec!["existing rows are not copied".into()] }
    }

    #[test]
    fn findings_come_with_what_to_do() {
        let want = "\
PostgreSQL: 2 things to do

  SOURCE_WAL_LEVEL
    wal_level is replica, but logical replication needs logical
    To do: set it and restart PostgreSQL

ALTER SYSTEM SET wal_level = logical;
-- then restart

  TABLE_KEY (shop.?log)
    it has no primary key
    To do: add one

StarRocks: ready

Worth knowing
  - existing rows are not copied

Nothing was changed. Do the above and check again.
";
        assert_eq!(as_text(&found(), Style { colour: false, width: 80 }), want);
        let nothing = as_text(&Checked::default(), Style { colour: false, width: 80 });
        assert_eq!(nothing, "PostgreSQL: ready\n\nStarRocks: ready\n\nEverything is in place.\n");
    }

    #[test]
    fn findings_can_be_read_by_programs() {
        let report: Value = sonic_rs::from_str(&as_json(&found())).unwrap();
        assert_eq!(report["ready"].as_bool(), Some(false));
        assert_eq!(report["source"][0]["code"].as_str(), Some("SOURCE_WAL_LEVEL"));
        assert_eq!(report["source"][1]["object"].as_str(), Some("shop.\u{1b}log"));
        assert_eq!(report["notes"][0].as_str(), Some("existing rows are not copied"));
    }
}
