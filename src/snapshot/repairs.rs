//! The keys of a table whose rows must be read again.

use super::WindowId;
use super::keys::Keyed;
use crate::model::{Lsn, Row, TableSchema};

/// Why a key is here.
#[derive(Debug)]
enum Wish {
    /// It is to be read. `stored`: a restart would know.
    Wanted { stored: bool },
    /// A window reads it. Changes that left values out since then are kept, to be laid over the row.
    Reading { window: WindowId, stored: bool, over: Vec<(Lsn, Row)> },
}

/// What becomes of a change that leaves values out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// The key is wanted, or being read and the change was kept for it. `stored`: a restart would know of the key.
    Aside { stored: bool },
    /// Nothing is known of the key.
    Unknown,
}

/// Keys that are wanted or being read.
#[derive(Debug, Default)]
pub(super) struct Repairs {
    keys: Keyed<Wish>,
    /// Bytes of the changes that are kept.
    kept: usize,
}

impl Repairs {
    /// Keys that an earlier life stored.
    pub(super) fn stored_before(keys: Vec<Row>) -> Repairs {
        let mut repairs = Repairs::default();
        keys.into_iter().for_each(|key| repairs.keys.set_key(key, Wish::Wanted { stored: true }));
        repairs
    }

    /// Keys that are wanted or being read.
    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }

    /// About the memory that kept changes hold.
    pub(super) fn bytes(&self) -> usize {
        self.kept
    }

    /// Whether the key is wanted or being read.
    pub(super) fn has(&self, key: &Row) -> bool {
        self.keys.contains_key(key)
    }

    /// Wants a row's key read from now on, whatever was the case before. Nothing that was read before will do.
    pub(super) fn want(&mut self, schema: &TableSchema, row: &Row) {
        self.settle(schema, row);
        self.keys.set(schema, row, Wish::Wanted { stored: false });
    }

    /// Takes in a change of a row that leaves values out.
    pub(super) fn change(&mut self, schema: &TableSchema, commit_lsn: Lsn, row: &Row) -> Part {
        if self.keys.is_empty() {
            return Part::Unknown;
        }
        match self.keys.get_mut(schema, row) {
            None => Part::Unknown,
            Some(Wish::Wanted { stored }) => Part::Aside { stored: *stored },
            Some(Wish::Reading { over, stored, .. }) => {
                // A copy, for it may stay longer than the rest of the block it came in.
                over.push((commit_lsn, row.detached()));
                self.kept += row.size();
                Part::Aside { stored: *stored }
            }
        }
    }

    /// The row under this key is stated as a whole, or gone: it need not be read.
    pub(super) fn settle(&mut self, schema: &TableSchema, row: &Row) {
        if let Some(Wish::Reading { over, .. }) = self.keys.remove(schema, row) {
            self.kept -= size(&over);
        }
    }

    /// Every row is gone: what is wanted need not be read, and what is being read has nothing to be laid over it.
    pub(super) fn truncated(&mut self) {
        self.keys.retain(|_, wish| matches!(wish, Wish::Reading { .. }));
        self.keys.iter_mut().for_each(|(_, wish)| {
            if let Wish::Reading { over, .. } = wish {
                over.clear();
            }
        });
        self.kept = 0;
    }

    /// These keys are stored.
    pub(super) fn stored(&mut self, keys: &[Row]) {
        for key in keys {
            match self.keys.get_key_mut(key) {
                Some(Wish::Wanted { stored } | Wish::Reading { stored, .. }) => *stored = true,
                None => {}
            }
        }
    }

    /// Chooses wanted keys for a window to read.
    pub(super) fn choose(&mut self, window: WindowId, max: usize) -> Vec<Row> {
        let mut chosen = Vec::new();
        for (key, wish) in self.keys.iter_mut() {
            if chosen.len() >= max {
                break;
            }
            if let Wish::Wanted { stored } = *wish {
                *wish = Wish::Reading { window, stored, over: Vec::new() };
                chosen.push(key.clone());
            }
        }
        chosen
    }

    /// Makes a row that a window read whole and current; `None` if its key is not this window's any more.
    pub(super) fn complete(&mut self, schema: &TableSchema, window: WindowId, row: Row) -> Option<(Lsn, Row)> {
        if !matches!(self.keys.get(schema, &row), Some(Wish::Reading { window: reader, .. }) if *reader == window) {
            return None;
        }
        let Some(Wish::Reading { over, .. }) = self.keys.remove(schema, &row) else { return None };
        self.kept -= size(&over);
        let lay_over = |(_, below): (Lsn, Row), (lsn, above): (Lsn, Row)| (lsn, above.filled_from(&below));
        Some(over.into_iter().fold((Lsn::INVALID, row), lay_over))
    }

    /// A window has read all of its keys. Those that are left have no row.
    pub(super) fn finish(&mut self, window: WindowId) {
        self.keys.retain(|_, wish| match wish {
            Wish::Reading { window: reader, over, .. } if *reader == window => {
                // A change of a row that is not there: the source broke its word. To read again harms nobody.
                let stays = !over.is_empty();
                if stays {
                    self.kept -= size(over);
                    *wish = Wish::Wanted { stored: false };
                }
                stays
            }
            _ => true,
        });
    }

    /// What was read under these keys may not have come in. They were wanted when they were chosen, and may be so again.
    pub(super) fn want_again(&mut self, keys: Vec<Row>) {
        for key in keys {
            if !self.keys.contains_key(&key) {
                self.keys.set_key(key, Wish::Wanted { stored: false });
            }
        }
    }

    /// A window is dropped: its keys are wanted again.
    pub(super) fn give_back(&mut self, window: WindowId) {
        for (_, wish) in self.keys.iter_mut() {
            if let Wish::Reading { window: reader, stored, over } = wish
                && *reader == window
            {
                self.kept -= size(over);
                *wish = Wish::Wanted { stored: *stored };
            }
        }
    }
}

fn size(over: &[(Lsn, Row)]) -> usize {
    over.iter().map(|(_, row)| row.size()).sum()
}
