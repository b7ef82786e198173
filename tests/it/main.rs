//! Tests that need only this machine.

mod cli;
mod config_docs;
mod documents;
mod grpc;
mod layers;
mod types_docs;
