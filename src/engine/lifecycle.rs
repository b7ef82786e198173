//! The stages, what leads from one to the next, and which command fits where.

use super::command::{Command, Refusal};
use crate::model::Stage::{self, Cdc, Draining, Init, Setup, Snapshot, Stopped};

/// What moves the engine from one stage to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The settings are read and the servers listen.
    ServersUp,
    /// Both sides are ready and no existing rows are to be copied; changes flow from here on.
    SetupDone,
    /// Existing rows are to be copied; changes flow meanwhile.
    CopyBegun,
    /// Every table is copied.
    CopyDone,
    /// The stream broke; both sides are looked at again.
    StreamBroke,
    /// A command or a signal asks to stop.
    StopAsked,
    /// Nothing is under way any more, or the time for it is over.
    Drained,
}

/// Every transition there is.
pub const TRANSITIONS: &[(Stage, Event, Stage)] = &[
    (Init, Event::ServersUp, Setup),
    (Setup, Event::CopyBegun, Snapshot),
    (Setup, Event::SetupDone, Cdc),
    (Snapshot, Event::CopyDone, Cdc),
    (Cdc, Event::CopyBegun, Snapshot),
    (Snapshot, Event::StreamBroke, Setup),
    (Cdc, Event::StreamBroke, Setup),
    (Init, Event::StopAsked, Draining),
    (Setup, Event::StopAsked, Draining),
    (Snapshot, Event::StopAsked, Draining),
    (Cdc, Event::StopAsked, Draining),
    (Draining, Event::Drained, Stopped),
];

/// The stage after an event; `None` if the event means nothing in this stage.
pub fn next(stage: Stage, event: Event) -> Option<Stage> {
    TRANSITIONS.iter().find(|(from, on, _)| (*from, *on) == (stage, event)).map(|(_, _, to)| *to)
}

/// Whether a command fits the stage.
///
/// # Errors
/// Too early or too late.
pub fn admits(command: &Command, stage: Stage) -> Result<(), Refusal> {
    use Command::{CancelCopy, DrainAndStop, Pause, PauseCopy, Reload, Resume, ResumeCopy, StartCopy, Stop};
    match (command, stage) {
        (Pause | Resume, Snapshot | Cdc) => Ok(()),
        (StartCopy { .. } | PauseCopy | ResumeCopy | CancelCopy { .. }, Snapshot | Cdc) => Ok(()),
        (Stop | DrainAndStop | Reload { .. }, Init | Setup | Snapshot | Cdc) => Ok(()),
        // A stop may become more urgent.
        (Stop, Draining) => Ok(()),
        (Pause | Resume | StartCopy { .. } | PauseCopy | ResumeCopy | CancelCopy { .. }, Init | Setup) => {
            Err(Refusal::TooEarly { command: command.name(), stage })
        }
        (
            Pause
            | Resume
            | DrainAndStop
            | Reload { .. }
            | StartCopy { .. }
            | PauseCopy
            | ResumeCopy
            | CancelCopy { .. },
            Draining,
        )
        | (_, Stopped) => Err(Refusal::TooLate { command: command.name(), stage }),
    }
}

/// The transitions as a Mermaid diagram, for the documentation.
pub fn mermaid() -> String {
    let mut text = String::from("stateDiagram-v2\n    [*] --> INIT\n");
    for (from, event, to) in TRANSITIONS {
        text.push_str(&format!("    {} --> {}: {event:?}\n", from.name(), to.name()));
    }
    text + "    STOPPED --> [*]\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_stage_has_two_ways_on_one_event_and_all_lead_to_the_end() {
        for (at, (from, event, _)) in TRANSITIONS.iter().enumerate() {
            assert!(TRANSITIONS[..at].iter().all(|(f, e, _)| (f, e) != (from, event)), "{from:?} {event:?}");
        }
        for stage in [Init, Setup, Snapshot, Cdc] {
            let draining = next(stage, Event::StopAsked).and_then(|stage| next(stage, Event::Drained));
            assert_eq!(draining, Some(Stopped), "{stage:?} can be stopped");
        }
        assert_eq!(next(Stopped, Event::ServersUp), None);
    }

    #[test]
    fn commands_fit_their_stages() {
        let reload = Command::Reload { flush_rows: None, flush_bytes: None, flush_interval: None };
        let cases = [
            (Command::Pause, [false, false, true, true, false, false]),
            (Command::Resume, [false, false, true, true, false, false]),
            (Command::Stop, [true, true, true, true, true, false]),
            (Command::DrainAndStop, [true, true, true, true, false, false]),
            (reload, [true, true, true, true, false, false]),
            (Command::StartCopy { tables: Vec::new() }, [false, false, true, true, false, false]),
            (Command::PauseCopy, [false, false, true, true, false, false]),
            (Command::ResumeCopy, [false, false, true, true, false, false]),
            (Command::CancelCopy { tables: Vec::new() }, [false, false, true, true, false, false]),
        ];
        for (command, fits) in cases {
            for (stage, fits) in Stage::ALL.into_iter().zip(fits) {
                assert_eq!(admits(&command, stage).is_ok(), fits, "{command:?} in {stage:?}");
            }
        }
    }
}
