//! The difference of two sets of rows in a fixed amount of memory.
//!
//! In: a fingerprint of every row, added for one side and taken away for the other. Out: the fingerprints that only
//! one side has. Always: memory is fixed; rows on both sides leave no trace, in whatever order they come. Not here: how
//! rows become fingerprints (`print`). Start at [`Sketch::add`], then [`Sketch::decode`].
//!
//! It is an invertible Bloom lookup table (Goodrich and Mitzenmacher, "Invertible Bloom Lookup Tables", 2011; used for
//! set differences by Eppstein and others, "What's the Difference?", 2011). Each fingerprint goes into three cells,
//! which hold sums. A cell with one fingerprint left can be read off; taking that away from its other two cells leaves
//! further ones alone. That works up to about 0.8 fingerprints a cell. For more there are smaller tables, each for one
//! of eight fingerprints of the one before: a sample that can still be read off, and tells how many there are.

/// Which side a row is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Source,
    Target,
}

/// What stands for a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Print {
    /// Stands for its key.
    pub(super) key: u64,
    /// 128 bits of a hash of the whole row, key included.
    pub(super) row: [u64; 2],
}

/// Cells of a third of the first table and of the smaller ones, as powers of two.
const FIRST_BITS: u32 = 16;
const OTHER_BITS: u32 = 12;

/// Smaller tables. The last is for one fingerprint in 8 to the power of this.
const OTHERS: u32 = 6;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Cell {
    count: i64,
    key: u64,
    row: [u64; 2],
    check: u64,
}

#[derive(Clone, Debug)]
struct Level {
    bits: u32,
    cells: Vec<Cell>,
}

/// The difference.
#[derive(Clone, Debug)]
pub(super) struct Sketch(Vec<Level>);

/// What was read off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Decoded {
    /// Keys of rows that are on one side only, or differ; without repetition, ascending.
    pub(super) keys: Vec<u64>,
    /// One of so many fingerprints was looked at: 1 if all were.
    pub(super) one_of: u64,
}

/// Scatters bits (the finisher of MurmurHash3's 64-bit form).
fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 33)).wrapping_mul(0xFF51_AFD7_ED55_8CCD);
    x = (x ^ (x >> 33)).wrapping_mul(0xC4CE_B9FE_1A85_EC53);
    x ^ (x >> 33)
}

impl Print {
    /// Tells a cell with one fingerprint from one with several whose count happens to be one.
    fn check(&self) -> u64 {
        mix(self.key ^ mix(self.row[0] ^ mix(self.row[1])))
    }

    /// The smallest table it goes into.
    fn level(&self) -> u32 {
        (self.row[1].trailing_zeros() / 3).min(OTHERS)
    }
}

impl Cell {
    #[inline]
    fn put(&mut self, print: &Print, check: u64, side: Side) {
        match side {
            Side::Source => {
                self.count += 1;
                self.key = self.key.wrapping_add(print.key);
                self.row[0] = self.row[0].wrapping_add(print.row[0]);
                self.row[1] = self.row[1].wrapping_add(print.row[1]);
                self.check = self.check.wrapping_add(check);
            }
            Side::Target => {
                self.count -= 1;
                self.key = self.key.wrapping_sub(print.key);
                self.row[0] = self.row[0].wrapping_sub(print.row[0]);
                self.row[1] = self.row[1].wrapping_sub(print.row[1]);
                self.check = self.check.wrapping_sub(check);
            }
        }
    }

    /// The fingerprint, if there is only one.
    fn only(&self) -> Option<(Print, Side)> {
        let (side, print, check) = match self.count {
            1 => (Side::Source, Print { key: self.key, row: self.row }, self.check),
            -1 => {
                let row = self.row.map(u64::wrapping_neg);
                (Side::Target, Print { key: self.key.wrapping_neg(), row }, self.check.wrapping_neg())
            }
            _ => return None,
        };
        (print.check() == check).then_some((print, side))
    }
}

impl Level {
    fn new(bits: u32) -> Self {
        Level { bits, cells: vec![Cell::default(); 3 << bits] }
    }

    /// One cell in each third.
    fn places(&self, print: &Print) -> [usize; 3] {
        let mask = (1 << self.bits) - 1;
        [0, 1, 2].map(|third| (third << self.bits) + ((print.row[0] >> (third * 20)) & mask) as usize)
    }

    fn put(&mut self, print: &Print, check: u64, side: Side) {
        for place in self.places(print) {
            self.cells[place].put(print, check, side);
        }
    }

    /// The keys of what is left; `None` if it is too much to be read off.
    fn decode(&mut self) -> Option<Vec<u64>> {
        let mut keys = Vec::new();
        let mut waiting: Vec<usize> = (0..self.cells.len()).collect();
        while let Some(place) = waiting.pop() {
            let Some((print, side)) = self.cells[place].only() else { continue };
            keys.push(print.key);
            let other = if side == Side::Source { Side::Target } else { Side::Source };
            self.put(&print, print.check(), other);
            waiting.extend(self.places(&print));
        }
        keys.sort_unstable();
        keys.dedup();
        self.cells.iter().all(|cell| *cell == Cell::default()).then_some(keys)
    }
}

impl Sketch {
    /// Of two empty sets.
    pub(super) fn new() -> Self {
        let others = (0..OTHERS).map(|_| Level::new(OTHER_BITS));
        Sketch([Level::new(FIRST_BITS)].into_iter().chain(others).collect())
    }

    /// Adds a row of one side.
    #[inline]
    pub(super) fn add(&mut self, print: &Print, side: Side) {
        let check = print.check();
        for level in &mut self.0[..=print.level() as usize] {
            level.put(print, check, side);
        }
    }

    /// Reads off what differs: all of it, or as large a sample as can be.
    pub(super) fn decode(mut self) -> Decoded {
        let mut one_of = 1;
        for level in &mut self.0 {
            if let Some(keys) = level.decode() {
                return Decoded { keys, one_of };
            }
            one_of *= 8;
        }
        // More than the last table holds, of which there cannot be so many.
        Decoded { keys: Vec::new(), one_of }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn print(key: u64, version: u64) -> Print {
        let seed = mix(key.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ mix(version));
        Print { key, row: [mix(seed ^ 1), mix(seed ^ 2)] }
    }

    #[test]
    fn what_differs_is_read_off_whatever_the_order() {
        let mut sketch = Sketch::new();
        for key in 0..20_000 {
            sketch.add(&print(key, u64::from(key == 77)), Side::Source);
        }
        for key in (5..20_010).rev() {
            sketch.add(&print(key, 0), Side::Target);
        }
        let want: Vec<u64> = (0..5).chain([77]).chain(20_000..20_010).collect();
        assert_eq!(sketch.decode(), Decoded { keys: want, one_of: 1 });
    }

    #[test]
    fn equal_sets_leave_nothing_and_a_row_too_many_does() {
        let mut sketch = Sketch::new();
        for key in 0..1000 {
            sketch.add(&print(key, 0), Side::Source);
            sketch.add(&print(key, 0), Side::Target);
        }
        assert_eq!(sketch.clone().decode(), Decoded { keys: vec![], one_of: 1 });
        // The same row twice on one side cannot be read off here, and must not look equal.
        sketch.add(&print(3, 0), Side::Source);
        sketch.add(&print(3, 0), Side::Source);
        let decoded = sketch.decode();
        assert!(decoded.one_of > 1 || !decoded.keys.is_empty(), "{decoded:?}");
    }

    #[test]
    fn a_hundred_thousand_differences_are_all_found_and_of_more_a_sample() {
        for (differences, all) in [(100_000_u64, true), (1_000_000, false)] {
            let mut sketch = Sketch::new();
            for key in 0..differences {
                sketch.add(&print(key, 0), Side::Source);
            }
            let Decoded { keys, one_of } = sketch.decode();
            assert_eq!(one_of == 1, all, "{differences}");
            let estimated = keys.len() as u64 * one_of;
            assert!(estimated.abs_diff(differences) < differences / 10, "{differences}: {estimated}");
        }
    }
}
