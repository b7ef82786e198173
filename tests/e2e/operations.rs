//! What an operator does: look, pause, give few rights, start things in the wrong order.

use std::time::Duration;

use rig::free_port;

use crate::world::{CANARY, World, binary};

const TABLE: &str = "CREATE TABLE t (id bigint PRIMARY KEY, note text)";

/// Exit code and output of the binary with a world's settings.
fn run(world: &World, arguments: &[&str]) -> (Option<i32>, String) {
    let output = std::process::Command::new(binary())
        .args(arguments)
        .env_clear()
        .envs(world.environment().iter().map(|(name, value)| (name, value)))
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(!text.contains(CANARY) && !text.contains(world.standin.password()), "a secret was printed");
    (output.status.code(), text)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn check_tells_everything_at_once_and_changes_nothing() {
    let world = World::new(&format!("{TABLE}; CREATE TABLE keyless (n integer)")).await;
    let (code, text) = run(&world, &["check"]);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("NO_KEY") && text.contains("keyless"), "{text}");
    assert_eq!(world.text("SELECT count(*)::text FROM pg_publication").await, "0", "nothing was made");
    assert_eq!(world.text("SELECT count(*)::text FROM pg_replication_slots").await, "0");
    let mut world = world;
    world.set("TABLES", "shop.t, shop.keyless, shop.missing");
    world.standin.down().await;
    let (code, text) = run(&world, &["check"]);
    assert_eq!(code, Some(1), "{text}");
    for wanted in ["NO_KEY", "TABLE_MISSING", "SINK_UNREACHABLE", "ALTER TABLE"] {
        assert!(text.contains(wanted), "{wanted} is not in:\n{text}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn check_beside_our_own_sidecar_finds_everything_in_place() {
    let mut world = World::new(TABLE).await;
    world.set("CHECKPOINT_INTERVAL", "100ms");
    let mut sidecar = world.streaming().await;
    // Positions move while it looks.
    for round in 0..5 {
        let insert = format!("INSERT INTO shop.t SELECT n, 'x' FROM generate_series({0}, {0} + 999) n", round * 1000);
        world.sql(&insert).await;
        let (code, text) = run(&world, &["check"]);
        assert_eq!(code, Some(0), "{text}");
        assert!(text.contains("pipeline test is running") && !text.contains("SLOT_IN_USE"), "{text}");
    }
    sidecar.terminate().unwrap();
    sidecar.wait(Duration::from_secs(15)).unwrap();
    let (code, text) = run(&world, &["check"]);
    assert!(code == Some(0) && !text.contains("is running"), "{text}");

    let ours = world.cluster.url("postgres");
    world.set("SOURCE_URL", &format!("{ours}?application_name=stranger"));
    let stranger = world.streaming().await;
    world.set("SOURCE_URL", &ours);
    let (code, text) = run(&world, &["check"]);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("SLOT_IN_USE") && text.contains("stranger"), "{text}");
    drop(stranger);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_pipeline_leaves_the_database_idle() {
    let mut world = World::new(&format!("{TABLE}; CREATE TABLE public.aside (n integer)")).await;
    world.set("CHECKPOINT_INTERVAL", "100ms");
    let sidecar = world.streaming().await;
    world.sql("INSERT INTO shop.t VALUES (1, 'x')").await;
    world.equal(&sidecar).await;
    let stored = "SELECT lsn::text || ' ' || updated_at FROM sluicegate.checkpoints";
    // Ten times the interval at which news is stored. Only the absence of a write can be waited for, here and below.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let before = world.text(stored).await;
    // Others' transactions: version 14 sends them empty, later ones leave them out.
    for n in 0..50 {
        world.sql(&format!("INSERT INTO public.aside VALUES ({n})")).await;
    }
    let end = world.wal_end().await;
    world.until(&sidecar, "it has heard of all that", |status| status.lsn("durable_lsn") >= end).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(world.text(stored).await, before, "a checkpoint was written without news");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_without_key_under_a_pattern_is_told_and_holds_nobody_up() {
    let world = World::new(&format!("{TABLE}; CREATE TABLE keyless (n integer)")).await;
    let sidecar = world.streaming().await;
    world.until_reason(&sidecar, &["NO_KEY"]).await;
    world.sql("INSERT INTO shop.t VALUES (1, 'x'); INSERT INTO shop.keyless VALUES (1)").await;
    world.sql("UPDATE shop.keyless SET n = 2").await;
    world.until_count(&sidecar, "t", 1).await;
    let query = "SELECT count(*)::text FROM pg_publication_tables WHERE tablename = 'keyless'";
    assert_eq!(world.text(query).await, "0", "it is not published, so its updates go on");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_answers_from_the_start_whatever_is_missing_and_goes_on_by_itself() {
    let mut world = World::new(TABLE).await;
    world.standin.down().await;
    world.cluster.down("fast", 20).unwrap();
    let sidecar = world.start();
    let status = world.until_reason(&sidecar, &["SOURCE_UNREACHABLE"]).await;
    assert_eq!(status.text("stage"), "SETUP");
    assert_eq!(sidecar.command(&["health"]).unwrap().0, Some(0), "the process itself is well");
    assert_eq!(sidecar.command(&["health", "--service", "replication"]).unwrap().0, Some(1));
    world.cluster.up().unwrap();
    world.client = world.cluster.client().await.unwrap();
    world.until_reason(&sidecar, &["SINK_UNREACHABLE"]).await;
    world.standin.up().await;
    world.until(&sidecar, "it follows changes", |status| status.text("stage") == "CDC").await;
    world.sql("INSERT INTO shop.t VALUES (1, 'x')").await;
    assert_eq!(world.equal(&sidecar).await, 1);
    assert_eq!(sidecar.command(&["health", "--service", "replication"]).unwrap().0, Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pause_stops_reading_alone_and_survives_a_restart() {
    let world = World::new(TABLE).await;
    let mut sidecar = world.streaming().await;
    world.sql("INSERT INTO shop.t VALUES (1, 'x')").await;
    world.equal(&sidecar).await;
    assert_eq!(sidecar.command(&["pause"]).unwrap().0, Some(0));
    world.until(&sidecar, "it is paused", |status| status.text("paused") == "true").await;
    world.sql("INSERT INTO shop.t VALUES (2, 'while paused')").await;
    assert_eq!(world.text("SELECT active::text FROM pg_replication_slots").await, "true", "the connection stays");
    sidecar.terminate().unwrap();
    assert_eq!(sidecar.wait(Duration::from_secs(15)).unwrap().and_then(|ended| ended.code()), Some(0));
    let sidecar = world.streaming().await;
    world.until(&sidecar, "it is still paused", |status| status.text("paused") == "true").await;
    assert_eq!(world.compare().await.rows, 1);
    assert_eq!(sidecar.command(&["resume"]).unwrap().0, Some(0));
    assert_eq!(world.equal(&sidecar).await, 2);
    let (code, text) = sidecar.command(&["stop", "--drain"]).unwrap();
    assert_eq!(code, Some(0), "{text}");
    let mut sidecar = sidecar;
    assert_eq!(sidecar.wait(Duration::from_secs(15)).unwrap().and_then(|ended| ended.code()), Some(0));
    assert_eq!(world.text("SELECT paused::text FROM sluicegate.checkpoints").await, "false", "stopping is no pause");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn few_rights_suffice_and_only_listed_statements_write() {
    let settings = ["log_statement = all", "log_line_prefix = '%a|'", "log_min_messages = log", "lc_messages = C"];
    let mut world = World::with(&settings, TABLE).await;
    world
        .sql(
            "CREATE ROLE few LOGIN REPLICATION; GRANT CREATE ON DATABASE postgres TO few;
             GRANT USAGE ON SCHEMA shop TO few; GRANT SELECT ON ALL TABLES IN SCHEMA shop TO few;
             CREATE PUBLICATION sluicegate_test FOR TABLE shop.t",
        )
        .await;
    world.set("SOURCE_URL", &world.cluster.url("postgres").replace("postgres@", "few@"));
    world.set("PUBLICATION", "sluicegate_test");
    let sidecar = world.streaming().await;
    world.sql("INSERT INTO shop.t VALUES (1, 'x'); UPDATE shop.t SET id = 2").await;
    assert_eq!(world.equal(&sidecar).await, 1);
    drop(sidecar);
    let log = std::fs::read_to_string(world.cluster.log()).unwrap();
    let ours: Vec<&str> = log.lines().filter(|line| line.starts_with("sluicegate")).collect();
    let statement = |line: &&str| {
        let (_, rest) = line.split_once("LOG:  ")?;
        let (_, statement) = rest.split_once(": ").filter(|(kind, _)| {
            *kind == "statement" || kind.starts_with("execute") || kind.starts_with("received replication command")
        })?;
        Some(statement.trim_start().to_owned())
    };
    let statements: Vec<String> = ours.iter().filter_map(statement).filter(|text| !text.is_empty()).collect();
    assert!(statements.len() > 10, "the log was read: {ours:?}");
    let reads = ["SELECT", "SET ", "BEGIN", "COMMIT", "SHOW", "IDENTIFY_SYSTEM", "START_REPLICATION", "COPY (SELECT"];
    let writes = [
        "CREATE SCHEMA",
        "CREATE TABLE \"sluicegate\".checkpoints",
        "CREATE TABLE IF NOT EXISTS \"sluicegate\".snapshot_",
        "COMMENT ON TABLE",
        "WITH durable AS",
    ];
    for statement in &statements {
        let listed = reads.iter().chain(&writes).any(|start| statement.starts_with(start));
        assert!(listed, "a statement that is not listed: {statement}");
    }
    assert!(statements.iter().any(|statement| statement.starts_with("WITH durable AS")), "checkpoints were stored");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_settings_end_with_78_and_all_are_told() {
    let mut world = World::new(TABLE).await;
    world.set("FLUSH_SIZE", "10k");
    world.set("FLUSH_INTERVALL_MS", "5");
    world.set("TABLES", "a.b.c");
    let (code, text) = run(&world, &["run"]);
    assert_eq!(code, Some(78), "{text}");
    for wanted in ["FLUSH_SIZE", "FLUSH_INTERVALL_MS", "FLUSH_INTERVAL_MS", "TABLES"] {
        assert!(text.contains(wanted), "{wanted} is not in:\n{text}");
    }
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut world = World::new(TABLE).await;
    world.set("GRPC_ADDR", &taken.local_addr().unwrap().to_string());
    world.set("METRICS_ADDR", &format!("127.0.0.1:{}", free_port().unwrap()));
    let (code, text) = run(&world, &["run"]);
    assert_eq!(code, Some(78), "{text}");
    assert!(text.contains("GRPC_ADDR"), "{text}");
}
