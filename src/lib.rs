//! Sluicegate keeps StarRocks tables equal to PostgreSQL tables.
//!
//! ```text
//! PostgreSQL ──bytes──▶ source ──Change──▶ pipeline ──Load──▶ sink ──HTTP──▶ StarRocks
//!      ▲                  │ pgoutput          │ schema cache     │
//!      └─ standby status ─┴── checkpoint ◀────┴───── Position ───┘   (only what is durable)
//! ```
//!
//! Changes go right. The only thing that comes back left is a position, and it is stored before the server is told
//! of it. `engine` owns the stage and starts everything; `grpc` reads numbers and sends commands; `config` fills each
//! module's options from the environment. Read the modules in the order below.

pub mod model;

pub mod failpoint;

pub mod allocator;

pub mod pgoutput;

pub mod status;

pub mod checkpoint;

pub mod source;

pub mod sink;

pub mod snapshot;

pub mod pipeline;

pub mod verify;

pub mod engine;

pub mod grpc;

pub mod config;

pub mod cli;
