//! Shows the settings in force, and what is wrong with them.

use std::io;

use serde::Serialize;

use super::terminal::{Ink, Style, complain, print};
use super::{ConfigFormat, Exit};
use crate::config::{Effective, Env, HIDDEN, Problems, Settings};

/// `sluicegate config`.
pub(super) fn show(env: &impl Env, format: ConfigFormat) -> Exit {
    let settings = match Settings::from_env(env) {
        Ok(settings) => settings,
        Err(problems) => return refuse(&problems),
    };
    for note in &settings.notes {
        complain(&format!("note: {note}\n"));
    }
    print(&match format {
        ConfigFormat::Table => table(&settings.effective, Style::of(&io::stdout())),
        ConfigFormat::Env => lines(&settings.effective),
        ConfigFormat::Json => json(&settings.effective),
    });
    Exit::Well
}

/// Tells everything that is wrong with the settings.
pub(super) fn refuse(problems: &Problems) -> Exit {
    complain(&refusal(problems));
    Exit::Config
}

fn refusal(problems: &Problems) -> String {
    let notes: String = problems.notes.iter().map(|note| format!("note: {note}\n")).collect();
    format!("{notes}sluicegate: {problems}\nEvery setting is explained by: sluicegate --help\n")
}

fn table(effective: &[Effective], style: Style) -> String {
    let widest = |of: fn(&Effective) -> usize| effective.iter().map(of).max().unwrap_or_default();
    let name = widest(|one| one.name.len());
    let value = widest(|one| one.value.as_ref().map_or(0, |value| value.chars().count())).min(48);
    let row = |one: &Effective| {
        let text = one.value.as_deref().unwrap_or("-");
        let line = format!("{:name$}  {text:value$}  {}", one.name, one.origin);
        let ink = if one.origin == crate::config::Origin::Default { Ink::Faint } else { Ink::Strong };
        format!("{}\n", style.ink(ink, line.trim_end()))
    };
    effective.iter().map(row).collect()
}

/// Lines that mean the same again when read by a shell. What may not be shown is a comment.
fn lines(effective: &[Effective]) -> String {
    let line = |one: &Effective| match one.value.as_deref() {
        None => String::new(),
        Some(HIDDEN) => format!("# {}={HIDDEN}\n", one.name),
        Some(value) => format!("{}={}\n", one.name, quoted(value)),
    };
    effective.iter().map(line).collect()
}

/// A word for a POSIX shell.
fn quoted(value: &str) -> String {
    let harmless = |b: u8| b.is_ascii_alphanumeric() || b"_-.,:/@%+=".contains(&b);
    if !value.is_empty() && value.bytes().all(harmless) {
        return value.to_owned();
    }
    format!("'{}'", value.replace('\'', r"'\''"))
}

#[derive(Serialize)]
struct Row<'a> {
    name: &'a str,
    value: Option<&'a str>,
    origin: String,
}

fn json(effective: &[Effective]) -> String {
    let rows: Vec<Row<'_>> = effective
        .iter()
        .map(|one| Row { name: one.name, value: one.value.as_deref(), origin: one.origin.to_string() })
        .collect();
    // Serialising plain text and lists cannot fail.
    sonic_rs::to_string_pretty(&rows).unwrap_or_default() + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> Settings {
        Settings::from_env(&vec![
            ("SOURCE_URL", "postgres://app:CANARY@localhost:5432/shop"),
            ("SINK_URL", "starrocks://loader:CANARY@fe:8030/shop"),
            ("TABLES", "shop.orders=>o, shop.x"),
            ("SLOT_NAME", "s"),
        ])
        .unwrap()
    }

    #[test]
    fn the_table_has_a_line_for_each_setting_and_its_origin() {
        let text = table(&settings().effective, Style { colour: false, width: 80 });
        assert_eq!(text.lines().count(), crate::config::VARS.len());
        let line = |name: &str| text.lines().find(|line| line.starts_with(&format!("{name} "))).unwrap().to_owned();
        let words = |name: &str| line(name).split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(words("SLOT"), ["SLOT", "s", "SLOT_NAME"]);
        assert_eq!(words("FLUSH_SIZE"), ["FLUSH_SIZE", "500000", "default"]);
        assert_eq!(words("SINK_TLS_CA"), ["SINK_TLS_CA", "-", "default"]);
        assert_eq!(words("SINK_PASSWORD"), ["SINK_PASSWORD", "***", "part", "of", "SINK_URL"]);
    }

    #[test]
    fn env_lines_can_be_read_by_a_shell() {
        let text = lines(&settings().effective);
        for want in
            ["TABLES='shop.orders=>o, shop.x'\n", "# SINK_PASSWORD=***\n", "SLOT=s\n", "SINK_URL=starrocks://fe:8030\n"]
        {
            assert!(text.contains(want), "{want:?} in {text}");
        }
        assert_eq!(quoted("it's"), r"'it'\''s'");
    }

    #[test]
    fn no_form_shows_a_secret() {
        let effective = settings().effective;
        for text in [table(&effective, Style { colour: true, width: 80 }), lines(&effective), json(&effective)] {
            assert!(!text.contains("CANARY"), "{text}");
        }
    }

    #[test]
    fn json_can_be_read() {
        let text = json(&settings().effective);
        let rows: Vec<std::collections::BTreeMap<String, Option<String>>> = sonic_rs::from_str(&text).unwrap();
        assert_eq!(rows.len(), crate::config::VARS.len());
        assert_eq!(rows[0]["name"].as_deref(), Some("SOURCE_URL"));
    }

    #[test]
    fn a_refusal_lists_problems_and_says_where_to_read_on() {
        let problems = Settings::from_env(&vec![("SLOT_NAME", "s")]).unwrap_err();
        let text = refusal(&problems);
        assert!(text.starts_with(
            "note: SLOT_NAME is an old name: use SLOT instead\nsluicegate: 3 problems with the settings\n  - "
        ));
        assert!(text.ends_with("\nEvery setting is explained by: sluicegate --help\n"));
    }
}
