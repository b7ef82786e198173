//! Rates from counters.
//!
//! In: one [`Mark`] a second. Out: [`Rates`] over the last five seconds. Always: a rate comes from two marks, never from
//! one; fewer than two give zero.

use std::collections::VecDeque;
use std::time::Duration;

/// Seconds a rate looks back, which is also how many marks but one are kept.
const WINDOW: usize = 5;

/// Counters at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Mark {
    /// When, on a clock that only goes forward.
    pub(super) at: Duration,
    /// Row changes made durable.
    pub(super) rows_durable: u64,
    /// Row changes received.
    pub(super) rows_received: u64,
    /// Processor time used.
    pub(super) cpu: Duration,
}

/// Rates between two marks.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Rates {
    /// Row changes made durable per second.
    pub(super) durable: f64,
    /// Row changes received per second.
    pub(super) received: f64,
    /// Processor time in thousandths of one processor.
    pub(super) cpu_millicores: u64,
}

/// The newest marks.
#[derive(Clone, Debug, Default)]
pub(super) struct History(VecDeque<Mark>);

impl History {
    /// Adds the newest mark and forgets the oldest.
    pub(super) fn push(&mut self, mark: Mark) {
        self.0.push_back(mark);
        if self.0.len() > WINDOW + 1 {
            self.0.pop_front();
        }
    }

    /// The rates over all marks that are kept.
    pub(super) fn rates(&self) -> Rates {
        match (self.0.front(), self.0.back()) {
            (Some(old), Some(new)) => between(old, new),
            _ => Rates::default(),
        }
    }
}

fn between(old: &Mark, new: &Mark) -> Rates {
    let seconds = new.at.saturating_sub(old.at).as_secs_f64();
    if seconds <= 0.0 {
        return Rates::default();
    }
    let rate = |old: u64, new: u64| new.saturating_sub(old) as f64 / seconds;
    let cpu = new.cpu.saturating_sub(old.cpu).as_secs_f64();
    Rates {
        durable: rate(old.rows_durable, new.rows_durable),
        received: rate(old.rows_received, new.rows_received),
        cpu_millicores: (cpu / seconds * 1000.0).round() as u64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(seconds: u64, rows: u64, cpu_ms: u64) -> Mark {
        Mark {
            at: Duration::from_secs(seconds),
            rows_durable: rows,
            rows_received: rows * 2,
            cpu: Duration::from_millis(cpu_ms),
        }
    }

    #[test]
    fn rates_look_back_five_seconds() {
        let rates = |durable: f64, cpu_millicores| Rates { durable, received: durable * 2.0, cpu_millicores };
        let cases: &[(&str, &[Mark], Rates)] = &[
            ("no mark", &[], rates(0.0, 0)),
            ("one mark", &[mark(1, 100, 50)], rates(0.0, 0)),
            ("two marks", &[mark(1, 100, 50), mark(3, 300, 1050)], rates(100.0, 500)),
            ("two at one moment", &[mark(1, 100, 50), mark(1, 300, 60)], rates(0.0, 0)),
            ("a counter that went back", &[mark(1, 100, 50), mark(2, 0, 0)], rates(0.0, 0)),
            (
                "only the last five seconds count",
                &[
                    mark(0, 0, 0),
                    mark(1, 9000, 900),
                    mark(2, 9010, 900),
                    mark(3, 9020, 900),
                    mark(4, 9030, 900),
                    mark(5, 9040, 900),
                    mark(6, 9050, 900),
                ],
                rates(10.0, 0),
            ),
        ];
        for (name, marks, want) in cases {
            let mut history = History::default();
            marks.iter().for_each(|mark| history.push(*mark));
            assert_eq!(history.rates(), *want, "{name}");
        }
    }
}
