//! The settings for people: the reference page and the long `--help`, both written from the table.

use std::fmt::Write as _;

use super::vars::{AliasRule, FAMILIES, Fallback, Group, RETIRED, RetiredRule, VARS, Var};

const INTRO: &str = "\
# Settings

<!-- Written from the table in src/config/vars.rs. After a change there: UPDATE=1 cargo test --test it config_docs -->

Sluicegate is set up by environment variables alone. Three are required:

```sh
SOURCE_URL=postgres://app@localhost:5432/shop
SINK_URL=starrocks://loader@localhost:8030/shop?sql_port=9030
TABLES=orders,shop.customers
```

Everything else has a default that works. `sluicegate config` shows what is in force and where each value comes from,
passwords left out; `sluicegate check` tries both databases.

## How values are read

- Empty means not set. Blanks around a value do not count, except in passwords.
- Yes or no: `true` `yes` `on` `1`, or `false` `no` `off` `0`.
- Times need a unit: `500ms` `5s` `2m` `1h` `7d`. Sizes too: `64MiB` `512KiB` `1GiB` (powers of 1024), `10MB` `500kB` \
(powers of 1000). Only where the name tells the unit, as in `FLUSH_INTERVAL_MS`, the value is a plain number.
- A setting marked *secret* can come from a file instead: `SINK_PASSWORD_FILE=/run/secrets/sink` in place of
  `SINK_PASSWORD`. The file holds one line of UTF-8, at most 64 KiB. Setting both is an error.
- Settings marked *live* can change while running, by the gRPC call `ReloadConfig`. The others change with a restart.
- A wrong value never becomes a default. Everything that is wrong is told at once, and the exit code is 78.
- A name that begins like ours and is none is an error, with the nearest name: most likely it is misspelt.
";

/// The reference page, Markdown.
pub fn page() -> String {
    let mut page = INTRO.to_owned();
    push(&mut page, format_args!("  Ours begin with {}.\n", list(FAMILIES)));
    for group in Group::ALL {
        push(&mut page, format_args!("\n## {}\n\n", group.title()));
        page.push_str("| Name | Default | Meaning | Example |\n|---|---|---|---|\n");
        for var in VARS.iter().filter(|var| var.group == group) {
            push_row(&mut page, var);
        }
    }
    push_old_names(&mut page);
    page
}

fn push(page: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    let _ = page.write_fmt(text);
}

fn push_row(page: &mut String, var: &Var) {
    let mut marks = String::new();
    if var.secret {
        marks.push_str(" *Secret.*");
    }
    if var.reload {
        marks.push_str(" *Live.*");
    }
    push(
        page,
        format_args!(
            "| `{}` | {} | {} ({}){marks} | `{}` |\n",
            var.name,
            default(var),
            var.help,
            var.kind.form(),
            var.example
        ),
    );
}

fn default(var: &Var) -> String {
    match var.default {
        Fallback::Required => "**required**".to_owned(),
        Fallback::Value(value) => format!("`{value}`"),
        Fallback::Depends(words) => words.to_owned(),
    }
}

fn list(names: &[&str]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(" ")
}

const OLD_NAMES: &str = "
## Names of the older sidecar

Sluicegate reads the variables of the sidecar it replaces, so that an existing deployment starts unchanged. Each old
name is noted at the start. Setting an old name and the new one to different values is an error.

| Old name | Now |
|---|---|
";

fn push_old_names(page: &mut String) {
    page.push_str(OLD_NAMES);
    for var in VARS {
        for alias in var.aliases {
            let note = match alias.rule {
                AliasRule::Old => String::new(),
                AliasRule::OldPort => "; a port alone means 127.0.0.1".to_owned(),
                AliasRule::OldSwitch { yes, no: Some(no) } => format!("; `true` means `{yes}`, `false` means `{no}`"),
                AliasRule::OldSwitch { yes, no: None } => format!("; `true` means `{yes}`, `false` nothing"),
                AliasRule::Common => format!("; not noted, and `{}` wins if both are set", var.name),
            };
            push(page, format_args!("| `{}` | `{}`{note} |\n", alias.name, var.name));
        }
    }
    for retired in RETIRED {
        let now = match retired.rule {
            RetiredRule::Ignored => "no effect".to_owned(),
            RetiredRule::Only(words) => format!("only {} is accepted", list(words)),
        };
        push(page, format_args!("| `{}` | {now}: {} |\n", retired.name, retired.why));
    }
    page.push_str(
        "\nThe older sidecar's audit columns were called `dbmazz_op_type` and so on: `AUDIT_COLUMN_PREFIX=dbmazz_` \
         keeps them.\nIts gRPC and HTTP ports listened on every address; ours listen on loopback unless `GRPC_ADDR` \
         and `METRICS_ADDR` say otherwise.\n",
    );
}

/// Width of the help's text column and where it begins.
const HELP_WIDTH: usize = 96;
const HELP_INDENT: usize = 6;

/// The settings for `--help`: by chapter, each with its default.
pub fn help() -> String {
    let mut text = String::from("Settings (environment variables; the full reference is docs/configuration.md):\n");
    for group in Group::ALL {
        push(&mut text, format_args!("\n  {}\n", group.title()));
        for var in VARS.iter().filter(|var| var.group == group) {
            let default = match var.default {
                Fallback::Required => "required".to_owned(),
                Fallback::Value(value) | Fallback::Depends(value) => format!("default: {value}"),
            };
            let file = if var.secret { format!("; or {}_FILE", var.name) } else { String::new() };
            push(&mut text, format_args!("    {}  [{default}{file}]\n", var.name));
            for line in wrapped(&var.help.replace('`', ""), HELP_WIDTH - HELP_INDENT) {
                push(&mut text, format_args!("{:HELP_INDENT$}{line}\n", ""));
            }
        }
    }
    text
}

/// Lines of at most so many characters, broken at blanks.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = String::new();
    for word in text.split_whitespace() {
        if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > width {
            lines.push(std::mem::take(&mut line));
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    lines.push(line);
    lines
}
