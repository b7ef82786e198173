//! Tests with a real PostgreSQL, the stand-in and the real binary.
