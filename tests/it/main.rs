//! Tests that need only this machine.

mod documents;
mod grpc;
mod layers;
