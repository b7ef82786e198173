//! Tests with a real PostgreSQL, the stand-in and the real binary.

mod bad_values;
mod crashes;
mod operations;
mod rows;
mod shutdown;
mod sink;
mod slots;
mod snapshot;
mod streamed;
mod toast;
mod types;
mod values;
mod verify;
mod world;
