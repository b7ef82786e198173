//! `sluicegate verify`: what it finds, what it leaves alone, and what it needs for that.

use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use rig::Said;
use tokio::process::Command;

use crate::world::{World, binary};

/// Runs `verify` and reads its peak of resident memory in kB meanwhile.
async fn verify_with_peak(world: &World, arguments: &[&str]) -> (Said, u64) {
    let mut command = Command::new(binary());
    let environment = world.environment().iter().map(|(name, value)| (name, value));
    command.arg("verify").args(arguments).env_clear().envs(environment);
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let status = format!("/proc/{}/status", child.id().unwrap());
    let output = tokio::spawn(child.wait_with_output());
    let mut peak = 0;
    while !output.is_finished() {
        let text = std::fs::read_to_string(&status).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        peak = peak.max(line.and_then(|kb| kb.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let output = output.await.unwrap().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (Said { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }, peak)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_changed_byte_among_a_million_rows_is_found_and_named() {
    let world = World::new("CREATE TABLE t (id bigint PRIMARY KEY, note text, n integer)").await;
    let sidecar = world.streaming().await;
    let start = Instant::now();
    // In parts, so that a busy machine is given its time for each.
    for part in 0..5 {
        let (first, last) = (part * 200_000 + 1, (part + 1) * 200_000);
        let rows = format!("SELECT n, 'note ' || n, n % 1000 FROM generate_series({first}, {last}) n");
        world.sql(&format!("INSERT INTO shop.t {rows}")).await;
        world.durable(&sidecar).await;
    }
    println!("a million rows replicated in {:?}", start.elapsed());
    let (said, peak) = verify_with_peak(&world, &["shop.t"]).await;
    println!("{}peak {peak} kB", said.stdout);
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(said.stdout.ends_with("\nverified: 1 tables, 1000000 rows equal\n"), "{}", said.stdout);
    world.target("UPDATE shop.t SET note = 'mote 777777' WHERE id = 777777").await;
    let (said, peak) = verify_with_peak(&world, &[]).await;
    println!("{}peak {peak} kB", said.stdout);
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(said.stdout.contains("\n  id=777777  differs in note\n"), "{}", said.stdout);
    assert!(said.stdout.ends_with("\ndifferent: 1 tables, 999999 rows equal, 1 rows differ\n"), "{}", said.stdout);
    assert!(!said.stdout.contains("mote"), "values were not asked for");
    assert!(peak > 0 && peak < 100_000, "memory does not grow with the table: peak {peak} kB");
}

/// Tables of every kind that matters to reading: keys of several columns, filters, lists, partitions, odd names.
const KINDS: &str = "
    CREATE TABLE plain (id bigint PRIMARY KEY, note text, price numeric(12, 4), seen timestamptz, ok boolean, ratio double precision,
                        doc jsonb, raw bytea);
    CREATE TABLE pair (a text, b integer, n integer, PRIMARY KEY (b, a));
    CREATE TABLE filtered (id integer PRIMARY KEY, kind text NOT NULL, secret text, note text, UNIQUE (id, kind));
    ALTER TABLE filtered REPLICA IDENTITY USING INDEX filtered_id_kind_key;
    CREATE TABLE parts (id integer, part integer, note text, PRIMARY KEY (part, id)) PARTITION BY LIST (part);
    CREATE TABLE parts_1 PARTITION OF parts FOR VALUES IN (1);
    CREATE TABLE parts_2 PARTITION OF parts FOR VALUES IN (2);
    CREATE TABLE \"Odd \"\"name\" (\"Id\" uuid PRIMARY KEY, \"select\" text)";

const ROWS: &str = "
    INSERT INTO shop.plain SELECT n, CASE WHEN n % 3 = 0 THEN NULL ELSE E'line\\n\\t\\\\' || n END, n / 7.0,
        '2024-02-29 12:00:00.5+02'::timestamptz + n * interval '1 hour', n % 2 = 0, n / 3.0::float8,
        jsonb_build_object('b', n, 'a', jsonb_build_array(1.50, 'é\"', NULL)), decode(md5(n::text), 'hex')
        FROM generate_series(1, 3000) n;
    INSERT INTO shop.pair SELECT 'k''\\' || n % 7, n, n FROM generate_series(1, 500) n;
    INSERT INTO shop.filtered SELECT n, CASE WHEN n % 2 = 0 THEN 'in' ELSE 'out' END, 'hidden', 'note ' || n
        FROM generate_series(1, 400) n;
    INSERT INTO shop.parts SELECT n, n % 2 + 1, 'note' FROM generate_series(1, 300) n;
    INSERT INTO shop.\"Odd \"\"name\" SELECT md5(n::text)::uuid, 'x' FROM generate_series(1, 100) n;
    DELETE FROM shop.plain WHERE id % 10 = 0; DELETE FROM shop.pair WHERE b < 20;
    UPDATE shop.parts SET part = 2 WHERE id < 10";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_replicated_is_compared_and_each_kind_of_difference_is_named() {
    let world = World::new(KINDS).await;
    let publish = |filtered: &str| {
        format!(
            "CREATE PUBLICATION test_pub FOR TABLE shop.plain, shop.pair, shop.parts, shop.\"Odd \"\"name\", {filtered}
               WITH (publish_via_partition_root = true)"
        )
    };
    let filtered = world.client.batch_execute(&publish("shop.filtered (id, kind, note) WHERE (kind = 'in')")).await;
    assert_eq!(filtered.is_ok(), rig::major().unwrap() >= 15, "version 14 knows no filters: {filtered:?}");
    if filtered.is_err() {
        world.sql(&publish("shop.filtered")).await;
    }
    let filtered_rows = if filtered.is_ok() { 200 } else { 400 };
    let sidecar = world.streaming().await;
    world.sql(ROWS).await;
    assert_eq!(world.equal(&sidecar).await, 2700 + 481 + filtered_rows + 300 + 100);
    let changes = [
        "UPDATE shop.plain SET note = 'x', doc = NULL WHERE id = 11",
        "UPDATE shop.plain SET ratio = 0.5 WHERE id = 12",
        "UPDATE shop.plain SET sluice_is_deleted = true WHERE id = 13",
        "UPDATE shop.plain SET sluice_is_deleted = false WHERE id = 20",
        "DELETE FROM shop.pair WHERE b = 100",
        "UPDATE shop.pair SET n = NULL WHERE b = 101",
        "UPDATE shop.filtered SET note = 'changed' WHERE id = 2",
        "UPDATE shop.parts SET note = 'changed' WHERE id = 5",
    ];
    for change in changes {
        world.target(change).await;
    }
    let said = world.verify(&["--values"]).await;
    assert_eq!(said.code, Some(1), "{said:?}");
    println!("{}", said.stdout);
    for want in [
        "\n  id=11  differs in note, doc\n      note: source \"line\\n\\t\\\\11\", target \"x\"\n      doc: source ",
        "\n  id=12  differs in ratio\n      ratio: source \"4\", target \"0.5\"\n",
        "\n  id=13  missing in the target\n",
        "\n  id=20  not in the source\n",
        "\n  b=100, a=k'\\2  missing in the target\n",
        "\n  b=101, a=k'\\3  differs in n\n      n: source \"101\", target NULL\n",
        "\n  id=2, kind=in  differs in note\n",
        "\n  part=2, id=5  differs in note\n",
    ] {
        assert!(said.stdout.contains(want), "{want:?} is not in\n{}", said.stdout);
    }
    let note = "  - only the rows that pass the publication's filter are replicated and compared\n";
    assert_eq!(said.stdout.contains(note), filtered.is_ok(), "{}", said.stdout);
    assert!(said.stdout.ends_with(", 8 rows differ\n"), "{}", said.stdout);
    let some = world.verify(&["shop.\"Odd \"\"name\"", "--json"]).await;
    assert!(some.code == Some(0) && some.stdout.contains("\"source_rows\": 100"), "{some:?}");
    let few = world.verify(&["shop.plain", "--max-differences", "1"]).await;
    assert!(few.stdout.contains("… and 3 more\n") && !few.stdout.contains("id=12"), "{few:?}");
    let none = world.verify(&["shop.nowhere"]).await;
    assert!(none.code == Some(2) && none.stderr.contains("shop.nowhere is not among"), "{none:?}");
    assert!(!world.logged().contains("k'\\2"), "a key was logged");
    world.no_secret_was_logged();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn values_with_parts_are_equal_however_the_target_keeps_them() {
    let choices: [&[(&str, &str)]; 3] = [
        &[],
        &[
            ("ARRAY_AS", "array"),
            ("BYTEA_AS", "varbinary"),
            ("NUMERIC_AS", "decimal(38,9)"),
            ("SINK_COMPRESSION", "lz4"),
        ],
        &[("SINK_COMPRESSION", "zstd")],
    ];
    for choice in choices {
        let mut world = World::new(
            "CREATE EXTENSION hstore; CREATE TABLE t (id numeric(9, 2) PRIMARY KEY, a int[], b text[], c timestamptz[],
             d bool[], e numeric(9, 3)[], f float8[], g jsonb, h bytea, i hstore, j numeric, k money, l jsonb[], m inet)",
        )
        .await;
        choice.iter().for_each(|(name, value)| world.set(name, value));
        let sidecar = world.streaming().await;
        world
            .sql(
                "SET search_path = public, shop; INSERT INTO t SELECT n / 4.0, ARRAY[n, NULL, -n],
                     ARRAY['NULL', NULL, 'a,b', 'q\"\\', '', '{' || n || '}'], ARRAY['2024-02-29 12:00:00.5+02'::timestamptz],
                     ARRAY[n % 2 = 0, NULL], ARRAY[n / 8.0, 0], ARRAY[n / 3.0, 1e20, -0.5], 'null', decode(md5(n::text), 'hex'),
                     hstore(ARRAY['b', 'a'], ARRAY[NULL, 'x\"' || n]), n / 7.0::numeric(9, 4), n::numeric::money,
                     ARRAY['{\"b\": 1.50, \"a\": []}'::jsonb, NULL], ('10.0.0.' || n % 250)::inet
                 FROM generate_series(1, 200) n;
                 UPDATE t SET j = round(j, 4); INSERT INTO t (id, a, b, h, i) VALUES (-1, '{}', '{}', '', '')",
            )
            .await;
        assert_eq!(world.equal(&sidecar).await, 201, "{choice:?}");
        world.target("UPDATE shop.t SET b = NULL, h = NULL WHERE id = '7.50'").await;
        let said = world.verify(&[]).await;
        assert!(said.stdout.contains("\n  id=7.50  differs in b, h\n"), "{choice:?} {said:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_that_change_meanwhile_are_not_reported_and_those_that_differ_are() {
    let world = World::new("CREATE TABLE t (id bigint PRIMARY KEY, n integer, note text)").await;
    let sidecar = world.streaming().await;
    world.sql("INSERT INTO shop.t SELECT n, 0, 'note' FROM generate_series(1, 20000) n").await;
    world.durable(&sidecar).await;
    let stop = Arc::new(AtomicBool::new(false));
    let (client, stopped) = (world.cluster.client().await.unwrap(), stop.clone());
    let traffic = tokio::spawn(async move {
        let mut done = 0_u32;
        while !stopped.load(Relaxed) {
            let (from, new) = (done % 200 * 100, 100_000 + done);
            let statements = format!(
                "UPDATE shop.t SET n = n + 1 WHERE id BETWEEN {from} AND {from} + 20; INSERT INTO shop.t VALUES ({new}, 1);
                 DELETE FROM shop.t WHERE id = {from} + 50"
            );
            client.batch_execute(&statements).await.unwrap();
            done += 1;
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        done
    });
    let said = world.verify(&[]).await;
    println!("{said:?}");
    assert_eq!(said.code, Some(0), "{said:?}\n{}", world.logged());
    world.target("UPDATE shop.t SET note = 'other' WHERE id = 60").await;
    let said = world.verify(&[]).await;
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(said.stdout.contains("\n  id=60  differs in note\n"), "{}", said.stdout);
    assert!(said.stdout.ends_with(" 1 rows differ\n"), "{}", said.stdout);
    stop.store(true, Relaxed);
    println!("{} transactions meanwhile", traffic.await.unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_running_pipeline_it_says_what_to_do_and_a_blocked_table_is_explained() {
    let mut world = World::new(
        "CREATE TABLE narrow (id bigint PRIMARY KEY, note text); CREATE TABLE other (id bigint PRIMARY KEY);
         CREATE TABLE old (id bigint PRIMARY KEY, note text); INSERT INTO old SELECT n, 'old' FROM generate_series(1, 10) n",
    )
    .await;
    let said = world.verify(&["--timeout", "1", "shop.other"]).await;
    assert_eq!(said.code, Some(3), "{said:?}");
    assert!(said.stdout.contains("SINK_TABLE_MISSING") && said.stdout.contains("`sluicegate run`"), "{said:?}");
    world.target("CREATE DATABASE IF NOT EXISTS shop").await;
    world
        .target(
            "CREATE TABLE shop.narrow (id BIGINT NOT NULL, note VARCHAR(10) NULL) PRIMARY KEY (id) \
         DISTRIBUTED BY HASH(id) PROPERTIES (\"replication_num\" = \"1\")",
        )
        .await;
    world.set("SNAPSHOT", "never");
    let mut sidecar = world.streaming().await;
    world.sql("INSERT INTO shop.narrow VALUES (1, 'short'), (2, 'a value far too long for it')").await;
    world.sql("INSERT INTO shop.other SELECT n FROM generate_series(1, 100) n").await;
    world.until_reason(&sidecar, &["VALUE_OUT_OF_RANGE"]).await;
    world.until_count(&sidecar, "other", 100).await;
    let said = world.verify(&[]).await;
    println!("{}", said.stdout);
    assert_eq!(said.code, Some(1), "{said:?}");
    for want in ["the pipeline has blocked it: VALUE_OUT_OF_RANGE", "never copied", "10 missing"] {
        assert!(said.stdout.contains(want), "{want:?} is not in\n{}", said.stdout);
    }
    let other = said.stdout.lines().find(|line| line.starts_with("shop.other")).unwrap();
    assert!(other.ends_with("  equal"), "{other}");
    assert!(!said.stdout.contains("far too long"), "values were not asked for");
    // Without gRPC the stored position and the slot tell, and a pipeline that is gone is told apart.
    world.target("ALTER TABLE shop.narrow MODIFY COLUMN note VARCHAR(100) NULL").await;
    world.durable(&sidecar).await;
    world.set("GRPC_ADDR", "127.0.0.1:1");
    let said = world.verify(&["shop.narrow"]).await;
    assert_eq!(said.code, Some(0), "{said:?}");
    sidecar.kill().unwrap();
    world.sql("INSERT INTO shop.other VALUES (101)").await;
    let said = world.verify(&["--timeout", "1"]).await;
    assert!(said.code == Some(3) && said.stderr.contains("Nobody streams from its slot"), "{said:?}");
}
