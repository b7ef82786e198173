//! Whether the position we kept still means what it meant, or a gap has opened.
//!
//! In: the checkpoint, and what server, slot and publication look like now. Out: where to start, or every mismatch
//! as a named reason. Always: pure; the start is our own position, never the slot's word alone, because the server
//! silently moves a start below its confirmed position up to it. Not here: reading the facts. Start at [`decide`].

use std::collections::BTreeMap;
use std::fmt::{self, Display};
use std::str::FromStr;

use super::publication::{self, Fingerprint};
use super::quote::{identifier, literal};
use super::slot::{self, Slot};
use crate::checkpoint::Checkpoint;
use crate::model::{Class, Lsn, Reason, TableName};

/// What tells a slot from a later one of the same name. Prints as `first=0/16B3748 decoded=12`.
///
/// PostgreSQL gives a slot no identity of its own. A slot that was made anew is always found by its position: it
/// starts where the WAL ended when it was made, which is after everything we stored before. The counter only tells
/// that case from a slot that was moved forward, and not always: it starts anew also when statistics are reset or
/// lost in a crash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Incarnation {
    /// The position the slot was taken up at first.
    pub(super) first: Lsn,
    /// Transactions decoded from it when last looked at.
    pub(super) decoded: i64,
}

/// The text is no incarnation.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not the incarnation of a slot")]
pub(super) struct ParseIncarnationError(String);

impl Display for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "first={} decoded={}", self.first, self.decoded)
    }
}

impl FromStr for Incarnation {
    type Err = ParseIncarnationError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let read = || {
            let (first, decoded) = text.strip_prefix("first=")?.split_once(" decoded=")?;
            Some(Incarnation { first: first.parse().ok()?, decoded: decoded.parse().ok()? })
        };
        read().ok_or_else(|| ParseIncarnationError(text.to_owned()))
    }
}

/// What a checkpoint rests on, as setup sees it now.
#[derive(Clone, Debug)]
pub(super) struct Facts<'a> {
    pub(super) pipeline: &'a str,
    /// Schema of the checkpoint table, for remedies.
    pub(super) checkpoint_schema: &'a str,
    pub(super) slot_name: &'a str,
    pub(super) publication_name: &'a str,
    pub(super) system_id: &'a str,
    pub(super) timeline: i32,
    /// System identifier and timeline that this process streamed from before, if it did.
    pub(super) streamed: Option<(&'a str, i32)>,
    /// End of the server's WAL that is safe on disk.
    pub(super) flushed: Lsn,
    pub(super) slot: Option<&'a Slot>,
    /// Empty if there is no publication.
    pub(super) fingerprint: &'a Fingerprint,
    /// The selected tables.
    pub(super) tables: &'a BTreeMap<u32, TableName>,
}

/// How to start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Start {
    /// At our checkpoint.
    Resume {
        /// The checkpoint's position.
        at: Lsn,
        /// The slot as the checkpoint knows it, its counter as it is now.
        incarnation: Incarnation,
    },
    /// There is no checkpoint, but a slot that nobody has read from: at its position.
    Adopt(Incarnation),
    /// There is neither: a slot is to be made.
    Create,
}

const LOAD_AGAIN: &str =
    "Start anew with the statements, and load the rows that changed meanwhile again by other means.";

/// Statements that forget the position, and the slot if there is one, so that the next setup starts anew.
pub(super) fn start_anew(schema: &str, pipeline: &str, slot: Option<&str>) -> String {
    let forget = format!("DELETE FROM {}.checkpoints WHERE pipeline = {};", identifier(schema), literal(pipeline));
    slot.map_or_else(|| forget.clone(), |slot| format!("{}\n{forget}", slot::drop_sql(slot)))
}

impl Facts<'_> {
    /// In which way the server is another than this one; `None` if it is the same.
    fn differs_from(&self, system_id: &str, timeline: i32) -> Option<String> {
        if system_id != self.system_id {
            let now = self.system_id;
            return Some(format!("the server's system identifier is {now} and was {system_id}: it is another cluster"));
        }
        (timeline != self.timeline).then(|| {
            format!(
                "the server's timeline is {} and was {timeline}: it was promoted or restored, and the newest changes \
                 may not be part of it",
                self.timeline
            )
        })
    }

    /// See [`start_anew`].
    pub(super) fn start_anew(&self) -> String {
        start_anew(self.checkpoint_schema, self.pipeline, self.slot.map(|_| self.slot_name))
    }
}

/// Decides where to start.
///
/// # Errors
/// Every mismatch, unless one of them makes the others meaningless.
pub(super) fn decide(facts: &Facts<'_>, checkpoint: Option<&Checkpoint>) -> Result<Start, Vec<Reason>> {
    if let Some(reason) = moved_away(facts, checkpoint.is_some()) {
        return Err(vec![reason]);
    }
    match checkpoint {
        Some(checkpoint) => resume(facts, checkpoint),
        None => first_start(facts).map_err(|reason| vec![reason]),
    }
}

/// A checkpoint that is missing, or another pipeline's of the same name, must not hide that the address leads to
/// another server than the one we streamed from a moment ago.
fn moved_away(facts: &Facts<'_>, stored: bool) -> Option<Reason> {
    let (system_id, timeline) = facts.streamed?;
    let message = facts.differs_from(system_id, timeline)?;
    let remedy = "Point SOURCE_URL to the former server; or start anew: run the statements if there are any, restart \
                  Sluicegate, and load all rows again by other means.";
    let sql = if stored || facts.slot.is_some() { facts.start_anew() } else { String::new() };
    Some(Reason::new("SOURCE_CHANGED", Class::Resync, "server", message, remedy).with_sql(sql))
}

fn first_start(facts: &Facts<'_>) -> Result<Start, Reason> {
    let Some(slot) = facts.slot else { return Ok(Start::Create) };
    let name = facts.slot_name;
    let reason = |code, message: String, remedy: &str| {
        Err(Reason::new(code, Class::Wait, name, message, remedy).with_sql(slot::drop_sql(name)))
    };
    if facts.fingerprint.is_missing() {
        let message = format!(
            "slot {name} exists and publication {} does not: changes between the two could not be decoded",
            facts.publication_name
        );
        let remedy = "Drop the slot if nobody needs it, so that both are made in the right order; or set SLOT to \
                      another name.";
        return Err(Reason::new("PUBLICATION_MISSING", Class::Wait, facts.publication_name, message, remedy)
            .with_sql(slot::drop_sql(name)));
    }
    if slot.decoded > 0 {
        let message = format!("slot {name} has been read by someone, and there is no checkpoint of ours for it");
        return reason("SLOT_NOT_OURS", message, "Set SLOT to another name, or drop this slot if nobody needs it.");
    }
    if slot.confirmed == Lsn::INVALID {
        let message = format!("slot {name} is still being made, or its position is unknown");
        return reason("SLOT_UNUSABLE", message, "Wait until it is made, or drop it.");
    }
    Ok(Start::Adopt(Incarnation { first: slot.confirmed, decoded: slot.decoded }))
}

fn resume(facts: &Facts<'_>, checkpoint: &Checkpoint) -> Result<Start, Vec<Reason>> {
    let sql = facts.start_anew();
    let gap = |code, object: &str, message: String, remedy: &str| {
        Reason::new(code, Class::Resync, object, message, remedy).with_sql(sql.clone())
    };
    let at = checkpoint.lsn;
    let incarnation = readable(facts, checkpoint, &gap).map_err(|reason| vec![reason])?;
    if let Some(reason) = other_source(facts, checkpoint, &gap) {
        return Err(vec![reason]);
    }
    let mut reasons = Vec::new();
    if at > facts.flushed {
        let message = format!(
            "the checkpoint {at} lies beyond the end of the server's WAL {}: the server was set back, for one by \
             restoring a backup",
            facts.flushed
        );
        reasons.push(gap("CHECKPOINT_AHEAD", facts.pipeline, message, LOAD_AGAIN));
    }
    match facts.slot {
        None => {
            let name = facts.slot_name;
            let message = format!("slot {name} is gone: the changes after {at} are missing");
            reasons.push(gap("SLOT_MISSING", name, message, LOAD_AGAIN));
        }
        Some(slot) if !slot.is_lost() && slot.confirmed > at => {
            reasons.push(ahead(facts.slot_name, slot, at, &incarnation, &gap));
        }
        Some(_) => {}
    }
    reasons.extend(publication_gap(facts, checkpoint, &gap));
    match (facts.slot, reasons.is_empty()) {
        (Some(slot), true) => {
            Ok(Start::Resume { at, incarnation: Incarnation { decoded: slot.decoded, ..incarnation } })
        }
        _ => Err(reasons),
    }
}

type Gap<'a> = dyn Fn(&'static str, &str, String, &str) -> Reason + 'a;

/// Whether the checkpoint can be understood and belongs to this slot.
fn readable(facts: &Facts<'_>, checkpoint: &Checkpoint, gap: &Gap<'_>) -> Result<Incarnation, Reason> {
    let invalid = |what: String| {
        let message = format!("the checkpoint of pipeline {} {what}", facts.pipeline);
        gap("CHECKPOINT_INVALID", facts.pipeline, message, LOAD_AGAIN)
    };
    if checkpoint.slot != facts.slot_name {
        let mut reason = invalid(format!("belongs to slot {}, not {}", checkpoint.slot, facts.slot_name));
        reason.remedy = format!(
            "Set SLOT to {} again, or give the pipeline another name, or start anew with the statements.",
            checkpoint.slot
        );
        return Err(reason);
    }
    if checkpoint.lsn == Lsn::INVALID {
        return Err(invalid("holds no position".to_owned()));
    }
    checkpoint.slot_incarnation.parse().map_err(|error: ParseIncarnationError| invalid(format!("is damaged: {error}")))
}

fn other_source(facts: &Facts<'_>, checkpoint: &Checkpoint, gap: &Gap<'_>) -> Option<Reason> {
    let message = facts.differs_from(&checkpoint.system_id, checkpoint.timeline)?;
    let remedy = "Point SOURCE_URL to the former server, or start anew with the statements and load all rows again by \
                  other means.";
    Some(gap("SOURCE_CHANGED", "server", message, remedy))
}

fn ahead(name: &str, slot: &Slot, at: Lsn, incarnation: &Incarnation, gap: &Gap<'_>) -> Reason {
    let missing = format!("the changes between {at} and {} are missing", slot.confirmed);
    if slot.decoded < incarnation.decoded {
        let message = format!(
            "slot {name} was dropped and created again (it has decoded {} transactions, formerly {}): {missing}",
            slot.decoded, incarnation.decoded
        );
        return gap("SLOT_RECREATED", name, message, LOAD_AGAIN);
    }
    let message = format!(
        "slot {name} was moved forward by others, or dropped and created again, beyond our checkpoint: {missing}"
    );
    gap("SLOT_AHEAD", name, message, LOAD_AGAIN)
}

fn publication_gap(facts: &Facts<'_>, checkpoint: &Checkpoint, gap: &Gap<'_>) -> Option<Reason> {
    let name = facts.publication_name;
    if facts.fingerprint.is_missing() {
        let message = format!(
            "publication {name} is gone: the changes after {} cannot be decoded any more, not even if it is created \
             again",
            checkpoint.lsn
        );
        return Some(gap("PUBLICATION_MISSING", name, message, LOAD_AGAIN));
    }
    let older = match checkpoint.publication_fingerprint.parse::<Fingerprint>() {
        Ok(older) => older,
        Err(error) => {
            let message = format!("the checkpoint of pipeline {} is damaged: {error}", facts.pipeline);
            return Some(gap("CHECKPOINT_INVALID", facts.pipeline, message, LOAD_AGAIN));
        }
    };
    let gaps = facts.fingerprint.gaps_since(&older, facts.tables);
    (!gaps.is_empty()).then(|| publication::changed(name, &gaps, LOAD_AGAIN, &facts.start_anew()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slot(confirmed: u64, decoded: i64) -> Slot {
        Slot { confirmed: Lsn(confirmed), decoded, wal_status: "reserved".into(), ..Slot::default() }
    }

    fn checkpoint(lsn: u64) -> Checkpoint {
        Checkpoint {
            lsn: Lsn(lsn),
            slot: "s".into(),
            system_id: "7".into(),
            timeline: 1,
            slot_incarnation: "first=0/10 decoded=5".into(),
            publication_fingerprint: "p1.1 t1.1".into(),
            incomplete_tables: Vec::new(),
            paused: false,
            copy_paused: false,
            unseen: Vec::new(),
        }
    }

    struct Case {
        checkpoint: Option<Checkpoint>,
        slot: Option<Slot>,
        fingerprint: &'static str,
        flushed: u64,
        streamed: Option<(&'static str, i32)>,
    }

    fn decided(case: &Case) -> Result<Start, Vec<Reason>> {
        let tables = BTreeMap::from([(1, TableName { schema: "a".into(), name: "b".into() })]);
        let fingerprint = case.fingerprint.parse().unwrap();
        let facts = Facts {
            pipeline: "p",
            checkpoint_schema: "sluicegate",
            slot_name: "s",
            publication_name: "pub",
            system_id: "7",
            timeline: 1,
            streamed: case.streamed,
            flushed: Lsn(case.flushed),
            slot: case.slot.as_ref(),
            fingerprint: &fingerprint,
            tables: &tables,
        };
        decide(&facts, case.checkpoint.as_ref())
    }

    fn check(name: &str, case: &Case) -> Result<Start, Vec<&'static str>> {
        decided(case).map_err(|reasons| {
            for reason in &reasons {
                assert!(!reason.sql.is_empty() && !reason.remedy.is_empty(), "{name}: {reason:?}");
                assert_eq!(reason.class == Class::Resync, case.checkpoint.is_some(), "{name}: {reason:?}");
            }
            reasons.iter().map(|reason| reason.code).collect()
        })
    }

    #[test]
    fn every_mismatch_is_a_named_gap() {
        let ours = "p1.1 t1.1";
        let case =
            |checkpoint, slot, fingerprint, flushed| Case { checkpoint, slot, fingerprint, flushed, streamed: None };
        let with = |change: fn(&mut Checkpoint)| {
            let mut changed = checkpoint(50);
            change(&mut changed);
            case(Some(changed), Some(slot(40, 9)), ours, 90)
        };
        let at_50 = Start::Resume { at: Lsn(50), incarnation: Incarnation { first: Lsn(16), decoded: 9 } };
        let cases = [
            ("fresh", case(None, None, "", 90), Ok(Start::Create)),
            ("publication made already", case(None, None, ours, 90), Ok(Start::Create)),
            (
                "unread slot",
                case(None, Some(slot(40, 0)), ours, 90),
                Ok(Start::Adopt(Incarnation { first: Lsn(40), decoded: 0 })),
            ),
            ("someone's slot", case(None, Some(slot(40, 1)), ours, 90), Err(vec!["SLOT_NOT_OURS"])),
            ("slot in the making", case(None, Some(slot(0, 0)), ours, 90), Err(vec!["SLOT_UNUSABLE"])),
            ("slot before publication", case(None, Some(slot(40, 0)), "", 90), Err(vec!["PUBLICATION_MISSING"])),
            ("resume", with(|_| ()), Ok(at_50)),
            ("slot at the checkpoint", case(Some(checkpoint(50)), Some(slot(50, 9)), ours, 50), Ok(at_50)),
            (
                "statistics lost in a crash",
                case(Some(checkpoint(50)), Some(slot(40, 0)), ours, 90),
                Ok(Start::Resume { at: Lsn(50), incarnation: Incarnation { first: Lsn(16), decoded: 0 } }),
            ),
            ("slot gone", case(Some(checkpoint(50)), None, ours, 90), Err(vec!["SLOT_MISSING"])),
            ("slot moved", case(Some(checkpoint(50)), Some(slot(51, 5)), ours, 90), Err(vec!["SLOT_AHEAD"])),
            ("slot made anew", case(Some(checkpoint(50)), Some(slot(51, 0)), ours, 90), Err(vec!["SLOT_RECREATED"])),
            ("server set back", case(Some(checkpoint(50)), Some(slot(40, 9)), ours, 49), Err(vec!["CHECKPOINT_AHEAD"])),
            (
                "publication changed",
                case(Some(checkpoint(50)), Some(slot(40, 9)), "p1.1 t1.2", 90),
                Err(vec!["PUBLICATION_CHANGED"]),
            ),
            (
                "publication gone",
                case(Some(checkpoint(50)), Some(slot(40, 9)), "", 90),
                Err(vec!["PUBLICATION_MISSING"]),
            ),
            ("both gone", case(Some(checkpoint(50)), None, "", 90), Err(vec!["SLOT_MISSING", "PUBLICATION_MISSING"])),
            ("another cluster", with(|c| c.system_id = "8".into()), Err(vec!["SOURCE_CHANGED"])),
            ("another timeline", with(|c| c.timeline = 2), Err(vec!["SOURCE_CHANGED"])),
            ("another slot", with(|c| c.slot = "t".into()), Err(vec!["CHECKPOINT_INVALID"])),
            ("no position", with(|c| c.lsn = Lsn::INVALID), Err(vec!["CHECKPOINT_INVALID"])),
            ("damaged incarnation", with(|c| c.slot_incarnation = "x".into()), Err(vec!["CHECKPOINT_INVALID"])),
            ("damaged fingerprint", with(|c| c.publication_fingerprint = "x".into()), Err(vec!["CHECKPOINT_INVALID"])),
        ];
        for (name, case, want) in cases {
            assert_eq!(check(name, &case), want, "{name}");
        }
    }

    #[test]
    fn what_this_process_streamed_from_is_not_forgotten() {
        let create = Ok(Start::Create);
        let cases = [
            ("the same server", Some(("7", 1)), None, create.clone()),
            ("another cluster without a checkpoint", Some(("8", 1)), None, Err(vec!["SOURCE_CHANGED"])),
            ("another timeline without a checkpoint", Some(("7", 2)), None, Err(vec!["SOURCE_CHANGED"])),
            ("another cluster with one of its own", Some(("8", 1)), Some(checkpoint(50)), Err(vec!["SOURCE_CHANGED"])),
            ("nothing streamed yet", None, None, create),
        ];
        for (name, streamed, checkpoint, want) in cases {
            let slot = checkpoint.as_ref().map(|_| slot(40, 9));
            let case = Case { checkpoint, slot, fingerprint: "p1.1 t1.1", flushed: 90, streamed };
            let got = decided(&case);
            let reasons = got.as_ref().err().into_iter().flatten();
            assert!(reasons.clone().all(|reason| reason.class == Class::Resync && !reason.remedy.is_empty()), "{name}");
            let sql: Vec<bool> = reasons.map(|reason| !reason.sql.is_empty()).collect();
            assert!(sql.iter().all(|sql| *sql == case.checkpoint.is_some()), "{name}: statements only if they help");
            let got = got.map_err(|reasons| reasons.iter().map(|reason| reason.code).collect::<Vec<_>>());
            assert_eq!(got, want, "{name}");
        }
    }

    #[test]
    fn incarnations_are_read_back() {
        let text = "first=1/2A decoded=12";
        assert_eq!(text.parse::<Incarnation>().unwrap().to_string(), text);
        for bad in ["", "first=1/2A", "first=x decoded=1", "first=1/2 decoded=", "decoded=1 first=1/2"] {
            assert!(bad.parse::<Incarnation>().is_err(), "{bad}");
        }
    }
}
