//! The reference of types is written from the tables that resolve and map them.

use std::fs;
use std::path::Path;

use sluicegate::sink::starrocks::types_page;
use sluicegate::source::postgres::type_names;

#[test]
fn the_page_is_as_the_tables_have_it() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/types.md");
    let page = types_page(&type_names());
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&path, &page).unwrap();
    }
    let found = fs::read_to_string(&path).unwrap_or_default();
    assert!(found == page, "docs/types.md is not what the tables say; UPDATE=1 cargo test --test it types_docs");
}
