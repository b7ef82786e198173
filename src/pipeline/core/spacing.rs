//! How far apart a table's loads are that time asks for.
//!
//! Each load leaves a version behind that the target has to merge with the others, so what must be bounded is how many
//! there are in a while. In: when a table is loaded. Out: when it may be loaded next. Always: no more loads by time than
//! one for each pace and [`BURST`] besides, and the next one a pace after the last at the latest. Not here: whether a
//! load is under way, and loads that are large enough to go anyway, which count like any other.

use std::time::{Duration, Instant};

/// So many loads may follow each other, where there were few before: whatever a person or a small program does at once.
pub(super) const BURST: u32 = 5;

/// What is known of a table's loads.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spacing {
    last: Instant,
    /// How far the loads were ahead of one for each pace then, with the last one.
    ahead: Duration,
}

impl Spacing {
    /// A table that was never loaded is loaded now.
    pub(super) fn first(pace: Duration, now: Instant) -> Self {
        Spacing { last: now, ahead: pace }
    }

    /// The table is loaded again.
    pub(super) fn again(&mut self, pace: Duration, burst: u32, now: Instant) {
        let ahead = self.ahead.saturating_sub(now.saturating_duration_since(self.last));
        *self = Spacing { last: now, ahead: (ahead + pace).min(pace * burst) };
    }

    /// When the table may be loaded next.
    pub(super) fn next(&self, pace: Duration, burst: u32) -> Instant {
        self.last + self.ahead.saturating_sub(pace * (burst - 1)).min(pace)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACE: Duration = Duration::from_millis(1000);

    /// Loads that are wished for at these milliseconds, each made as soon as it may be.
    fn made(wishes: &[u64], burst: u32) -> Vec<u64> {
        let start = Instant::now();
        let mut spacing: Option<Spacing> = None;
        let make = |wish: &u64| {
            let wish = start + Duration::from_millis(*wish);
            let now = spacing.map_or(wish, |spacing| spacing.next(PACE, burst).max(wish));
            match &mut spacing {
                Some(spacing) => spacing.again(PACE, burst, now),
                None => spacing = Some(Spacing::first(PACE, now)),
            }
            (now - start).as_millis() as u64
        };
        wishes.iter().map(make).collect()
    }

    #[test]
    fn a_few_go_at_once_and_many_keep_their_distance() {
        type Case<'a> = (&'a str, u32, &'a [u64], &'a [u64]);
        let cases: &[Case<'_>] = &[
            ("one now and then", 5, &[0, 1100, 9000], &[0, 1100, 9000]),
            ("a few in a row", 5, &[0, 10, 20, 30, 40], &[0, 10, 20, 30, 40]),
            ("the next ones a pace apart", 5, &[0, 0, 0, 0, 0, 0, 0, 0], &[0, 0, 0, 0, 0, 1000, 2000, 3000]),
            (
                "a pause gives back what it lasted",
                5,
                &[0, 0, 0, 0, 0, 2500, 2500, 2500],
                &[0, 0, 0, 0, 0, 2500, 2500, 3000],
            ),
            (
                "however long, no more than the few",
                5,
                &[0, 60_000, 60_000, 60_000, 60_000, 60_000, 60_000],
                &[0, 60_000, 60_000, 60_000, 60_000, 60_000, 61_000],
            ),
            ("without a few, each keeps its distance", 1, &[0, 0, 2500, 2600], &[0, 1000, 2500, 3500]),
        ];
        for (name, burst, wishes, want) in cases {
            assert_eq!(made(wishes, *burst), *want, "{name}");
        }
    }

    #[test]
    fn never_more_than_a_pace_each_and_the_few_besides_and_never_a_wait_beyond_a_pace() {
        for seed in 0..200 {
            let mut rng = fastrand::Rng::with_seed(seed);
            let mut at = 0;
            let wishes = std::iter::repeat_with(|| {
                let longest = 1 << rng.u32(1..13);
                at += rng.u64(0..longest);
                at
            });
            let wishes: Vec<u64> = wishes.take(200).collect();
            let made = made(&wishes, BURST);
            for (from, first) in made.iter().enumerate() {
                for (to, last) in made.iter().enumerate().skip(from) {
                    let (loads, most) = ((to - from) as u64 + 1, (last - first) / 1000 + u64::from(BURST));
                    assert!(loads <= most, "seed {seed}: {loads} loads within {} ms", last - first);
                }
            }
            let waits = made.windows(2).zip(&wishes[1..]).map(|(pair, wish)| pair[1] - pair[0].max(*wish));
            assert!(waits.max() <= Some(1000), "seed {seed}");
        }
    }

    #[test]
    fn a_shorter_pace_holds_from_the_next_load_on() {
        let now = Instant::now();
        let mut spacing = Spacing::first(PACE * 30, now);
        (0..BURST).for_each(|_| spacing.again(PACE * 30, BURST, now));
        assert_eq!(spacing.next(PACE, BURST), now + PACE);
    }
}
