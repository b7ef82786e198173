//! Who may import whom. Rust does not stop cycles between modules of one crate, so this table does.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// A module and what it may import. To change a rule, change it here and give the reason in the commit.
const MAY_IMPORT: &[(&str, &[&str], &str)] = &[
    ("model", &[], "everyone speaks it"),
    ("failpoint", &[], "a crash point may stand anywhere"),
    ("allocator", &[], "a leaf: speaks to the system alone"),
    ("pgoutput", &["model"], "a leaf: tested, benched and fuzzed alone"),
    ("status", &["model"], "a leaf"),
    ("checkpoint", &["model"], "a leaf"),
    ("sink", &["model", "status", "failpoint"], "sees no source"),
    ("source", &["model", "pgoutput", "status", "checkpoint", "failpoint"], "keeps the checkpoint beside the slot"),
    ("snapshot", &["model", "checkpoint"], "decides only, also what is next by what the checkpoint keeps of a copy"),
    (
        "pipeline",
        &["model", "sink", "status", "snapshot", "failpoint"],
        "sees `trait Sink`, never `starrocks`; rows that were read go in at a place of the stream that it alone knows",
    ),
    ("verify", &["model", "source", "sink"], "sees a reader of each side, never a product"),
    (
        "engine",
        &[
            "model",
            "status",
            "checkpoint",
            "source",
            "sink",
            "snapshot",
            "pipeline",
            "verify",
            "failpoint",
            "allocator",
        ],
        "the one place that assembles them",
    ),
    ("verify", &["model", "source", "sink"], "sees a reader of each side, never a product"),
    ("grpc", &["model", "status", "engine"], "the engine does not know that gRPC exists"),
    ("config", &["model", "source", "sink", "pipeline", "engine", "grpc"], "nothing below knows of the environment"),
    ("cli", &["model", "status", "config", "engine", "grpc", "verify"], "what a person types"),
];

/// Products, and the one file outside of their folders that may name them.
const PRODUCTS: [(&str, &str); 2] = [("postgres", "source"), ("starrocks", "sink")];

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// The modules that a file's code names by `crate::…`, comments left out.
fn imports(text: &str) -> BTreeSet<String> {
    let code = text.lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n");
    let mut found = BTreeSet::new();
    for after in code.split("crate::").skip(1) {
        let names = match after.strip_prefix('{') {
            None => vec![after],
            Some(group) => split_group(group),
        };
        let word = |name: &str| name.trim().split(|c: char| !c.is_alphanumeric() && c != '_').next().map(str::to_owned);
        found.extend(names.into_iter().filter_map(word));
    }
    found
}

/// The first level of `a::{…}, b, c}`.
fn split_group(group: &str) -> Vec<&str> {
    let (mut depth, mut start, mut names) = (0, 0, Vec::new());
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => {
                names.push(&group[start..at]);
                break;
            }
            '}' => depth -= 1,
            ',' if depth == 0 => {
                names.push(&group[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    names
}

#[test]
fn modules_import_only_what_they_may() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let rules: BTreeMap<&str, &[&str]> = MAY_IMPORT.iter().map(|(module, may, _)| (*module, *may)).collect();
    let mut files = Vec::new();
    sources(&root, &mut files);
    let (mut seen, mut wrong) = (BTreeSet::new(), Vec::new());
    for file in files {
        let inside = file.strip_prefix(&root).unwrap();
        let module = inside.iter().next().unwrap().to_str().unwrap().trim_end_matches(".rs").to_owned();
        if ["lib", "main"].contains(&module.as_str()) {
            continue;
        }
        let text = fs::read_to_string(&file).unwrap();
        let Some(may) = rules.get(module.as_str()) else {
            wrong.push(format!("{}: module {module} is not in the table", inside.display()));
            continue;
        };
        seen.insert(module.clone());
        for import in imports(&text) {
            let known = rules.contains_key(import.as_str());
            if known && import != module && !may.contains(&import.as_str()) {
                wrong.push(format!("{}: {module} may not import {import}", inside.display()));
            }
        }
    }
    let missing =
        rules.keys().filter(|module| !seen.contains(**module)).map(|module| format!("{module}: no such module"));
    wrong.extend(missing);
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn only_the_wiring_and_the_configuration_name_products() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&root, &mut files);
    let mut wrong = Vec::new();
    for file in files {
        let inside = file.strip_prefix(&root).unwrap();
        let text = fs::read_to_string(&file).unwrap();
        for (product, home) in PRODUCTS {
            let allowed =
                inside.starts_with(home) || inside.starts_with("config") || inside == Path::new("engine/wiring.rs");
            let named = text.lines().any(|line| {
                let code = line.split("//").next().unwrap_or_default();
                code.contains(&format!("{home}::{product}"))
            });
            if named && !allowed {
                wrong.push(format!("{}: names {home}::{product}", inside.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn the_reader_of_imports_reads_them() {
    let text = "use crate::model::{Lsn, Row}; // crate::grpc\nuse crate::{sink::{self, Sink}, status};\nlet x = crate::failpoint::hit(\"\");";
    let want = ["failpoint", "model", "sink", "status"].map(str::to_owned);
    assert_eq!(imports(text), BTreeSet::from(want));
}
