//! For `benches/`: a load's body, as the connection takes it.

use std::sync::Arc;

use super::compress::Compression;
use super::encode::Body;
use super::options::TypeRules;
use super::plan::{Audit, Plan, PlanColumn};
use super::types::created;
use super::value::Writer;
use crate::model::Load;

/// Encodes a load for the target that would be made for its table, with audit columns; the body's size.
///
/// # Panics
/// If the target cannot hold a value.
pub fn encode(load: &Load, piece: &mut [u8]) -> u64 {
    let mut body = body(load);
    while body.read(piece).expect("values that fit") > 0 {}
    body.bytes()
}

/// Appends a load's body to `out`, as it is sent.
///
/// # Panics
/// If the target cannot hold a value.
pub fn encode_into(load: &Load, compression: Compression, out: &mut Vec<u8>) {
    let (mut body, mut piece) = (body(load).compressed(compression), vec![0; 256 << 10]);
    loop {
        match body.read(&mut piece).expect("values that fit") {
            0 => break,
            length => out.extend_from_slice(&piece[..length]),
        }
    }
}

fn body(load: &Load) -> Body {
    let schema = &load.schema;
    let column = |(at, column): (usize, &crate::model::Column)| {
        let key = schema.is_key(at);
        let writer = Writer::new(&column.ty, key, &created(&column.ty, key, &TypeRules::default()))
            .expect("a type with a target");
        PlanColumn::new(&column.name, writer, !key, key)
    };
    let name = |name: &str| format!("sluice_{name}");
    let plan = Plan {
        columns: schema.columns.iter().enumerate().map(column).collect(),
        key: schema.key.clone(),
        audit: Some(Audit {
            op_type: name("op_type"),
            is_deleted: name("is_deleted"),
            synced_at: name("synced_at"),
            cdc_version: name("cdc_version"),
        }),
        hard_deletes: false,
        key_alone_fits: true,
    };
    Body::new(Arc::new(plan), load, "2026-01-02 03:04:05.000006")
}
