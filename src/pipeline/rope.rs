//! A long list in pieces, so that memory grows and goes back piece by piece.
//!
//! A vector that grows is copied and for that moment there twice, and one that is consumed stays whole until its last
//! entry is gone: for the entries of a flush unit that would be as much again as the budget was asked for. Always: a
//! piece in the middle is never empty.

use std::collections::VecDeque;

/// Entries of one piece.
const PIECE: usize = 1024;

/// The list.
#[derive(Debug)]
pub(super) struct Rope<T> {
    pieces: VecDeque<Vec<T>>,
    len: usize,
}

impl<T> Default for Rope<T> {
    fn default() -> Self {
        Rope { pieces: VecDeque::new(), len: 0 }
    }
}

impl<T> Rope<T> {
    /// How many entries there are.
    #[inline]
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none.
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Adds one at the end.
    #[inline]
    pub(super) fn push(&mut self, entry: T) {
        self.len += 1;
        match self.pieces.back_mut() {
            Some(last) if last.len() < PIECE => last.push(entry),
            _ => self.push_piece(entry),
        }
    }

    fn push_piece(&mut self, entry: T) {
        // Most lists are short: the first piece grows as it must.
        let mut piece = Vec::with_capacity(if self.pieces.is_empty() { 1 } else { PIECE });
        piece.push(entry);
        self.pieces.push_back(piece);
    }

    /// The entries in order.
    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = &T> {
        self.pieces.iter().flatten()
    }

    /// The position behind the last entry that matches; 0 if none does.
    pub(super) fn end_of_last(&self, matches: impl Fn(&T) -> bool) -> usize {
        self.iter().rev().position(matches).map_or(0, |from_end| self.len - from_end)
    }

    /// Takes out the entries from a position on.
    pub(super) fn split_off(&mut self, at: usize) -> Rope<T> {
        let (mut kept, mut rest) = (0, Rope::default());
        let mut pieces = std::mem::take(&mut self.pieces).into_iter();
        for mut piece in pieces.by_ref() {
            let room = at - kept;
            if piece.len() > room {
                rest.append_piece(piece.split_off(room));
                self.append_kept(piece, &mut kept);
                break;
            }
            self.append_kept(piece, &mut kept);
        }
        pieces.for_each(|piece| rest.append_piece(piece));
        self.len = kept;
        rest
    }

    fn append_kept(&mut self, piece: Vec<T>, kept: &mut usize) {
        *kept += piece.len();
        if !piece.is_empty() {
            self.pieces.push_back(piece);
        }
    }

    fn append_piece(&mut self, piece: Vec<T>) {
        self.len += piece.len();
        self.pieces.push_back(piece);
    }

    /// Takes out the entries that match, in order.
    pub(super) fn extract(&mut self, matches: impl Fn(&T) -> bool) -> Vec<T> {
        let mut taken = Vec::new();
        for piece in &mut self.pieces {
            taken.extend(piece.extract_if(.., |entry| matches(entry)));
        }
        self.pieces.retain(|piece| !piece.is_empty());
        self.len -= taken.len();
        taken
    }
}

impl<T> Extend<T> for Rope<T> {
    fn extend<I: IntoIterator<Item = T>>(&mut self, entries: I) {
        entries.into_iter().for_each(|entry| self.push(entry));
    }
}

impl<T> IntoIterator for Rope<T> {
    type Item = T;
    type IntoIter = std::iter::Flatten<std::collections::vec_deque::IntoIter<Vec<T>>>;

    /// Lets go of each piece once its last entry has been taken.
    fn into_iter(self) -> Self::IntoIter {
        self.pieces.into_iter().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rope(entries: std::ops::Range<usize>) -> Rope<usize> {
        let mut rope = Rope::default();
        rope.extend(entries);
        rope
    }

    fn check(rope: &Rope<usize>, want: &[usize]) {
        assert_eq!((rope.len(), rope.is_empty()), (want.len(), want.is_empty()));
        assert!(rope.iter().eq(want), "{want:?}");
        assert!(rope.pieces.iter().all(|piece| !piece.is_empty() && piece.len() <= PIECE));
    }

    proptest! {
        /// Whatever is done to it, it holds what a vector would.
        #[test]
        fn does_what_a_vector_does(
            length in 0..3 * PIECE,
            steps in prop::collection::vec((any::<prop::sample::Index>(), 0..2 * PIECE, 1_usize..5), 0..6),
        ) {
            let (mut list, mut twin): (Rope<usize>, Vec<usize>) = (rope(0..length), (0..length).collect());
            for (at, more, nth) in steps {
                let at = at.index(twin.len() + 1);
                check(&list.split_off(at), &twin.split_off(at));
                list.extend(0..more);
                twin.extend(0..more);
                let matches = |entry: &usize| entry.is_multiple_of(nth * 7);
                prop_assert_eq!(list.end_of_last(matches), twin.iter().rposition(matches).map_or(0, |at| at + 1));
                prop_assert_eq!(list.extract(matches), twin.extract_if(.., |entry| matches(entry)).collect::<Vec<_>>());
                check(&list, &twin);
            }
            prop_assert!(list.into_iter().eq(twin));
        }
    }

    #[test]
    fn a_piece_goes_once_it_is_used_up() {
        let entry = std::sync::Arc::new(());
        let mut list = Rope::default();
        list.extend((0..2 * PIECE + 1).map(|_| entry.clone()));
        let capacity: usize = list.pieces.iter().map(Vec::capacity).sum();
        assert!(capacity <= 3 * PIECE, "no more than a piece is spare: {capacity}");
        let mut left = list.into_iter();
        drop(left.by_ref().take(PIECE + 1).collect::<Vec<_>>());
        assert_eq!(std::sync::Arc::strong_count(&entry), PIECE + 1);
    }
}
