//! The sink hesitates, lies low, loses its answers, or sends us elsewhere.

use std::io::Read;
use std::net::TcpListener;
use std::time::{Duration, Instant};

use rig::fault::{Action, Fault};

use crate::world::World;

const TABLE: &str = "CREATE TABLE t (id bigint PRIMARY KEY, note text)";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn faults_of_every_kind_are_overcome_without_help() {
    faults_are_overcome(&World::new(TABLE).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn faults_of_every_kind_are_overcome_with_compressed_bodies() {
    let mut world = World::new(TABLE).await;
    world.set("SINK_COMPRESSION", "lz4");
    faults_are_overcome(&world).await;
}

async fn faults_are_overcome(world: &World) {
    let sidecar = world.streaming().await;
    world.sql("INSERT INTO shop.t VALUES (0, 'first')").await;
    world.equal(&sidecar).await;
    let faults = [
        at_backend(Action::Reset),
        at_backend(Action::ResetDuringBody { bytes: 100 }),
        at_backend(Action::ResetBeforeCommit),
        at_backend(Action::ResetAfterCommit),
        at_backend(Action::PublishTimeout),
        at_backend(Action::MemoryLimit),
        at_backend(Action::CommitUnknown { committed: true }),
        at_backend(Action::CommitUnknown { committed: false }),
        at_backend(fail("because of too many versions, current/limit: 1001/1000. You can reduce")),
        at_backend(fail("current running txns on db 10 is 1000, larger than limit 1000")),
        at_backend(Action::HttpStatus { status: 500 }),
        at_backend(Action::Delay { ms: 1000 }),
        at_backend(Action::ForgetLabel),
        at_frontend(Action::HttpStatus { status: 503 }),
        at_frontend(Action::Html { status: 502 }),
        at_frontend(Action::ClosedPort),
        at_frontend(Action::Reset),
    ];
    let mut rows = 1;
    for (round, fault) in faults.into_iter().enumerate() {
        let what = format!("{:?}", fault.action);
        world.standin.faults().add(fault);
        let from = round * 10 + 1;
        world.sql(&format!("INSERT INTO shop.t SELECT n, 'x' FROM generate_series({from}, {}) n", from + 9)).await;
        rows += 10;
        assert_eq!(world.equal(&sidecar).await, rows, "{what}");
        assert!(world.standin.faults().pending().is_empty(), "{what} struck");
    }
}

fn at_backend(action: Action) -> Fault {
    Fault::next(action).on("t")
}

fn at_frontend(action: Action) -> Fault {
    Fault::next(action).on("t").at_frontend()
}

fn fail(message: &str) -> Action {
    Action::Fail { message: message.to_owned() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_lost_after_the_commit_is_settled_by_the_label() {
    let world = World::new(TABLE).await;
    let sidecar = world.streaming().await;
    world.sql("INSERT INTO shop.t VALUES (1, 'first')").await;
    world.equal(&sidecar).await;
    let before = world.standin.history().len();
    world.standin.faults().add(at_backend(Action::ResetAfterCommit));
    world.sql("INSERT INTO shop.t VALUES (2, 'its answer is lost')").await;
    assert_eq!(world.equal(&sidecar).await, 2);
    let history = world.standin.history();
    assert_eq!(history.len(), before + 1, "the load was not sent a second time");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_minute_without_the_sink_needs_nobody() {
    let world = World::new(TABLE).await;
    let sidecar = world.streaming().await;
    world.standin.down().await;
    let start = Instant::now();
    let mut rows = 0;
    while start.elapsed() < Duration::from_secs(60) {
        world
            .sql(&format!(
                "INSERT INTO shop.t SELECT n, repeat('x', 500) FROM generate_series({rows}, {}) n",
                rows + 499
            ))
            .await;
        rows += 500;
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    world.until_reason(&sidecar, &["SINK_UNREACHABLE"]).await;
    assert_eq!(world.text("SELECT active::text FROM pg_replication_slots").await, "true", "feedback went on");
    world.standin.up().await;
    assert_eq!(world.equal(&sidecar).await, rows);
    world.until(&sidecar, "nothing is wrong any more", |status| status.reasons().is_empty()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redirect_to_a_foreign_host_gets_no_credentials() {
    let world = World::new(TABLE).await;
    let sidecar = world.streaming().await;
    world.sql("INSERT INTO shop.t VALUES (1, 'first')").await;
    world.equal(&sidecar).await;
    // A host nobody named: another loopback address. Whatever connects there is read.
    let foreign = TcpListener::bind("127.0.0.2:0").unwrap();
    let address = foreign.local_addr().unwrap();
    world.standin.faults().add(at_frontend(Action::WrongHost { host: address.to_string() }).nth(1, 1000));
    world.sql("INSERT INTO shop.t VALUES (2, 'not for others')").await;
    world.until_reason(&sidecar, &["SINK_REDIRECT"]).await;
    foreign.set_nonblocking(true).unwrap();
    if let Ok((mut stream, _)) = foreign.accept() {
        let mut heard = String::new();
        stream.set_nonblocking(false).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
        // A read that times out has told what there was.
        _ = stream.read_to_string(&mut heard);
        panic!("the foreign host was contacted: {heard}");
    }
    world.standin.faults().clear();
    assert_eq!(world.equal(&sidecar).await, 2, "it goes on once the redirects are right");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_password_waits_for_a_person_and_goes_on_by_itself() {
    let mut world = World::new(TABLE).await;
    let file = world.folder.path().join("password");
    std::fs::write(&file, format!("{}\n", world.standin.password())).unwrap();
    let url = world.standin.url("shop").replace(&format!(":{}@", world.standin.password()), "@");
    world.set("SINK_URL", &url);
    world.set("SINK_PASSWORD_FILE", file.to_str().unwrap());
    let sidecar = world.streaming().await;
    world.sql("INSERT INTO shop.t VALUES (1, 'first')").await;
    world.equal(&sidecar).await;
    world.standin.change_settings(|settings| settings.password = "rotated".into());
    world.sql("INSERT INTO shop.t VALUES (2, 'after the rotation')").await;
    world.until_reason(&sidecar, &["SINK_AUTH"]).await;
    std::fs::write(&file, "rotated").unwrap();
    let end = world.wal_end().await;
    world.until(&sidecar, "it goes on", |status| status.lsn("durable_lsn") >= end).await;
    assert!(!world.logged().contains("rotated"));
}
