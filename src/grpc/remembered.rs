//! Which requests were carried out, so that sending one again does not carry it out again.
//!
//! Always: bounded in number and age; only accepted requests are kept, so one that was refused can be tried again.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use super::pb;
use crate::engine::Command;

/// Requests kept, at most; the oldest is forgotten first.
const KEPT_MAX: usize = 1024;
/// Time a request is kept.
const KEPT_FOR: Duration = Duration::from_secs(24 * 60 * 60);

/// All of a request that decides what it does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Asked {
    /// What the engine is asked.
    pub(super) command: Command,
    /// The generation it is bound to.
    pub(super) expected_generation: Option<u64>,
    /// Tables of a reload, which no command carries.
    pub(super) tables: Vec<String>,
}

/// What is known of a request id.
#[derive(Debug, PartialEq)]
pub(super) enum Known {
    /// Nothing.
    New,
    /// The same request was accepted with this answer.
    Same(Box<pb::Accepted>),
    /// Another request was accepted under this id.
    Other,
}

#[derive(Debug)]
struct Kept {
    asked: Asked,
    accepted: pb::Accepted,
    at: Instant,
}

/// The requests that were accepted, by id.
#[derive(Debug, Default)]
pub(super) struct Remembered {
    by_id: HashMap<String, Kept>,
    oldest_first: VecDeque<String>,
}

impl Remembered {
    /// What is known of this id.
    pub(super) fn look_up(&mut self, id: &str, asked: &Asked, now: Instant) -> Known {
        self.forget(now);
        match self.by_id.get(id) {
            None => Known::New,
            Some(kept) if kept.asked == *asked => Known::Same(Box::new(kept.accepted.clone())),
            Some(_) => Known::Other,
        }
    }

    /// Keeps a request that was accepted. The id must be new.
    pub(super) fn keep(&mut self, id: String, asked: Asked, accepted: pb::Accepted, now: Instant) {
        self.oldest_first.push_back(id.clone());
        self.by_id.insert(id, Kept { asked, accepted, at: now });
        self.forget(now);
    }

    fn forget(&mut self, now: Instant) {
        while let Some(oldest) = self.oldest_first.front() {
            let expired = self.by_id.get(oldest).is_none_or(|kept| now.duration_since(kept.at) > KEPT_FOR);
            if !expired && self.oldest_first.len() <= KEPT_MAX {
                return;
            }
            self.by_id.remove(oldest);
            self.oldest_first.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(command: Command) -> Asked {
        Asked { command, expected_generation: None, tables: Vec::new() }
    }

    #[test]
    fn an_id_stands_for_one_request() {
        let accepted = pb::Accepted { generation: 3, ..pb::Accepted::default() };
        let bound = Asked { expected_generation: Some(1), ..asked(Command::Pause) };
        let start = Instant::now();
        let hours = |hours: u64| start + Duration::from_secs(hours * 3600);
        let cases = [
            ("the same", "a", asked(Command::Pause), hours(1), Known::Same(Box::new(accepted.clone()))),
            ("another command", "a", asked(Command::Resume), hours(1), Known::Other),
            ("bound to a generation", "a", bound, hours(1), Known::Other),
            ("another id", "b", asked(Command::Pause), hours(1), Known::New),
            ("after a day", "a", asked(Command::Pause), hours(25), Known::New),
        ];
        for (name, id, again, now, want) in cases {
            let mut remembered = Remembered::default();
            remembered.keep("a".to_owned(), asked(Command::Pause), accepted.clone(), start);
            assert_eq!(remembered.look_up(id, &again, now), want, "{name}");
        }
    }

    #[test]
    fn the_oldest_is_forgotten_first() {
        let (mut remembered, now) = (Remembered::default(), Instant::now());
        for n in 0..=KEPT_MAX {
            remembered.keep(n.to_string(), asked(Command::Pause), pb::Accepted::default(), now);
        }
        assert_eq!(remembered.by_id.len(), KEPT_MAX);
        assert_eq!(remembered.look_up("0", &asked(Command::Pause), now), Known::New);
        assert_ne!(remembered.look_up("1", &asked(Command::Pause), now), Known::New);
    }
}
