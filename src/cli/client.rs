//! Commands to a running process, over its gRPC server.
//!
//! Always: the address is all they need; whatever happens they end in time, except `status --watch`.

use std::error::Error;
use std::future::Future;
use std::io::{self, IsTerminal};
use std::net::SocketAddr;
use std::time::Duration;

use tokio::runtime::Builder;
use tokio::time::{sleep, timeout};

use super::terminal::{Style, chain, complain, plain, print};
use super::{Exit, status, status_json};
use crate::config::{self, Env};
use crate::grpc::client::{self, Client, ClientError, Health};
use crate::grpc::pb::PipelineStatus;

/// How long a health check may take in all; orchestrators give up after a second too.
const HEALTH_MAX: Duration = Duration::from_secs(1);
/// Time between two statuses of `--watch`, and between two tries to reach the process again.
const WATCH_INTERVAL: Duration = Duration::from_secs(1);

/// A command that changes something.
#[derive(Clone, Debug)]
pub(super) enum Order {
    Pause,
    Resume,
    Stop,
    Drain,
    StartSnapshot(Vec<String>),
    PauseSnapshot,
    ResumeSnapshot,
    CancelSnapshot(Vec<String>),
}

/// `sluicegate health`.
pub(super) fn health(env: &impl Env, addr: Option<SocketAddr>, service: &str) -> Exit {
    with_address(env, addr, |addr| async move {
        let asked = timeout(HEALTH_MAX, async { client::connect(addr).await?.health(service).await }).await;
        match asked {
            Ok(Ok(Health::Serving)) => {
                print("SERVING\n");
                Exit::Well
            }
            Ok(Ok(Health::NotServing)) => {
                print("NOT_SERVING\n");
                Exit::No
            }
            Ok(Ok(Health::Unknown)) => {
                complain(&format!("sluicegate: the process at {addr} knows no health service {service:?}\n"));
                Exit::Usage
            }
            Ok(Err(error)) => fail(&error),
            Err(_) => {
                complain(&format!("sluicegate: no answer from {addr} within a second\n"));
                Exit::Usage
            }
        }
    })
}

/// `sluicegate pause`, `resume`, `stop`, `snapshot`.
pub(super) fn command(env: &impl Env, addr: Option<SocketAddr>, order: Order) -> Exit {
    with_address(env, addr, |addr| async move {
        let accepted = async {
            let mut client = client::connect(addr).await?;
            match order {
                Order::Pause => client.pause().await,
                Order::Resume => client.resume().await,
                Order::Stop => client.stop().await,
                Order::Drain => client.drain_and_stop().await,
                Order::StartSnapshot(tables) => client.start_snapshot(tables).await,
                Order::PauseSnapshot => client.pause_snapshot().await,
                Order::ResumeSnapshot => client.resume_snapshot().await,
                Order::CancelSnapshot(tables) => client.cancel_snapshot(tables).await,
            }
        };
        match accepted.await {
            Ok(accepted) => {
                print(&format!("{}\n", plain(&accepted.message)));
                Exit::Well
            }
            Err(error) => fail(&error),
        }
    })
}

/// `sluicegate status`.
pub(super) fn status(env: &impl Env, addr: Option<SocketAddr>, watch: bool, json: bool) -> Exit {
    with_address(env, addr, |addr| async move {
        if watch {
            // Ctrl-C is how one leaves it.
            return tokio::select! {
                exit = watch_status(addr, json) => exit,
                _ = tokio::signal::ctrl_c() => Exit::Well,
            };
        }
        let status = async { client::connect(addr).await?.status().await };
        match status.await {
            Ok(status) => {
                print(&if json {
                    status_json::line(&status)
                } else {
                    status::screen(&status, Style::of(&io::stdout()))
                });
                Exit::Well
            }
            Err(error) => fail(&error),
        }
    })
}

/// Shows each status as it comes. A process that has been seen once may go away and come back.
async fn watch_status(addr: SocketAddr, json: bool) -> Exit {
    let mut seen = false;
    loop {
        let ended = match client::connect(addr).await {
            Ok(mut client) => follow(&mut client, json, &mut seen).await,
            Err(error) => Err(error),
        };
        match ended {
            Err(error) if !seen => return fail(&error),
            Err(error) => complain(&format!("sluicegate: {}; trying again\n", plain(&chain(&error)))),
            Ok(()) => complain("sluicegate: the process has ended; waiting for the next\n"),
        }
        sleep(WATCH_INTERVAL).await;
    }
}

async fn follow(client: &mut Client, json: bool, seen: &mut bool) -> Result<(), ClientError> {
    let mut statuses = client.watch_status(WATCH_INTERVAL).await?;
    while let Some(status) = statuses.next().await? {
        *seen = true;
        show(&status, json);
    }
    Ok(())
}

fn show(status: &PipelineStatus, json: bool) {
    if json {
        return print(&status_json::line(status));
    }
    let screen = status::screen(status, Style::of(&io::stdout()));
    if io::stdout().is_terminal() {
        // Home, the new screen with the rest of each line cleared, and below it nothing: no flicker.
        print(&format!("\u{1b}[H{}\u{1b}[J", screen.replace('\n', "\u{1b}[K\n")));
    } else {
        print(&format!("{screen}\n"));
    }
}

/// Finds the address and talks to it on a runtime of its own.
fn with_address<F: Future<Output = Exit>>(
    env: &impl Env,
    addr: Option<SocketAddr>,
    talk: impl FnOnce(SocketAddr) -> F,
) -> Exit {
    let addr = match addr.map_or_else(|| config::grpc_addr(env), Ok) {
        Ok(addr) => addr,
        Err(problems) => {
            complain(&format!("sluicegate: {problems}\n"));
            return Exit::Usage;
        }
    };
    match Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(talk(addr)),
        Err(error) => {
            complain(&format!("sluicegate: cannot start: {error}\n"));
            Exit::Usage
        }
    }
}

fn fail(error: &ClientError) -> Exit {
    match error {
        ClientError::Refused { code, message } => {
            complain(&format!("sluicegate: refused ({}): {}\n", plain(code), plain(message)));
            Exit::No
        }
        ClientError::Unreachable { .. } | ClientError::Failed { .. } => {
            let error: &(dyn Error + 'static) = error;
            complain(&format!("sluicegate: {}\n", plain(&chain(error))));
            Exit::Usage
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fails_tells_by_its_exit_code_whose_turn_it_is() {
        let addr = ([127, 0, 0, 1], 1).into();
        let cases = [
            (ClientError::Refused { code: "TOO_EARLY".into(), message: "wait".into() }, Exit::No),
            (ClientError::Failed { code: "Internal".into(), message: "broken".into() }, Exit::Usage),
            (ClientError::Unreachable { addr, source: "refused".into() }, Exit::Usage),
        ];
        for (error, want) in cases {
            assert_eq!(fail(&error), want, "{error}");
        }
    }

    #[test]
    fn without_a_process_every_client_command_ends_with_2() {
        // A port that was free a moment ago; nothing listens on it.
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let env = vec![("GRPC_ADDR".to_owned(), format!("127.0.0.1:{port}"))];
        assert_eq!(health(&env, None, "liveness"), Exit::Usage);
        assert_eq!(command(&env, None, Order::Pause), Exit::Usage);
        assert_eq!(status(&env, None, false, true), Exit::Usage);
        assert_eq!(status(&env, None, true, false), Exit::Usage);
        assert_eq!(health(&vec![("GRPC_ADDR", "nowhere")], None, ""), Exit::Usage);
    }
}
