//! Setup, checkpoints, watcher and reading by key against a real server.

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use rig::Cluster;
use tokio::sync::watch as signal;
use tokio_postgres::Client;

use super::catalog;
use super::checkpoints::PgCheckpoints;
use super::client::connect_sql;
use super::fetch::{fetch, fetch_after};
use super::setup::{self, Prepared};
use super::watcher::watch;
use super::{ConnectOptions, Options, ReplicaIdentity, TablePattern};
use crate::checkpoint::{Checkpoint, Store};
use crate::model::{Budget, Class, Lsn, Reason, Row, RowBuilder, Value};
use crate::status::{Meters, Status};

/// Long enough for a loaded machine; only a failing test waits that long.
const LONG: Duration = Duration::from_secs(60);

/// One server for all tests that run at the same time, stopped when the last of them ends.
pub(super) fn shared() -> Arc<Cluster> {
    static SHARED: Mutex<Weak<Cluster>> = Mutex::new(Weak::new());
    let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    shared.upgrade().unwrap_or_else(|| {
        let cluster = Arc::new(Cluster::start(&["max_connections = 200"]).unwrap());
        *shared = Arc::downgrade(&cluster);
        cluster
    })
}

/// A database of its own with two connections as setup has them, and one of a superuser.
pub(super) struct Lab {
    pub(super) options: Options,
    pub(super) admin: Client,
    pub(super) worker: Client,
    observer: Client,
    pub(super) checkpoints: Arc<PgCheckpoints>,
    pub(super) cluster: Arc<Cluster>,
}

impl Lab {
    pub(super) async fn new(cluster: Arc<Cluster>, name: &str, tables: &str) -> Lab {
        Lab::of_role(cluster, name, rig::SUPERUSER, tables).await
    }

    pub(super) async fn of_role(cluster: Arc<Cluster>, name: &str, role: &str, tables: &str) -> Lab {
        let server = cluster.client().await.unwrap();
        server.batch_execute(&format!("CREATE DATABASE {name}")).await.unwrap();
        if role != rig::SUPERUSER {
            server.batch_execute(&format!("CREATE ROLE {role} LOGIN REPLICATION")).await.unwrap();
        }
        let connect = |role: &str| {
            let url = format!("postgresql://{role}@127.0.0.1:{}/{name}?sslmode=disable", cluster.port());
            ConnectOptions::parse(&url, &|_| None).unwrap()
        };
        let options = Options {
            connect: connect(role),
            pipeline: name.into(),
            slot: format!("{name}_slot"),
            publication: format!("{name}_pub"),
            tables: TablePattern::parse_list(tables).unwrap(),
            replica_identity: ReplicaIdentity::Auto,
            checkpoint_schema: "sluicegate".into(),
            copying: false,
            slot_create_timeout: LONG,
            spool: None,
        };
        let open = async |options: &ConnectOptions| connect_sql(options, "test").await.unwrap().0;
        Lab {
            admin: open(&connect(rig::SUPERUSER)).await,
            worker: open(&options.connect).await,
            observer: open(&options.connect).await,
            checkpoints: Arc::new(PgCheckpoints::new(&options)),
            options,
            cluster,
        }
    }

    pub(super) async fn run(&self) -> Result<Prepared, Vec<Reason>> {
        setup::run(&self.worker, &self.observer, &self.options, &self.checkpoints).await
    }

    /// The codes of everything that is in the way.
    pub(super) async fn codes(&self) -> Vec<&'static str> {
        self.run().await.err().into_iter().flatten().map(|reason| reason.code).collect()
    }

    /// Why tables cannot be copied, as `check` says.
    pub(super) async fn against_copies(&self) -> Vec<Reason> {
        let inspection = setup::inspect(&self.worker, &self.options, None).await.unwrap();
        setup::copy_findings(&inspection, &self.options)
    }

    pub(super) async fn sql(&self, sql: &str) {
        self.admin.batch_execute(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    }

    pub(super) async fn text(&self, sql: &str) -> String {
        self.admin.query_one(sql, &[]).await.unwrap_or_else(|error| panic!("{sql}: {error:?}")).get(0)
    }

    /// SQLSTATE of a statement that the server refuses.
    pub(super) async fn refused(&self, sql: &str) -> String {
        let error = self.admin.batch_execute(sql).await.expect_err(sql);
        error.code().map(|code| code.code().to_owned()).unwrap_or_default()
    }

    /// Everything `check` would tell: codes of findings, and notes.
    async fn reported(&self) -> (Vec<&'static str>, Vec<String>) {
        let inspection = setup::inspect(&self.observer, &self.options, None).await.unwrap();
        let (findings, notes) = setup::report(&inspection, &self.options);
        (findings.iter().map(|reason| reason.code).collect(), notes)
    }

    /// Waits until the server counts decoded transactions, or none. Version 14 counts behind.
    async fn until_counted(&self, any: bool) {
        let slot = &self.options.slot;
        let sql = format!("SELECT (total_txns > 0)::text FROM pg_stat_replication_slots WHERE slot_name = '{slot}'");
        let wait = async {
            while self.text(&sql).await != any.to_string() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        assert!(tokio::time::timeout(LONG, wait).await.is_ok(), "{slot}: {any}");
    }

    async fn published(&self) -> String {
        let sql = "SELECT COALESCE(string_agg(tablename, ' ' ORDER BY tablename), '') FROM pg_publication_tables";
        self.text(sql).await
    }

    pub(super) async fn forget(&self) {
        let drop = format!("SELECT pg_drop_replication_slot('{}')", self.options.slot);
        self.sql(&drop).await;
    }
}

const SHOP: &str = "CREATE SCHEMA shop; CREATE TABLE shop.orders (id int PRIMARY KEY, v text);
    CREATE TABLE shop.items (id int PRIMARY KEY, v text); INSERT INTO shop.orders VALUES (1, 'a')";

#[tokio::test]
async fn setup_makes_what_is_missing_and_then_nothing() {
    let mut lab = Lab::new(shared(), "twice", "shop.orders").await;
    lab.sql(SHOP).await;
    let first = lab.run().await.unwrap();
    assert!(first.ready.start > Lsn::INVALID);
    assert_eq!(first.ready.tables[0].name.to_string(), "shop.orders");
    assert!(first.ready.notes.iter().any(|note| note.contains("shop.orders has rows that exist already")));
    assert_eq!(lab.published().await, "orders");
    let stored = "SELECT lsn::text || ' ' || updated_at::text FROM sluicegate.checkpoints WHERE pipeline = 'twice'";
    let row = lab.text(stored).await;
    assert!(row.starts_with(&first.ready.start.to_string()), "{row}");

    let again = lab.run().await.unwrap();
    assert_eq!(again.ready.start, first.ready.start);
    assert!(!again.ready.notes.iter().any(|note| note.contains("exist already")), "{:?}", again.ready.notes);
    assert_eq!(lab.text(stored).await, row, "nothing was written");

    lab.options.tables = TablePattern::parse_list("shop.*").unwrap();
    lab.run().await.unwrap();
    assert_eq!(lab.published().await, "items orders", "a new table is added");
    lab.options.tables = TablePattern::parse_list("shop.items").unwrap();
    assert_eq!(lab.codes().await, [""; 0], "our own changes are no gap");
    assert_eq!(lab.published().await, "items", "from our own publication, what is not wanted is taken out");
    lab.options.replica_identity = ReplicaIdentity::Full;
    lab.run().await.unwrap();
    let identity = "SELECT relreplident::text FROM pg_class WHERE oid = 'shop.items'::regclass";
    assert_eq!(lab.text(identity).await, "f");
    lab.forget().await;
}

#[tokio::test]
async fn statements_to_paste_cure_a_role_without_rights() {
    let lab = Lab::of_role(shared(), "paste", "paste_role", "shop.orders").await;
    lab.sql(SHOP).await;
    // Names are quoted in what is to be pasted, whatever they are.
    lab.sql("CREATE TABLE shop.\"We\"\"ird; é\" (\"K\" int PRIMARY KEY)").await;
    let found = lab.run().await.unwrap_err();
    let objects: Vec<&str> = found.iter().map(|reason| reason.object.as_str()).collect();
    assert!(found.iter().all(|reason| reason.code == "SOURCE_PRIVILEGE"), "{found:?}");
    assert_eq!(objects, ["schema sluicegate", "schema shop", "table shop.orders", "paste_pub"]);
    for reason in found {
        lab.sql(&reason.sql).await;
    }
    let prepared = lab.run().await.unwrap();
    assert_eq!(lab.run().await.unwrap().ready.start, prepared.ready.start);

    let mut more = lab;
    more.options.tables = TablePattern::parse_list("shop.orders, shop.\"We\"\"ird; é\"").unwrap();
    for reason in more.run().await.unwrap_err() {
        assert_eq!(reason.code, "SOURCE_PRIVILEGE");
        more.sql(&reason.sql).await;
    }
    assert_eq!(more.codes().await, [""; 0], "a table that was added by hand, as we asked, is no gap");
    more.forget().await;
}

#[tokio::test]
async fn what_blocks_the_slot_is_named_and_no_slot_is_left() {
    let mut lab = Lab::new(shared(), "blocked", "shop.orders").await;
    lab.sql(SHOP).await;
    lab.sql("SET application_name = 'long import'; BEGIN; INSERT INTO shop.orders VALUES (7, 'secret')").await;
    lab.options.slot_create_timeout = Duration::from_millis(500);
    let found = lab.run().await.unwrap_err();
    let [reason] = &found[..] else { panic!("{found:?}") };
    assert_eq!((reason.code, reason.class), ("SLOT_CREATE_BLOCKED", Class::Retry));
    assert!(reason.message.contains("application long import") && reason.message.contains("idle in transaction"));
    assert!(!reason.message.contains("secret") && reason.sql.contains("pg_terminate_backend"), "{reason:?}");
    lab.sql("COMMIT").await;
    let slots = "SELECT count(*)::text FROM pg_replication_slots WHERE slot_name = 'blocked_slot'";
    assert_eq!(lab.text(slots).await, "0");
    lab.options.slot_create_timeout = LONG;
    lab.run().await.unwrap();
    lab.forget().await;
}

#[tokio::test]
async fn setup_does_not_queue_for_locks_and_names_who_holds_them() {
    let mut lab = Lab::new(shared(), "locked", "shop.orders").await;
    lab.sql(SHOP).await;
    lab.options.replica_identity = ReplicaIdentity::Full;
    let cases = [
        // before, what holds the lock, what waits for it, the table's identity afterwards
        ("SELECT", "SELECT FROM shop.orders", "shop.orders", "d"),
        ("SELECT", "LOCK TABLE shop.orders IN SHARE UPDATE EXCLUSIVE MODE", "shop.orders", "d"),
        ("ALTER TABLE shop.orders REPLICA IDENTITY FULL", "LOCK TABLE shop.orders IN SHARE MODE", "locked_pub", "f"),
    ];
    for (before, hold, object, identity) in cases {
        lab.sql(&format!("SET application_name = 'report'; {before}")).await;
        lab.sql(&format!("BEGIN; {hold}")).await;
        let found = lab.run().await.unwrap_err();
        let [reason] = &found[..] else { panic!("{found:?}") };
        assert_eq!((reason.code, reason.class, reason.object.as_str()), ("SOURCE_LOCKED", Class::Retry, object));
        let pid: i32 = lab.admin.query_one("SELECT pg_backend_pid()", &[]).await.unwrap().get(0);
        let holder = format!("held by process {pid} (");
        assert!(reason.message.contains(&holder) && reason.message.contains("application report"), "{reason:?}");
        assert!(reason.message.contains("on shop.orders") && reason.sql.contains(&pid.to_string()), "{reason:?}");
        lab.sql("COMMIT").await;
        let state = "SELECT relreplident::text FROM pg_class WHERE oid = 'shop.orders'::regclass";
        assert_eq!((lab.text(state).await.as_str(), lab.published().await.as_str()), (identity, ""), "{hold}");
    }
    lab.run().await.unwrap();
    assert_eq!(lab.published().await, "orders");
    lab.forget().await;
}

#[tokio::test]
async fn starting_anew_under_a_running_process_is_told_once() {
    let lab = Lab::new(shared(), "anew", "shop.orders").await;
    lab.sql(SHOP).await;
    let first = lab.run().await.unwrap().ready;
    assert!(!first.anew && !lab.run().await.unwrap().ready.anew);
    lab.forget().await;
    lab.sql("DELETE FROM sluicegate.checkpoints; INSERT INTO shop.orders VALUES (2, 'b')").await;
    let second = lab.run().await.unwrap().ready;
    assert!(second.anew && second.start > first.start);
    assert!(!lab.run().await.unwrap().ready.anew);
    lab.forget().await;
}

#[tokio::test]
async fn gaps_are_named_and_their_statements_start_anew() {
    let lab = Lab::new(shared(), "gaps", "shop.orders").await;
    lab.sql(SHOP).await;
    lab.run().await.unwrap();
    let cases = [
        (
            "ALTER PUBLICATION gaps_pub DROP TABLE shop.orders; ALTER PUBLICATION gaps_pub ADD TABLE shop.orders",
            &["PUBLICATION_CHANGED"][..],
        ),
        ("ALTER PUBLICATION gaps_pub SET (publish = 'insert')", &["PUBLICATION_OPTIONS", "PUBLICATION_CHANGED"]),
        ("DROP PUBLICATION gaps_pub", &["PUBLICATION_MISSING"]),
        ("SELECT pg_drop_replication_slot('gaps_slot')", &["SLOT_MISSING"]),
        (
            "SELECT pg_drop_replication_slot('gaps_slot'); \
             SELECT pg_create_logical_replication_slot('gaps_slot', 'pgoutput')",
            &["SLOT_AHEAD"],
        ),
        ("SELECT pg_replication_slot_advance('gaps_slot', pg_current_wal_lsn())", &["SLOT_AHEAD"]),
        ("UPDATE sluicegate.checkpoints SET system_id = '1'", &["SOURCE_CHANGED"]),
        ("UPDATE sluicegate.checkpoints SET timeline = 2", &["SOURCE_CHANGED"]),
        ("UPDATE sluicegate.checkpoints SET lsn = 'FFFF/0'", &["CHECKPOINT_AHEAD"]),
        ("UPDATE sluicegate.checkpoints SET slot = 'x'", &["CHECKPOINT_INVALID"]),
    ];
    for (damage, want) in cases {
        lab.sql("INSERT INTO shop.orders SELECT max(id) + 1 FROM shop.orders").await;
        for statement in damage.split("; ") {
            lab.sql(statement).await;
        }
        let found = lab.run().await.unwrap_err();
        let codes: Vec<&str> = found.iter().map(|reason| reason.code).collect();
        assert_eq!(codes, want, "{damage}");
        for reason in found {
            lab.sql(&reason.sql).await;
        }
        assert_eq!(lab.codes().await, [""; 0], "after the statements for {damage}");
    }
    lab.sql("UPDATE sluicegate.checkpoints SET format = 99").await;
    assert_eq!(lab.codes().await, ["CHECKPOINT_FORMAT"]);
    lab.sql("UPDATE sluicegate.checkpoints SET format = 1").await;

    // What was decoded is counted, and tells a slot that was made anew from one that was moved.
    let peek = "SELECT count(*)::text FROM pg_logical_slot_peek_binary_changes('gaps_slot', NULL, NULL, \
                'proto_version', '1', 'publication_names', 'gaps_pub')";
    lab.sql("INSERT INTO shop.orders SELECT max(id) + 1 FROM shop.orders").await;
    lab.text(peek).await;
    lab.until_counted(true).await;
    lab.run().await.unwrap();
    lab.forget().await;
    lab.sql("SELECT pg_create_logical_replication_slot('gaps_slot', 'pgoutput')").await;
    lab.until_counted(false).await;
    assert_eq!(lab.codes().await, ["SLOT_RECREATED"]);
    lab.sql("INSERT INTO shop.orders SELECT max(id) + 1 FROM shop.orders").await;
    lab.text(peek).await;
    lab.until_counted(true).await;
    lab.sql("DELETE FROM sluicegate.checkpoints").await;
    assert_eq!(lab.codes().await, ["SLOT_NOT_OURS"]);
    lab.forget().await;
}

#[tokio::test]
async fn a_table_without_key_is_never_published() {
    let lab = Lab::new(shared(), "keyless", "shop.*").await;
    lab.sql(SHOP).await;
    lab.sql("CREATE TABLE shop.log (line text UNIQUE); INSERT INTO shop.log VALUES ('x')").await;
    let found = lab.run().await.unwrap().ready.refused;
    assert_eq!(found.iter().map(|reason| reason.code).collect::<Vec<_>>(), ["NO_KEY"]);
    assert_eq!(lab.published().await, "items orders", "the others go on without it");
    lab.sql("UPDATE shop.log SET line = 'y'").await;
    lab.sql("ALTER TABLE shop.log ALTER line SET NOT NULL").await;
    let found = lab.run().await.unwrap().ready.refused;
    assert!(found[0].sql.contains("USING INDEX \"log_line_key\""), "{found:?}");
    lab.sql(&found[0].sql).await;
    let prepared = lab.run().await.unwrap();
    assert_eq!((prepared.ready.tables.len(), prepared.ready.refused.len()), (3, 0));
    assert_eq!(lab.published().await, "items log orders");
    lab.sql("UPDATE shop.log SET line = 'z'").await;
    lab.forget().await;
}

#[tokio::test]
async fn partitions_travel_as_their_root() {
    let lab = Lab::new(shared(), "parts", "shop.*").await;
    lab.sql("CREATE SCHEMA shop; CREATE TABLE shop.p (id int, d int, PRIMARY KEY (d, id)) PARTITION BY LIST (d)").await;
    lab.sql("CREATE TABLE shop.p1 PARTITION OF shop.p FOR VALUES IN (1); INSERT INTO shop.p VALUES (1, 1)").await;
    lab.sql("ALTER TABLE shop.p1 REPLICA IDENTITY NOTHING").await;
    let found = lab.run().await.unwrap_err();
    assert_eq!((found[0].code, found[0].object.as_str()), ("NO_KEY", "shop.p1"));
    lab.sql(&found[0].sql).await;
    let prepared = lab.run().await.unwrap();
    let [table] = &prepared.ready.tables[..] else { panic!("{:?}", prepared.ready.tables) };
    assert_eq!((table.name.to_string(), &table.key[..]), ("shop.p".to_owned(), &[1, 0][..]), "key in index order");
    assert_eq!(lab.published().await, "p");
    lab.forget().await;
}

#[tokio::test]
async fn an_unusable_or_busy_slot_is_named() {
    let lab = Lab::new(shared(), "slots", "shop.orders").await;
    lab.sql(SHOP).await;
    let cases = [
        ("pg_create_logical_replication_slot('slots_slot', 'test_decoding')", "SLOT_UNUSABLE"),
        ("pg_create_physical_replication_slot('slots_slot')", "SLOT_UNUSABLE"),
        ("pg_create_logical_replication_slot('slots_slot', 'pgoutput', true)", "SLOT_UNUSABLE"),
        ("pg_create_logical_replication_slot('slots_slot', 'pgoutput')", "PUBLICATION_MISSING"),
    ];
    for (make, code) in cases {
        lab.sql(&format!("SELECT {make}")).await;
        assert_eq!(lab.codes().await, [code], "{make}");
        lab.forget().await;
    }
    lab.run().await.unwrap();
    lab.forget().await;
}

#[tokio::test]
async fn a_table_that_is_dropped_while_the_catalog_is_read_is_not_there() {
    let lab = Lab::new(shared(), "vanishing", "shop.*").await;
    lab.sql(SHOP).await;
    let read = async {
        // The snapshot is taken here and has both tables.
        let both = catalog::matching(&lab.worker, &lab.options.tables).await?;
        lab.sql("DROP TABLE shop.items").await;
        let ids: Vec<u32> = both.iter().map(|relation| relation.id).collect();
        Ok((both.len(), catalog::by_id(&lab.worker, &ids).await?))
    };
    let (before, after) = catalog::at_one_moment(&lab.worker, read).await.unwrap();
    let names: Vec<String> = after.iter().map(|relation| relation.name.to_string()).collect();
    assert_eq!((before, names), (2, vec!["shop.orders".to_owned()]));
}

#[tokio::test]
async fn transactions_that_are_read_only_by_default_hinder_nothing() {
    let lab = Lab::of_role(shared(), "readonly", "readonly_role", "shop.orders").await;
    lab.sql(SHOP).await;
    lab.sql("GRANT CREATE ON DATABASE readonly TO readonly_role; ALTER SCHEMA shop OWNER TO readonly_role").await;
    lab.sql("ALTER TABLE shop.orders OWNER TO readonly_role").await;
    for whose in ["ROLE readonly_role", "DATABASE readonly", "ROLE readonly_role IN DATABASE readonly"] {
        lab.sql(&format!("ALTER {whose} SET default_transaction_read_only = on")).await;
    }
    let open = async |name| connect_sql(&lab.options.connect, name).await.unwrap().0;
    let (worker, observer) = (open("setup").await, open("observer").await);
    let prepared = setup::run(&worker, &observer, &lab.options, &lab.checkpoints).await.unwrap();
    let later = Lsn(prepared.ready.start.0 + 8);
    lab.checkpoints.save(&at(later, false)).await.unwrap();
    assert_eq!(lab.checkpoints.load().await.unwrap().unwrap().lsn, later);
    lab.forget().await;
}

#[tokio::test]
async fn what_a_publication_leaves_out_is_told_as_far_as_the_version_can() {
    let lab = Lab::new(shared(), "partial", "shop.t").await;
    let major = rig::major().unwrap();
    lab.sql(
        "CREATE SCHEMA shop;
         CREATE TABLE shop.t (id int PRIMARY KEY, v text, w text, g int GENERATED ALWAYS AS (id + 1) STORED)",
    )
    .await;
    let columns = |prepared: &Prepared| -> Vec<String> {
        prepared.ready.tables[0].columns.iter().map(|column| column.name.clone()).collect()
    };
    let generated = "generated columns of shop.t are not replicated: g";
    let partial = "CREATE PUBLICATION partial_pub FOR TABLE shop.t (id, v) WHERE (id > 10)";
    let whole_schema = "CREATE PUBLICATION partial_pub FOR TABLES IN SCHEMA shop";
    if major < 15 {
        assert_eq!([lab.refused(partial).await, lab.refused(whole_schema).await], ["42601", "42601"]);
        let prepared = lab.run().await.unwrap();
        assert_eq!(columns(&prepared), ["id", "v", "w"]);
        assert!(prepared.ready.notes.iter().any(|note| note == generated), "{:?}", prepared.ready.notes);
        lab.forget().await;
        return;
    }
    lab.sql(partial).await;
    let prepared = lab.run().await.unwrap();
    assert_eq!(columns(&prepared), ["id", "v"]);
    let notes = ["filters the rows of shop.t", "leaves out columns of shop.t: w", generated];
    for wanted in notes {
        assert!(prepared.ready.notes.iter().any(|note| note.contains(wanted)), "{wanted}: {:?}", prepared.ready.notes);
    }
    lab.sql("ALTER PUBLICATION partial_pub SET TABLE shop.t (id, v) WHERE (id > 20)").await;
    assert_eq!(lab.codes().await, ["PUBLICATION_CHANGED"], "another filter is a gap");
    lab.sql("DROP PUBLICATION partial_pub; DELETE FROM sluicegate.checkpoints").await;
    lab.forget().await;

    lab.sql(whole_schema).await;
    assert_eq!(columns(&lab.run().await.unwrap()), ["id", "v", "w"]);
    lab.sql("ALTER PUBLICATION partial_pub DROP TABLES IN SCHEMA shop; ALTER PUBLICATION partial_pub ADD TABLE shop.t")
        .await;
    assert_eq!(lab.codes().await, ["PUBLICATION_CHANGED"], "a schema that went is a gap");
    lab.sql("DROP PUBLICATION partial_pub; DELETE FROM sluicegate.checkpoints").await;
    lab.forget().await;

    let generated_too = "CREATE PUBLICATION partial_pub FOR TABLE shop.t (id, g)";
    if major < 18 {
        assert_eq!(lab.refused(generated_too).await, "42P10", "generated columns cannot be published");
        return;
    }
    let option = "CREATE PUBLICATION partial_pub FOR TABLE shop.t WITH (publish_generated_columns = stored)";
    for (publication, want) in [(generated_too, &["id", "g"][..]), (option, &["id", "v", "w", "g"])] {
        lab.sql(publication).await;
        let prepared = lab.run().await.unwrap();
        assert_eq!(columns(&prepared), want, "{publication}");
        assert!(!prepared.ready.notes.iter().any(|note| note == generated), "{:?}", prepared.ready.notes);
        lab.sql("INSERT INTO shop.t VALUES (1); DELETE FROM shop.t").await;
        assert_eq!(inserts(&lab).await[0].len(), want.len(), "{publication}: as the stream sends it");
        lab.sql("DROP PUBLICATION partial_pub; DELETE FROM sluicegate.checkpoints").await;
        lab.forget().await;
    }
}

#[tokio::test]
async fn an_invalidated_slot_is_named_whatever_the_version_tells_of_it() {
    let bounds = ["max_slot_wal_keep_size = 1MB", "min_wal_size = 32MB", "max_wal_size = 32MB"];
    let lab = Lab::new(Arc::new(Cluster::start(&bounds).unwrap()), "lost", "shop.orders").await;
    lab.sql(SHOP).await;
    lab.run().await.unwrap();
    // Each switch leaves 16 MB behind the slot; a checkpoint invalidates what holds back too much.
    for _ in 0..4 {
        lab.sql("SELECT pg_logical_emit_message(false, 'filler', 'x'), pg_switch_wal()").await;
    }
    lab.sql("CHECKPOINT").await;
    let lost = async |why: &str| {
        let found = lab.run().await.unwrap_err();
        let [reason] = &found[..] else { panic!("{found:?}") };
        assert_eq!((reason.code, reason.class), ("SLOT_LOST", Class::Resync));
        assert!(reason.message.contains(why), "{reason:?}");
        lab.sql(&reason.sql).await;
        assert_eq!(lab.codes().await, [""; 0], "after the statements");
    };
    let major = rig::major().unwrap();
    lost(if major < 17 { "the WAL it needs was removed" } else { "wal_removed" }).await;

    let limit = "ALTER SYSTEM SET idle_replication_slot_timeout = '1s'";
    if major < 18 {
        assert_eq!(lab.refused(limit).await, "42704", "only 18 and later know it");
        return;
    }
    lab.sql(limit).await;
    lab.sql("SELECT pg_reload_conf()").await;
    let invalidated = async {
        let query = "SELECT coalesce(invalidation_reason, '') FROM pg_replication_slots";
        while lab.text(query).await.is_empty() {
            lab.sql("CHECKPOINT").await;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    assert!(tokio::time::timeout(LONG, invalidated).await.is_ok(), "the slot is never invalidated");
    let (codes, notes) = lab.reported().await;
    assert_eq!(codes, ["SLOT_LOST"]);
    assert!(notes.iter().any(|note| note.contains("idle_replication_slot_timeout is 1 s")), "{notes:?}");
    lost("idle_timeout").await;
}

/// The inserted rows that the slot has yet to send.
pub(super) async fn inserts(lab: &Lab) -> Vec<Row> {
    let Options { slot, publication, .. } = &lab.options;
    let changes = format!(
        "SELECT data FROM pg_logical_slot_peek_binary_changes('{slot}', NULL, NULL, 'proto_version', '1', \
         'publication_names', '{publication}')"
    );
    let messages = lab.worker.query(&changes, &[]).await.unwrap();
    let messages = messages.iter().map(|message| message.get::<_, Vec<u8>>(0));
    // Insert: 'I', the table's OID, 'N', the row.
    messages.filter(|message| message[0] == b'I').map(|m| Row::from_checked(m[6..].to_vec().into())).collect()
}

pub(super) fn row(values: &[&str]) -> Row {
    let mut built = RowBuilder::with_capacity(64);
    values.iter().for_each(|value| built.push(Value::Text(value.as_bytes())));
    built.finish()
}

#[tokio::test]
async fn rows_read_by_key_are_what_the_stream_sends() {
    let lab = Lab::new(shared(), "fetched", "public.t").await;
    lab.sql(
        "SET search_path = public; CREATE DOMAIN price AS numeric(10, 2); CREATE TYPE mood AS ENUM ('so', 'la la');
         CREATE TABLE public.t (c char(5), k timestamptz, body text, n numeric, p price, f float8, b bytea, i interval,
             j json, m mood, a int[], x bool, g int GENERATED ALWAYS AS (1) STORED, PRIMARY KEY (k, c));
         ALTER TABLE public.t ALTER body SET STORAGE EXTERNAL",
    )
    .await;
    let prepared = lab.run().await.unwrap();
    lab.sql(
        "SET TimeZone = 'Asia/Tokyo';
         INSERT INTO t VALUES
         ('a''b\\', '2024-02-29 23:30+00', repeat('x', 100000), 1.50, 2, 0.1, '\\x00ff', '1 day 2:03', '{ \"a\" : 1}',
          'la la', '{1,NULL}', true),
         ('é', 'infinity', NULL, 'NaN', NULL, '-Infinity', '', '-178000000 years', NULL, NULL, NULL, NULL)",
    )
    .await;
    let sent = inserts(&lab).await;
    assert_eq!(sent.len(), 2);
    let schema = &prepared.ready.tables[0];
    assert_eq!(schema.key, [1, 0]);
    let none = row(&["zzzzz", "2024-02-29 23:30:00+00"]);
    let keys = [sent[1].clone(), none, sent[0].clone(), sent[1].clone()];
    let found = fetch(&lab.worker, schema, &keys).await.unwrap();
    let want = [Some(sent[1].clone()), None, Some(sent[0].clone()), Some(sent[1].clone())];
    assert!(found == want, "rows differ from the stream's: {found:?} {want:?}");

    let many: Vec<Row> = (0..1001).map(|_| sent[0].clone()).collect();
    let found = fetch(&lab.worker, schema, &many).await.unwrap();
    assert!(found.len() == 1001 && found.iter().all(|row| row.as_ref() == Some(&sent[0])));
    lab.sql("ALTER TABLE public.t RENAME TO u; CREATE TABLE public.t (LIKE public.u)").await;
    assert!(fetch(&lab.worker, schema, &keys[..1]).await.unwrap()[0].is_some(), "followed by OID, not by name");
    lab.sql("ALTER TABLE public.u DROP COLUMN n").await;
    assert_eq!(fetch(&lab.worker, schema, &keys).await.unwrap_err().code, "TABLE_CHANGED");
    lab.sql("DROP TABLE public.u").await;
    let gone = fetch(&lab.worker, schema, &keys[..1]).await.unwrap_err();
    assert_eq!((gone.code, gone.class, gone.object.as_str()), ("TABLE_DROPPED", Class::Wait, "public.t"));
    lab.forget().await;
}

#[tokio::test]
async fn rows_are_read_only_once_what_was_told_is_visible() {
    let lab = Lab::new(shared(), "sighted", "public.t").await;
    lab.sql("CREATE TABLE public.t (id int PRIMARY KEY, v text); INSERT INTO public.t VALUES (1, 'old')").await;
    let prepared = lab.run().await.unwrap();
    let schema = &prepared.ready.tables[0];
    let writer = connect_sql(&lab.options.connect, "test").await.unwrap().0;
    // It stands for one whose commit is told while a standby keeps it from being visible: readers cannot tell.
    writer.batch_execute("BEGIN; UPDATE public.t SET v = 'new'").await.unwrap();
    let xid = writer.query_one("SELECT pg_current_xact_id()::text", &[]).await.unwrap().get::<_, String>(0);
    let xid = xid.parse::<u64>().unwrap() as u32;
    let (key, after) = ([row(&["1", ""])], [xid]);
    let missed = fetch_after(&lab.worker, schema, &key, &after).await.unwrap_err();
    assert_eq!((missed.code, missed.class, missed.object.as_str()), ("SOURCE_UNSEEN", Class::Retry, "public.t"));
    let (found, _) = tokio::join!(fetch_after(&lab.worker, schema, &key, &after), async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        writer.batch_execute("COMMIT").await.unwrap();
    });
    assert!(found.unwrap() == [Some(row(&["1", "new"]))], "the row as it was told");
    lab.forget().await;
}

fn at(lsn: Lsn, paused: bool) -> Checkpoint {
    Checkpoint {
        lsn,
        slot: String::new(),
        system_id: String::new(),
        timeline: 0,
        slot_incarnation: String::new(),
        publication_fingerprint: String::new(),
        incomplete_tables: Vec::new(),
        unseen: Vec::new(),
        paused,
        copy_paused: false,
    }
}

#[tokio::test]
async fn checkpoints_are_kept_and_never_go_back() {
    let lab = Lab::new(shared(), "kept", "shop.orders").await;
    lab.sql(SHOP).await;
    let store = &lab.checkpoints;
    assert_eq!(store.load().await.unwrap(), None, "no table yet");
    assert_eq!(store.save(&at(Lsn(5), false)).await.unwrap_err().class, Class::Bug, "no setup yet");
    let start = lab.run().await.unwrap().ready.start;
    let first = store.load().await.unwrap().unwrap();
    assert_eq!((first.lsn, first.slot.as_str(), first.paused), (start, "kept_slot", false));

    let later = Lsn(start.0 + 8);
    store.save(&at(later, true)).await.unwrap();
    store.save(&at(later, true)).await.unwrap();
    let kept = store.load().await.unwrap().unwrap();
    assert_eq!(kept, Checkpoint { lsn: later, paused: true, ..first }, "what it rests on comes from setup");
    assert_eq!(store.save(&at(start, false)).await.unwrap_err().code, "CHECKPOINT_INVALID");
    assert_eq!(store.load().await.unwrap().unwrap(), kept);

    // The session is found broken, and another takes its place.
    lab.sql(
        "SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity
         WHERE application_name = 'sluicegate/checkpoints' AND datname = 'kept'",
    )
    .await;
    store.save(&at(Lsn(later.0 + 8), false)).await.unwrap();
    assert_eq!(store.load().await.unwrap().unwrap().lsn, Lsn(later.0 + 8));
    lab.forget().await;
}

/// A status to watch for reasons.
struct Board {
    status: Status,
    meters: Meters,
}

impl Board {
    fn new() -> Board {
        let (status, meters) = Status::new("p", "s", "pub", Budget::new(1 << 20));
        Board { status, meters }
    }

    async fn until(&self, wanted: &[(&str, &str)]) {
        let mut changes = self.status.watch();
        let seen = || {
            let reasons = self.status.snapshot().reasons;
            reasons.iter().map(|active| (active.reason.code, active.reason.object.clone())).collect::<Vec<_>>()
        };
        let wait = async {
            while seen().iter().map(|(code, object)| (*code, object.as_str())).collect::<Vec<_>>() != wanted {
                changes.changed().await.unwrap();
            }
        };
        let waited = tokio::time::timeout(LONG, wait).await;
        assert!(waited.is_ok(), "wanted {wanted:?}, have {:?}", seen());
    }
}

#[tokio::test]
async fn the_watcher_tells_what_happens_to_tables_and_ends_on_a_gap() {
    let lab = Lab::new(shared(), "watched", "shop.*").await;
    lab.sql(SHOP).await;
    let prepared = lab.run().await.unwrap();
    let board = Board::new();
    let session = connect_sql(&lab.options.connect, "watcher").await.unwrap();
    let (notice, noticed) = signal::channel(false);
    let often = prepared.watch.every(Duration::from_millis(20));
    let watcher = tokio::spawn(watch(session, often, board.meters.source.clone(), notice));

    lab.sql("ALTER TABLE shop.orders RENAME TO sales").await;
    board.until(&[("TABLE_RENAMED", "shop.orders")]).await;
    lab.sql("ALTER TABLE shop.sales RENAME TO orders; ALTER TABLE shop.items REPLICA IDENTITY NOTHING").await;
    board.until(&[("IDENTITY_CHANGED", "shop.items")]).await;
    lab.sql("ALTER TABLE shop.items REPLICA IDENTITY FULL; ALTER TABLE shop.orders DROP CONSTRAINT orders_pkey").await;
    board.until(&[("KEY_CHANGED", "shop.orders")]).await;
    lab.sql("ALTER TABLE shop.orders ADD PRIMARY KEY (id); DROP TABLE shop.items").await;
    board.until(&[("TABLE_DROPPED", "shop.items")]).await;
    let health = board.status.snapshot().slot_health.unwrap();
    assert_eq!((health.wal_status.as_str(), health.active), ("reserved", false));

    lab.sql(
        "ALTER PUBLICATION watched_pub DROP TABLE shop.orders; ALTER PUBLICATION watched_pub ADD TABLE shop.orders",
    )
    .await;
    let reason = tokio::time::timeout(LONG, watcher).await.unwrap().unwrap();
    assert_eq!((reason.code, reason.class), ("PUBLICATION_CHANGED", Class::Resync));
    assert!(!*noticed.borrow(), "a gap is no shutdown");
    lab.forget().await;
}

#[tokio::test]
async fn a_shutdown_is_noticed_and_a_crash_loses_no_checkpoint() {
    let lazy = ["synchronous_commit = off", "wal_writer_delay = 10s", "autovacuum = off"];
    let cluster = Arc::new(Cluster::start(&lazy).unwrap());
    let lab = Lab::new(cluster, "stopped", "shop.orders").await;
    lab.sql(SHOP).await;
    let prepared = lab.run().await.unwrap();
    let board = Board::new();
    let session = connect_sql(&lab.options.connect, "watcher").await.unwrap();
    let (notice, mut noticed) = signal::channel(false);
    let watcher = tokio::spawn(watch(session, prepared.watch, board.meters.source.clone(), notice));

    // Written, but not to disk by anything except its own commit: the server dies before the WAL writer wakes.
    let later = Lsn(prepared.ready.start.0 + 8);
    lab.checkpoints.save(&at(later, false)).await.unwrap();
    lab.cluster.down("immediate", 60).unwrap();
    tokio::time::timeout(LONG, noticed.wait_for(|stop| *stop)).await.unwrap().unwrap();
    assert_eq!(watcher.await.unwrap().class, Class::Retry);
    lab.cluster.up().unwrap();
    assert_eq!(lab.checkpoints.load().await.unwrap().unwrap().lsn, later);

    let session = connect_sql(&lab.options.connect, "watcher").await.unwrap();
    let watch_again = setup_again(&lab).await.watch;
    let (notice, mut noticed) = signal::channel(false);
    let watcher = tokio::spawn(watch(session, watch_again, board.meters.source.clone(), notice));
    lab.cluster.down("fast", 60).unwrap();
    tokio::time::timeout(LONG, noticed.wait_for(|stop| *stop)).await.unwrap().unwrap();
    assert_eq!(watcher.await.unwrap().class, Class::Retry);
}

/// Setup on connections of its own, since a restart has closed the others.
async fn setup_again(lab: &Lab) -> Prepared {
    let worker = connect_sql(&lab.options.connect, "test").await.unwrap().0;
    let observer = connect_sql(&lab.options.connect, "test").await.unwrap().0;
    setup::run(&worker, &observer, &lab.options, &lab.checkpoints).await.unwrap()
}
