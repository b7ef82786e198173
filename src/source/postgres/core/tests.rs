//! What happens, and what is done about it, step by step.

use std::time::Duration;

use super::*;
use crate::model::Class;

const MS: Duration = Duration::from_millis(1);

/// One step: milliseconds since the start, what happens, and the actions wanted, in short.
type Step = (u32, Wake<(), ()>, &'static str);

fn short(action: &Action<(), ()>) -> String {
    match action {
        Action::Sleep(asleep) => format!("sleep {asleep}"),
        Action::AskMemory(_) => "ask".to_owned(),
        Action::Grow(bytes) => format!("grow {bytes}"),
        Action::Decode(found, ()) => format!("decode {}", found.bytes),
        Action::AskRoom => "ask room".to_owned(),
        Action::Send(()) => "send".to_owned(),
        Action::Tell(update) => format!("tell {}", update.confirmed.0),
        Action::Finish(update) => format!("finish {}", update.confirmed.0),
        Action::Fail(reason) => format!("fail {}", reason.code),
    }
}

fn found(bytes: usize, messages: usize, partial: Option<usize>) -> Wake<(), ()> {
    Wake::Looked(Found { bytes, messages, partial })
}

fn decoded(events: bool, asked: u32, ended: bool) -> Wake<(), ()> {
    let ended = ended.then(ending::copy_done);
    Wake::Decoded(Decoded { events, reached: Lsn(5), changes: false, asked, ended, replaying: false })
}

/// Runs the steps from where the first block, `Resumed`, waits for room; whether it reads in the end.
fn check(name: &str, steps: Vec<Step>) -> bool {
    let start = Instant::now();
    let mut core = Core::new(Lsn(10), Timings::from_wal_sender_timeout(None), 1000, true, start);
    for (at, (ms, wake, want)) in steps.into_iter().enumerate() {
        let actions = core.decide(wake, start + MS * ms);
        let actions: Vec<String> = actions.iter().map(short).collect();
        assert_eq!(actions.join(", "), want, "{name}, step {at}");
    }
    core.wants_bytes()
}

#[test]
fn bytes_become_blocks_only_with_memory_and_room() {
    let reads = check(
        "the plain way",
        vec![
            (0, Wake::Room(()), "send"),
            (0, found(0, 0, None), ""),
            (1, Wake::Read(70), ""),
            (1, found(60, 3, Some(20)), "ask"),
            (2, Wake::Memory(()), "decode 60"),
            (2, decoded(true, 0, false), "ask room"),
            (3, Wake::Room(()), "send"),
            (3, found(0, 0, Some(20)), ""),
        ],
    );
    assert!(reads);
    let reads = check(
        "a message larger than a gulp asks for its memory first",
        vec![
            (0, Wake::Room(()), "send"),
            (0, found(0, 0, Some(5000)), "ask"),
            (1, Wake::Memory(()), "grow 5000"),
            (2, Wake::Read(4000), ""),
            (2, found(0, 0, Some(5000)), ""),
            (3, Wake::Read(1000), ""),
            (3, found(5000, 1, None), "decode 5000"),
            (3, decoded(true, 0, false), "ask room"),
        ],
    );
    assert!(!reads, "no room yet");
    let reads = check(
        "a frame without events makes no block",
        vec![
            (0, Wake::Room(()), "send"),
            (0, found(20, 1, None), "ask"),
            (0, Wake::Memory(()), "decode 20"),
            (0, decoded(false, 0, false), ""),
            (0, found(0, 0, None), ""),
        ],
    );
    assert!(reads);
}

#[test]
fn a_replay_waits_for_what_bytes_from_the_socket_wait_for() {
    let now = Instant::now();
    let mut core: Core<()> = Core::new(Lsn(10), Timings::from_wal_sender_timeout(None), 1000, true, now);
    let replaying = |events, replaying| Wake::Decoded(Decoded { events, replaying, ..Decoded::default() });
    // What happens, what is done, and whether it reads: from the socket, from the transaction that was put aside.
    let steps: Vec<(Wake<(), ()>, &str, (bool, bool))> = vec![
        (Wake::Room(()), "send", (false, false)),
        (found(0, 0, None), "", (true, false)),
        (Wake::Read(20), "", (false, false)),
        (found(20, 1, None), "ask", (false, false)),
        (Wake::Memory(()), "decode 20", (false, false)),
        (replaying(false, true), "", (false, false)),
        (found(0, 0, None), "", (false, true)),
        (Wake::Paused(true), "", (false, false)),
        (Wake::Paused(false), "", (false, true)),
        (Wake::Filled, "", (false, false)),
        (found(900, 9, None), "ask", (false, false)),
        (Wake::Memory(()), "decode 900", (false, false)),
        (replaying(true, true), "ask room", (false, false)),
        (Wake::Room(()), "send", (false, false)),
        (found(0, 0, Some(5000)), "ask", (false, false)),
        (Wake::Memory(()), "grow 5000", (false, true)),
        (Wake::Filled, "", (false, false)),
        (found(5000, 1, None), "decode 5000", (false, false)),
        (replaying(true, false), "ask room", (false, false)),
        (Wake::Room(()), "send", (false, false)),
        (found(0, 0, None), "", (true, false)),
    ];
    for (at, (wake, want, reads)) in steps.into_iter().enumerate() {
        let actions: Vec<String> = core.decide(wake, now).iter().map(short).collect();
        assert_eq!((actions.join(", ").as_str(), (core.wants_bytes(), core.wants_fill())), (want, reads), "step {at}");
    }
}

#[test]
fn memory_is_asked_for_bytes_and_events() {
    let cases = [
        // found                                                            bytes, events
        (Found { bytes: 60, messages: 3, partial: Some(20) }, 60, 3),
        (Found { bytes: 0, messages: 0, partial: Some(5000) }, 5000, 1),
    ];
    for (found, bytes, events) in cases {
        let now = Instant::now();
        let mut core: Core<()> = Core::new(Lsn(10), Timings::from_wal_sender_timeout(None), 1000, true, now);
        let actions = core.decide::<()>(Wake::Looked(found), now);
        let want = bytes + events * Block::ENTRY;
        assert!(matches!(actions[..], [Action::AskMemory(asked)] if asked == want), "{actions:?}");
    }
}

#[test]
fn what_holds_up_reading_holds_up_nothing_else() {
    let reads = check(
        "a pause",
        vec![
            (0, Wake::Paused(true), ""),
            (0, Wake::Room(()), "send"),
            (0, found(0, 0, None), ""),
            (0, Wake::Time, "tell 0"),
            (1, Wake::Written, ""),
            (50, Wake::Confirmed(Lsn(20)), ""),
            (99, Wake::Time, ""),
            (100, Wake::Time, "tell 20"),
            (110, Wake::Written, ""),
            (500_000, Wake::Time, "tell 20"),
        ],
    );
    assert!(!reads);
    let reads = check(
        "no memory",
        vec![
            (0, Wake::Room(()), "send"),
            (0, found(9999, 1, None), "ask"),
            (0, Wake::Time, "tell 0"),
            (1, Wake::Written, ""),
            (1, Wake::Confirmed(Lsn(30)), ""),
            (200, Wake::Time, "tell 30"),
            (300, Wake::Stop, "finish 30"),
        ],
    );
    assert!(!reads);
}

#[test]
fn a_hold_ends_by_time_alone() {
    let busy = || {
        vec![
            (0, Wake::Room(()), "send"),
            (0, Wake::Time, "tell 0"),
            (0, Wake::Written, ""),
            (0, found(0, 0, None), ""),
            (1, Wake::Read(400_000), ""),
            (1, found(0, 0, None), ""),
            (1, Wake::Read(100), "sleep true"),
            (1, found(0, 0, None), ""),
        ]
    };
    assert!(!check("held", busy()));
    let released = [busy(), vec![(7, Wake::Time, "sleep false")]].into_iter().flatten().collect();
    assert!(check("released", released));
}

#[test]
fn every_end_is_named_once_what_came_before_is_handed_on() {
    let opened = || vec![(0, Wake::Room(()), "send"), (0, found(0, 0, None), "")];
    let decoding = || {
        let mut steps: Vec<Step> = vec![(0, Wake::Room(()), "send")];
        steps.push((0, found(0, 1, None), "ask"));
        steps.push((0, Wake::Memory(()), "decode 0"));
        steps
    };
    let broken = Reason::new("X", Class::Retry, "", "", "");
    let cases: Vec<(&str, Vec<Step>, Vec<Step>)> = vec![
        ("told to stop", opened(), vec![(1, Wake::Stop, "finish 0")]),
        ("broken", opened(), vec![(1, Wake::Ended(broken), "fail X")]),
        ("ended without events", decoding(), vec![(1, decoded(false, 0, true), "fail SOURCE_STREAM_ENDED")]),
        (
            "ended behind events",
            decoding(),
            vec![(1, decoded(true, 0, true), "ask room"), (2, Wake::Room(()), "send, fail SOURCE_STREAM_ENDED")],
        ),
        ("asked without end", decoding(), vec![(1, decoded(true, 21, false), "fail SOURCE_SHUTTING_DOWN")]),
        (
            "silent",
            opened(),
            vec![
                (0, Wake::Time, "tell 0"),
                (1, Wake::Written, ""),
                (119_999, Wake::Time, "tell 0"),
                (119_999, Wake::Written, ""),
                (120_000, Wake::Time, "fail SOURCE_SILENT"),
            ],
        ),
        (
            "takes nothing",
            vec![(0, Wake::Paused(true), "")],
            vec![(0, Wake::Time, "tell 0"), (119_999, Wake::Time, ""), (120_000, Wake::Time, "fail SOURCE_SILENT")],
        ),
    ];
    for (name, before, then) in cases {
        check(name, before.into_iter().chain(then).collect());
    }
}

#[test]
fn the_next_deadline_is_the_nearest() {
    let start = Instant::now();
    let mut core: Core<()> = Core::new(Lsn(10), Timings::from_wal_sender_timeout(None), 1000, true, start);
    assert_eq!(core.deadline(start), start, "the first update at once");
    core.decide::<()>(Wake::Time, start);
    assert_eq!(core.deadline(start), start + MS * 120_000, "until it is written only that can last too long");
    core.decide::<()>(Wake::Written, start);
    assert_eq!(core.deadline(start), start + MS * 10_000, "by period");
    core.decide::<()>(Wake::Confirmed(Lsn(11)), start);
    assert_eq!(core.deadline(start), start + MS * 100, "by progress");
    core.decide(Wake::Room(()), start);
    core.decide::<()>(Wake::Looked(Found::default()), start);
    core.decide::<()>(Wake::Read(20_000), start);
    core.decide::<()>(Wake::Looked(Found::default()), start);
    core.decide::<()>(Wake::Read(1), start);
    assert_eq!(core.deadline(start), start + MS * 5, "by the end of a hold");
}
