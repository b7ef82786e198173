//! Looks again at rows that seemed to differ, until it is clear which of them do.
//!
//! In: keys. Out: [`Looked`]. Always: a row counts as different only if it did at two looks one after the other, at
//! each of which the pipeline had passed the source's position and the source's row was the same before and after.
//! Memory is bounded by [`KEYS_AT_ONCE`]. Start at [`Verifier::look`].

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::sleep;

use super::print::Printer;
use super::report::Kind;
use super::sketch::Side;
use super::{Sidecar, Step, Stop, Verifier};
use crate::model::TableSchema;
use crate::sink::{self, Spelling};
use crate::source;

/// A key, spelled.
pub(super) type Key = Vec<String>;

/// Keys that are looked at together.
const KEYS_AT_ONCE: usize = 20_000;

/// Looks at a row that keeps changing, at most.
const LOOKS_MAX: u32 = 12;

/// Looks at which a row must differ.
const LOOKS_ENOUGH: u32 = 2;

/// Pause before the second look; each next one is that much longer.
const PAUSE: Duration = Duration::from_millis(100);

/// A row's hash; `None` if there is no such row.
type Hash = Option<[u64; 2]>;

/// What became of rows that seemed to differ.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Looked {
    /// Those that do.
    pub(super) stand: Vec<(Key, Kind)>,
    /// Those that changed at every look.
    pub(super) unsettled: u64,
}

/// What one look says of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen {
    Equal,
    Different(Kind),
    Moving,
}

/// Compares the source's row before and after with the target's in between.
fn judge(before: Hash, there: Hash, after: Hash) -> Seen {
    if there == after {
        return Seen::Equal;
    }
    match (before == after, after, there) {
        (false, _, _) => Seen::Moving,
        (true, Some(_), None) => Seen::Different(Kind::Missing),
        (true, None, _) => Seen::Different(Kind::Extra),
        (true, Some(_), Some(_)) => Seen::Different(Kind::Differing),
    }
}

impl<S: source::Reader, T: sink::Reader, C: Sidecar> Verifier<'_, S, T, C> {
    /// Looks at the rows of these keys.
    pub(super) async fn look(&self, schema: &TableSchema, table: &T::Table, keys: &[Key]) -> Result<Looked, Stop> {
        let mut looked = Looked::default();
        for keys in keys.chunks(KEYS_AT_ONCE) {
            self.look_at(schema, table, keys, &mut looked).await?;
        }
        Ok(looked)
    }

    async fn look_at(
        &self,
        schema: &TableSchema,
        table: &T::Table,
        keys: &[Key],
        looked: &mut Looked,
    ) -> Result<(), Stop> {
        // How often each row has differed in a row of looks, and how.
        let mut open: Vec<(Key, u32, Kind)> = keys.iter().map(|key| (key.clone(), 0, Kind::Differing)).collect();
        for time in 0..LOOKS_MAX {
            if open.iter().all(|(_, times, _)| *times >= LOOKS_ENOUGH) {
                break;
            }
            sleep(PAUSE * time).await;
            (self.watch)(Step::Looking { table: &schema.name, rows: open.len() });
            let keys: Vec<Key> = open.iter().map(|(key, _, _)| key.clone()).collect();
            let seen = self.look_once(schema, table, &keys).await?;
            open.retain_mut(|(key, times, kind)| {
                let hash = |side: &HashMap<Key, [u64; 2]>| side.get(key).copied();
                match judge(hash(&seen[0]), hash(&seen[1]), hash(&seen[2])) {
                    Seen::Equal => return false,
                    Seen::Different(how) => (*times, *kind) = (*times + 1, how),
                    Seen::Moving => *times = 0,
                }
                true
            });
        }
        for (key, times, kind) in open {
            if times >= LOOKS_ENOUGH {
                looked.stand.push((key, kind));
            } else {
                looked.unsettled += 1;
            }
        }
        Ok(())
    }

    /// The rows in the source, then, once the pipeline has passed them, in the target, then in the source again.
    async fn look_once(
        &self,
        schema: &TableSchema,
        table: &T::Table,
        keys: &[Key],
    ) -> Result<[HashMap<Key, [u64; 2]>; 3], Stop> {
        let mut seen = [HashMap::new(), HashMap::new(), HashMap::new()];
        let [before, there, after] = &mut seen;
        let columns = table.columns();
        let mut source = Printer::new(table, schema, columns, Side::Source);
        let mut target = Printer::new(table, schema, columns, Side::Target);
        let mut take = |values: &[Option<&[u8]>]| _ = before.insert(source.key_of(values).1, source.print(values).row);
        let end = self.source.rows(schema, columns, keys, &mut take).await.map_err(Stop::Table)?;
        self.passes(end).await?;
        let mut take = |values: &[Option<&[u8]>]| _ = there.insert(target.key_of(values).1, target.print(values).row);
        self.target.rows(table, columns, keys, &mut take).await.map_err(Stop::Table)?;
        let mut take = |values: &[Option<&[u8]>]| _ = after.insert(source.key_of(values).1, source.print(values).row);
        self.source.rows(schema, columns, keys, &mut take).await.map_err(Stop::Table)?;
        Ok(seen)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_row_that_stood_still_can_differ() {
        let (none, a, b, c) = (None, Some([1, 1]), Some([2, 2]), Some([3, 3]));
        let cases = [
            (a, a, a, Seen::Equal),
            (none, none, none, Seen::Equal),
            (a, b, b, Seen::Equal),
            (a, none, none, Seen::Equal),
            (a, b, a, Seen::Different(Kind::Differing)),
            (a, none, a, Seen::Different(Kind::Missing)),
            (none, a, none, Seen::Different(Kind::Extra)),
            (a, a, b, Seen::Moving),
            (a, c, b, Seen::Moving),
            (a, a, none, Seen::Moving),
            (none, none, a, Seen::Moving),
        ];
        for (before, there, after, want) in cases {
            assert_eq!(judge(before, there, after), want, "{before:?} {there:?} {after:?}");
        }
    }
}
