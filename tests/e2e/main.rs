//! Tests with a real PostgreSQL, the stand-in and the real binary.

mod crashes;
mod shutdown;
mod slots;
mod world;
