//! Tests that need only this machine.
