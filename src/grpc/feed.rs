//! Streams of newest values: the one way every streaming call answers.
//!
//! Always: a message is made only when there is room for it, so a slow reader misses values instead of piling them up;
//! the stream ends with OK when the server closes and its task ends when the client goes.

use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use super::board::{Board, Sample};

/// Shortest time between two messages of a stream.
const SPACING: Duration = Duration::from_millis(100);
/// Longest time between two messages that a client may ask for.
const INTERVAL_MAX: Duration = Duration::from_secs(60);
/// Time between two messages if the client does not ask for one.
const INTERVAL_DEFAULT: Duration = Duration::from_secs(1);

/// What a streaming call returns.
pub(super) type Feed<T> = ReceiverStream<Result<T, Status>>;

/// The interval for what a client asked, in milliseconds.
pub(super) fn interval(asked_ms: u32) -> Duration {
    match asked_ms {
        0 => INTERVAL_DEFAULT,
        ms => Duration::from_millis(u64::from(ms)).clamp(SPACING, INTERVAL_MAX),
    }
}

/// When the next message is due.
pub(super) struct Pace {
    /// At the latest after this long.
    pub(super) every: Duration,
    /// Sooner if something changes that a person would want to see at once.
    pub(super) on_change: bool,
}

/// A stream of what `tell` makes of the newest sample: one at once, then at that pace. `None` sends nothing.
pub(super) fn feed<T: Send + 'static>(
    board: Board,
    pace: Pace,
    mut tell: impl FnMut(&Sample) -> Option<T> + Send + 'static,
) -> Feed<T> {
    // One message waits; the next is made when it is taken.
    let (sender, receiver) = mpsc::channel(1);
    tokio::spawn(async move {
        let mut changes = board.changes();
        let telling = async {
            // An error means that the client is gone.
            while let Ok(room) = sender.reserve().await {
                changes.mark_unchanged();
                match tell(&board.now()) {
                    Some(message) => room.send(Ok(message)),
                    None => drop(room),
                }
                due(&pace, &mut changes).await;
            }
        };
        tokio::select! {
            () = telling => {}
            () = sender.closed() => {}
            () = board.closed() => {}
        }
    });
    ReceiverStream::new(receiver)
}

async fn due(pace: &Pace, changes: &mut watch::Receiver<u64>) {
    let now = Instant::now();
    let changed = async {
        sleep_until(now + SPACING).await;
        match pace.on_change {
            // An error means that nothing will ever change again; then time alone counts.
            true => match changes.changed().await {
                Ok(()) => {}
                Err(_) => std::future::pending().await,
            },
            false => std::future::pending().await,
        }
    };
    tokio::select! {
        () = sleep_until(now + pace.every) => {}
        () = changed => {}
    }
}

#[cfg(test)]
mod tests {
    use tokio_stream::StreamExt;

    use super::*;
    use crate::grpc::board::tests::still;

    const HOUR: Pace = Pace { every: Duration::from_secs(3600), on_change: true };

    #[tokio::test]
    async fn the_task_ends_when_the_client_goes() {
        let (board, closing) = still();
        let mut stream = feed(board, HOUR, |_| Some(()));
        assert!(stream.next().await.is_some_and(|message| message.is_ok()));
        drop(stream);
        // The board's last clone goes with the task.
        tokio::time::timeout(Duration::from_secs(30), closing.closed()).await.expect("the task ends");
    }

    #[tokio::test]
    async fn the_stream_ends_when_the_server_closes() {
        let (board, closing) = still();
        let mut stream = feed(board, HOUR, |_| Some(()));
        assert!(stream.next().await.is_some_and(|message| message.is_ok()));
        closing.send_replace(true);
        let end = tokio::time::timeout(Duration::from_secs(30), stream.next()).await.expect("an end");
        assert!(end.is_none());
    }

    #[test]
    fn intervals_are_moved_into_their_range() {
        for (asked, want) in [(0, 1000), (1, 100), (100, 100), (2500, 2500), (60_000, 60_000), (u32::MAX, 60_000)] {
            assert_eq!(interval(asked), Duration::from_millis(want), "{asked} ms");
        }
    }
}
