//! What StarRocks does with loads, row by row: `exchange` the HTTP hops, `loads` bodies and their rows, `values` what
//! becomes of a value, `keys` what a key does, `labels` their states, `answers` what is told of them, `transactions` the
//! transaction interface, `changes` schema changes beside loads.
//!
//! Runs against the stand-in always, and unchanged against a real cluster when `STARROCKS_URL` names one
//! (`starrocks://user:password@host:8030/?sql_port=9030`). Every row names where the behaviour is written down in public
//! and a release it was read in. `doubt` marks a row that was concluded and not seen; a real cluster may prove it wrong.
//!
//! Start at `target::Target`.

mod answers;
mod changes;
mod client;
mod exchange;
mod keys;
mod labels;
mod loads;
mod rows;
mod target;
mod transactions;
mod values;
