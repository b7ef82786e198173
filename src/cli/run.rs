//! The sidecar itself: settings, logs, servers, engine, signals, exit code.
//!
//! Always: the control surface answers before the engine starts and until after it has ended; a wrong setting ends the
//! process before anything is connected. Start at [`run`].

use std::io::{self, IsTerminal};
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tracing::{error, info, warn};
use tracing_subscriber::EnvFilter;

use super::settings::refuse;
use super::terminal::{Style, chain, complain};
use super::{Exit, VERSION};
use crate::config::{Env, LogFormat, LogOptions, Settings};
use crate::engine::wiring::Blueprint;
use crate::engine::{Ended, Handle};
use crate::grpc::{self, Listeners};
use crate::model::{Class, Reason};

/// How long the servers may take for their last answers.
const SERVERS_END_MAX: Duration = Duration::from_secs(3);

/// `sluicegate run`.
pub(super) fn run(env: &impl Env) -> Exit {
    let settings = match Settings::from_env(env) {
        Ok(settings) => settings,
        Err(problems) => return refuse(&problems),
    };
    start_logging(&settings.log);
    end_on_panic();
    info!(version = VERSION.as_str(), pipeline = settings.pipeline, "sluicegate starts");
    for note in &settings.notes {
        warn!("{note}");
    }
    match Runtime::new() {
        Ok(runtime) => {
            let exit = runtime.block_on(replicate(settings));
            // Whatever still runs has nothing left to hand over, so the end does not wait for it.
            runtime.shutdown_background();
            exit
        }
        Err(error) => {
            complain(&format!("sluicegate: cannot start threads: {error}\n"));
            Exit::No
        }
    }
}

/// A part that broke off must not leave a pipeline behind that only looks alive: whichever thread panics, the process
/// ends with a report. What was not durable is read again at the next start.
fn end_on_panic() {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        report(panic);
        std::process::exit(1);
    }));
}

async fn replicate(settings: Settings) -> Exit {
    let signals = match count_signals() {
        Ok(signals) => signals,
        Err(error) => {
            error!("cannot listen for signals: {error}");
            return Exit::No;
        }
    };
    let listeners = match Listeners::bind(&settings.grpc).await {
        Ok(listeners) => listeners,
        Err(error) => {
            error!("{}", chain(&error));
            return Exit::Config;
        }
    };
    let blueprint = Blueprint { source: settings.source, sink: settings.sink, engine: settings.engine };
    let (status, meters, budget) = blueprint.status();
    let (handle, inbox) = Handle::new();
    let engine = match blueprint.wire(meters, budget, inbox, signals.clone()) {
        Ok(engine) => engine,
        Err(reason) => return give_up(&reason),
    };
    let (end_servers, end) = oneshot::channel::<()>();
    let servers = tokio::spawn(async move {
        // A dropped sender means the same as a sent word.
        let shutdown = async { drop(end.await) };
        if let Err(error) = grpc::serve(listeners, settings.grpc, status, handle, shutdown).await {
            error!("the control surface has ended, replication goes on: {}", chain(&error));
        }
    });
    // In a task of its own, so that a panic is caught and told.
    let ended = tokio::spawn(engine.run()).await;
    drop(end_servers);
    finish(servers).await;
    match ended {
        Ok(ended) => exit_of(ended, *signals.borrow()),
        Err(error) => {
            error!("this is a bug in sluicegate, please report it: the engine broke off: {error}");
            Exit::No
        }
    }
}

async fn finish(servers: JoinHandle<()>) {
    if tokio::time::timeout(SERVERS_END_MAX, servers).await.is_err() {
        warn!("the control surface did not end in time");
    }
}

/// The exit code of an engine that has ended after so many signals.
fn exit_of(ended: Ended, signals: u32) -> Exit {
    match ended {
        Ended::HandedOver => {
            info!("stopped; everything that was read is loaded and confirmed");
            Exit::Well
        }
        Ended::Abandoned if signals > 1 => {
            warn!("ended at once; what was under way will be read again");
            Exit::Forced
        }
        Ended::Abandoned => {
            warn!("stopped before everything was durable; what was not will be read again at the next start");
            Exit::Well
        }
    }
}

/// Ends on a reason that no retry can cure.
fn give_up(reason: &Reason) -> Exit {
    error!(code = reason.code, object = reason.object, remedy = reason.remedy, "{}", reason.message);
    match reason.class {
        Class::Config => Exit::Config,
        Class::Retry | Class::Wait | Class::Resync | Class::Bug => Exit::No,
    }
}

/// Counts SIGTERM and SIGINT from now on.
fn count_signals() -> io::Result<watch::Receiver<u32>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let (count, counted) = watch::channel(0);
    tokio::spawn(async move {
        loop {
            let name = tokio::select! {
                Some(()) = terminate.recv() => "SIGTERM",
                Some(()) = interrupt.recv() => "SIGINT",
                else => return,
            };
            info!(signal = name, "asked to stop");
            count.send_modify(|count| *count += 1);
        }
    });
    Ok(counted)
}

/// Sends log lines to standard error.
pub(super) fn start_logging(options: &LogOptions) {
    // The filter was read once when the settings were; should it fail here, the usual one is better than none.
    let filter = EnvFilter::try_new(&options.filter).unwrap_or_else(|_| EnvFilter::new("info"));
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    let json = match options.format {
        LogFormat::Json => true,
        LogFormat::Text => false,
        LogFormat::Auto => !io::stderr().is_terminal(),
    };
    let started = if json {
        // Fields stand beside `timestamp` and `level`. The module (`target`) is left out: a table's target is a field.
        lines.json().flatten_event(true).with_target(false).with_current_span(false).with_span_list(false).try_init()
    } else {
        lines.with_ansi(Style::of(&io::stderr()).colour).try_init()
    };
    if let Err(error) = started {
        complain(&format!("sluicegate: cannot start logs: {error}\n"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_tell_how_it_ended() {
        let cases = [
            (Ended::HandedOver, 1, Exit::Well),
            (Ended::HandedOver, 0, Exit::Well),
            (Ended::Abandoned, 1, Exit::Well),
            (Ended::Abandoned, 2, Exit::Forced),
        ];
        for (ended, signals, want) in cases {
            assert_eq!(exit_of(ended, signals), want, "{ended:?} after {signals} signals");
        }
        let reason = |class| Reason::new("X", class, "", "it is so", "change it");
        assert_eq!(give_up(&reason(Class::Config)), Exit::Config);
        assert_eq!(give_up(&reason(Class::Bug)), Exit::No);
    }
}
