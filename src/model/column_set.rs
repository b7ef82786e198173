//! A set of column positions.

/// Which columns of a table, by position. Tables of up to 64 columns need no allocation.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ColumnSet {
    first: u64,
    more: Vec<u64>,
}

impl ColumnSet {
    /// The empty set.
    pub const fn new() -> Self {
        ColumnSet { first: 0, more: Vec::new() }
    }

    /// Puts a column in.
    pub fn insert(&mut self, column: usize) {
        let bit = 1 << (column % 64);
        match column / 64 {
            0 => self.first |= bit,
            word => {
                if self.more.len() < word {
                    self.more.resize(word, 0);
                }
                self.more[word - 1] |= bit;
            }
        }
    }

    /// Whether the column is in.
    pub fn contains(&self, column: usize) -> bool {
        let word = match column / 64 {
            0 => self.first,
            word => self.more.get(word - 1).copied().unwrap_or(0),
        };
        word & 1 << (column % 64) != 0
    }

    /// Whether no column is in.
    pub fn is_empty(&self) -> bool {
        self.first == 0 && self.more.is_empty()
    }

    /// The columns in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        std::iter::once(self.first)
            .chain(self.more.iter().copied())
            .enumerate()
            .flat_map(|(word, bits)| (0..64).filter(move |bit| bits & 1 << bit != 0).map(move |bit| word * 64 + bit))
    }
}

impl FromIterator<usize> for ColumnSet {
    fn from_iter<I: IntoIterator<Item = usize>>(columns: I) -> Self {
        let mut set = ColumnSet::new();
        columns.into_iter().for_each(|column| set.insert(column));
        set
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn agrees_with_an_ordinary_set_on_both_sides_of_64() {
        let columns = [0, 1, 63, 64, 65, 127, 128, 1599];
        let set: ColumnSet = columns.into_iter().collect();
        assert_eq!(set.iter().collect::<Vec<_>>(), columns);
        let ordinary = BTreeSet::from(columns);
        assert!((0..1700).all(|column| set.contains(column) == ordinary.contains(&column)));
        assert!(ColumnSet::new().is_empty() && !set.is_empty());
        assert_ne!(set, ColumnSet::new());
    }
}
