//! Labels: under what name each load is known to StarRocks.
//!
//! `<pipeline>-<table id>-<incarnation>-<n>`, the last two in hexadecimal: the process's start in microseconds since
//! 1970, and the microseconds from there to the moment the ticket was made. So labels of a process differ from those
//! of every other, sort in the order of making, and say when they were made: a retry under the same label writes the
//! same time into its rows. StarRocks allows `^[-\w]{1,128}$`, once per database (StarRocks documentation, STREAM
//! LOAD, `label`).

use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use sha2::{Digest, Sha256};

use crate::model::TableId;

/// Longest pipeline name kept as it is; leaves room for the rest within 128 characters.
const PIPELINE_MAX: usize = 64;

/// Makes and reads the labels of one process.
#[derive(Debug)]
pub(super) struct Labels {
    prefix: String,
    incarnation: u64,
    start: Instant,
    last: AtomicU64,
}

/// The parts of a label of this pipeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Label {
    /// The table whose rows the load has.
    pub(super) table: TableId,
    /// Start of the process that made it, microseconds since 1970-01-01 UTC.
    pub(super) incarnation: u64,
    /// When it was made, in microseconds after `incarnation`.
    pub(super) n: u64,
}

impl Label {
    /// When it was made, microseconds since 1970-01-01 UTC.
    pub(super) fn made_micros(self) -> u64 {
        self.incarnation.saturating_add(self.n)
    }
}

impl Labels {
    /// For a process that starts now.
    pub(super) fn new(pipeline: &str) -> Self {
        let incarnation = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros() as u64);
        Labels { prefix: format!("{}-", plain(pipeline)), incarnation, start: Instant::now(), last: AtomicU64::new(0) }
    }

    /// What every label of this pipeline starts with, whichever process made it. Labels of other pipelines may start
    /// with it too: [`Labels::read`] tells.
    pub(super) fn prefix(&self) -> &str {
        &self.prefix
    }

    /// The start of this process, as in its labels.
    pub(super) fn incarnation(&self) -> u64 {
        self.incarnation
    }

    /// When this process started, on the clock that does not jump.
    pub(super) fn started(&self) -> Instant {
        self.start
    }

    /// A label never made before.
    pub(super) fn next(&self, table: TableId) -> String {
        let now = self.start.elapsed().as_micros() as u64;
        // Relaxed: the number alone matters, it orders nothing else.
        let last = self.last.fetch_update(Relaxed, Relaxed, |last| Some(now.max(last + 1)));
        let n = now.max(last.unwrap_or_else(|last| last) + 1);
        format!("{}{}-{:x}-{n:x}", self.prefix, table.0, self.incarnation)
    }

    /// The parts of a label that a process of this very pipeline made.
    pub(super) fn read(&self, label: &str) -> Option<Label> {
        let mut parts = label.strip_prefix(&self.prefix)?.split('-');
        let table = TableId(parts.next()?.parse().ok()?);
        let incarnation = u64::from_str_radix(parts.next()?, 16).ok()?;
        let n = u64::from_str_radix(parts.next()?, 16).ok()?;
        // A fifth part numbers the tries of a load whose first label is spent.
        let again = parts.next().is_none_or(|again| again.bytes().all(|b| b.is_ascii_hexdigit()));
        (again && parts.next().is_none()).then_some(Label { table, incarnation, n })
    }
}

/// The name if it is a legal and short start of a label, else its legal characters and a hash of the whole.
fn plain(pipeline: &str) -> String {
    let legal = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if !pipeline.is_empty() && pipeline.len() <= PIPELINE_MAX && pipeline.chars().all(legal) {
        return pipeline.to_owned();
    }
    let kept = pipeline.chars().map(|c| if legal(c) { c } else { '_' }).take(PIPELINE_MAX - 9);
    let mut name: String = kept.chain(std::iter::once('_')).collect();
    for byte in &Sha256::digest(pipeline.as_bytes())[..4] {
        // Writing to a String cannot fail.
        let _ = write!(name, "{byte:02x}");
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    fn legal(label: &str) -> bool {
        (1..=128).contains(&label.len()) && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
    }

    #[test]
    fn labels_are_legal_distinct_ordered_and_read_back() {
        let long = "x".repeat(300);
        for pipeline in ["shop", "a-b_c", "", "größe/1 x", &long, "shop-1-2-3"] {
            let labels = Labels::new(pipeline);
            let made: Vec<String> = (0..1000).map(|_| labels.next(TableId(u32::MAX))).collect();
            let numbers: Vec<u64> = made.iter().map(|label| labels.read(label).unwrap().n).collect();
            assert!(made.iter().all(|label| legal(label)), "{}", made[0]);
            assert!(numbers.windows(2).all(|pair| pair[0] < pair[1]), "{pipeline}");
            let again = format!("{}-1", made[0]);
            assert_eq!(labels.read(&again), labels.read(&made[0]), "a second try is ours too");
        }
        assert_ne!(plain("a b"), plain("a_b"), "names that look alike once cleaned still differ");
    }

    #[test]
    fn labels_of_others_are_not_ours() {
        let labels = Labels::new("shop");
        for other in ["", "shop", "shop-", "shop-1-2", "shop-x-1-2", "shop-eu-1-2-3", "shop-1-2-3-4-5", "shop2-1-2-3"] {
            assert_eq!(labels.read(other), None, "{other:?}");
        }
        assert_eq!(labels.read("shop-7-a-b"), Some(Label { table: TableId(7), incarnation: 10, n: 11 }));
    }
}
