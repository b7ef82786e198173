//! Documents that are written from tables in the code stay equal to them. `UPDATE=1 cargo test` rewrites them.

use std::fs;
use std::path::Path;

use sluicegate::engine::lifecycle;
use sluicegate::sink::starrocks::classes_in_markdown;

/// Holds the part of a document between two markers equal to `want`.
fn check_part(document: &str, marker: &str, want: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(document);
    let text = fs::read_to_string(&path).unwrap();
    let (start, end) = (format!("<!-- {marker}: start -->\n"), format!("<!-- {marker}: end -->"));
    let (before, rest) = text.split_once(&start).unwrap_or_else(|| panic!("{document} lacks {start}"));
    let (have, after) = rest.split_once(&end).unwrap_or_else(|| panic!("{document} lacks {end}"));
    if have == want {
        return;
    }
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&path, format!("{before}{start}{want}{end}{after}")).unwrap();
        return;
    }
    panic!("{document} is not what the code says; run UPDATE=1 cargo test --test it and read the difference");
}

#[test]
fn the_diagram_of_stages_is_the_table_of_transitions() {
    let diagram = format!("```mermaid\n{}```\n", lifecycle::mermaid());
    check_part("ARCHITECTURE.md", "stages", &diagram);
}

#[test]
fn the_classes_of_values_that_do_not_fit_are_the_table_in_the_code() {
    check_part("docs/values.md", "classes", &classes_in_markdown());
}
