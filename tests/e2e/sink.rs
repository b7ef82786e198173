//! The sink hesitates, lies low, loses its answers, or sends us elsewhere.

use std::io::Read;
use std::net::TcpListener;
use std::time::{Duration, Instant};

use rig::fault::{Action, Fault};

use crate::world::World;

const TABLE: &str = "CREATE TABLE t (id bigint PRIMARY KEY, note text)";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn faults_of_every_kind_are_overcome_without_help() {
    let world = World::new(TABLE).await;
    let sidecar = world.streaming().await;
    world.sql("INSERT INTO shop.t VALUES (0, 'first')").await;
    world.equal(&sidecar).await;
    let faults = [
        Action::CutBeforeCommit,
        Action::CutAfterCommit,
        Action::PublishTimeout,
        Action::Fail("Memory of load exceed limit. Consumption: 1, Limit: 1".into()),
        Action::Fail("because of too many versions, current/limit: 1001/1000. You can reduce".into()),
        Action::Fail("current running txns on db 10 is 1000, larger than limit 1000".into()),
        Action::Http(503, String::new()),
        Action::Http(500, "<html><body>a proxy</body></html>".into()),
        Action::Location("http://127.0.0.1:1/api/shop/t/_stream_load".into()),
        Action::Location(String::new()),
        Action::Delay(Duration::from_secs(1)),
    ];
    let mut rows = 1;
    for (round, action) in faults.into_iter().enumerate() {
        world.standin.faults().order(Fault::next("t", action.clone()));
        let from = round * 10 + 1;
        world.sql(&format!("INSERT INTO shop.t SELECT n, 'x' FROM generate_series({from}, {}) n", from + 9)).await;
        rows += 10;
        assert_eq!(world.equal(&sidecar).await, rows, "{action:?}");
        assert_eq!(world.standin.faults().left(), 0, "{action:?} struck");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_lost_after_the_commit_is_settled_by_the_label() {
    let world = World::new(TABLE).await;
    let sidecar = world.streaming().await;
    world.sql("INSERT INTO shop.t VALUES (1, 'first')").await;
    world.equal(&sidecar).await;
    let before = world.standin.history().len();
    world.standin.faults().order(Fault::next("t", Action::CutAfterCommit));
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
    let location = format!("http://user:secret@{address}/api/shop/t/_stream_load");
    world.standin.faults().order(Fault { times: 3, ..Fault::next("t", Action::Location(location)) });
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
