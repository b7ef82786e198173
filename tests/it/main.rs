//! Tests that need only this machine.

mod config_docs;
mod documents;
mod grpc;
mod layers;
