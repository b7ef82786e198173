//! Generated from `proto/sluicegate/v1`; its comments are the docs.
#![expect(clippy::allow_attributes, reason = "generated code silences lints in the way that needs no reason")]

tonic::include_proto!("sluicegate.v1");

/// The compiled descriptors of all files and their imports, for reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/sluicegate_descriptors.bin"));
