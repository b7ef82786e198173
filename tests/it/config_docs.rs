//! The reference of settings is written from the table that reads them.

use std::fs;
use std::path::Path;

#[test]
fn the_page_is_as_the_table_has_it() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/configuration.md");
    let page = sluicegate::config::page();
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&path, &page).unwrap();
    }
    let found = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        found == page,
        "docs/configuration.md is not what the table says; UPDATE=1 cargo test --test it config_docs"
    );
}
