//! Thousands of values made by PostgreSQL itself, through every kind of change, as value and as key: each arrives as
//! itself, or as its policy says.

mod cases;
mod equal;
mod misfits;

use std::collections::BTreeMap;

use rig::{Sidecar, Stored};
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, SimpleQueryMessage};

use self::cases::{Kind, generate};
use self::equal::Rule;
use crate::world::World;

/// Fewer would mean that a part of the suite was not run.
const CASES_MIN: i64 = 3500;
/// The rows of each family lie this far apart.
const FAMILY: i64 = 10_000;
/// What a difference shows of a value.
const SHOWN: usize = 80;

/// A connection whose texts are those that the documentation speaks of.
async fn reader(world: &World) -> Client {
    let client = world.cluster.client().await.unwrap();
    let pins = "SET TimeZone = 'UTC'; SET DateStyle = 'ISO'; SET extra_float_digits = 3; SET bytea_output = 'hex';
        SET lc_monetary = 'C'; SET IntervalStyle = 'postgres'; SET search_path = pg_catalog";
    client.batch_execute(pins).await.unwrap();
    client
}

/// A table's rows by number: the text of each column as PostgreSQL writes it.
async fn source(client: &Client, query: &str) -> BTreeMap<i64, Vec<Option<String>>> {
    let mut rows = BTreeMap::new();
    for message in client.simple_query(query).await.unwrap() {
        if let SimpleQueryMessage::Row(row) = message {
            let values = (1..row.len()).map(|at| row.get(at).map(str::to_owned)).collect();
            let before = rows.insert(row.get(0).unwrap().parse().unwrap(), values);
            assert!(before.is_none(), "{query} numbers its rows");
        }
    }
    rows
}

/// The living rows of the target by the number in a column; a number that comes twice is a row too many.
fn target(world: &World, table: &str, number: &str) -> BTreeMap<i64, Stored> {
    let mut rows = BTreeMap::new();
    let living = |row: &Stored| row["sluice_is_deleted"].as_deref() == Some(b"0");
    for row in world.standin.stored("shop", table).unwrap().into_iter().filter(living) {
        let text = row[number].clone().expect("a number");
        let before = rows.insert(std::str::from_utf8(&text).unwrap().parse().unwrap(), row);
        assert!(before.is_none(), "{table} has two rows for one");
    }
    rows
}

fn shown(value: Option<&[u8]>) -> String {
    value.map_or_else(
        || "NULL".to_owned(),
        |bytes| format!("{:?} ({} bytes)", String::from_utf8_lossy(&bytes[..bytes.len().min(SHOWN)]), bytes.len()),
    )
}

/// What was compared so far.
#[derive(Default)]
struct Tally {
    /// Values other than NULL.
    values: usize,
    differences: Vec<String>,
}

impl Tally {
    fn value(&mut self, what: &str, rule: Rule, source: Option<&str>, target: Option<&[u8]>) {
        self.values += usize::from(source.is_some());
        if !rule.same(source, target) {
            let (source, target) = (shown(source.map(str::as_bytes)), shown(target));
            self.differences.push(format!("{what}: source {source}, target {target}"));
        }
    }

    fn rows<A, B>(&mut self, what: &str, source: &BTreeMap<i64, A>, target: &BTreeMap<i64, B>) {
        let missing = source.keys().filter(|n| !target.contains_key(n)).count();
        let surplus = target.keys().filter(|n| !source.contains_key(n)).count();
        if (missing, surplus) != (0, 0) {
            self.differences.push(format!("{what}: {missing} rows are missing, {surplus} are too many"));
        }
    }

    fn none(&self, when: &str) {
        let first: Vec<_> = self.differences.iter().take(30).map(String::as_str).collect();
        assert!(first.is_empty(), "{when}: {} differences:\n{}", self.differences.len(), first.join("\n"));
    }
}

/// The columns of `shop.cases`, each made so that it holds the values of a kind.
async fn table_of_values(world: &World, kinds: &[Kind]) {
    let columns: Vec<String> = kinds.iter().map(|kind| format!("ADD c{} {}", kind.at, kind.ty)).collect();
    world.sql(&format!("ALTER TABLE shop.cases {}", columns.join(", "))).await;
}

/// The rows of a family, each with the value of every kind that stands `shift` places after its number.
fn family(kinds: &[Kind], first: i64, shift: i64) -> String {
    let rows = kinds.iter().map(|kind| kind.count).max().unwrap();
    let values: String = kinds.iter().map(|kind| format!(", c{}.v", kind.at)).collect();
    let join = |Kind { at, count, .. }: &Kind| {
        format!(" LEFT JOIN gen.c{at} ON g <= {count} AND c{at}.n = (g - 1 + {shift}) % {count} + 1")
    };
    let joins: String = kinds.iter().map(join).collect();
    format!("SELECT {first} + g{values} FROM generate_series(1, {rows}) g{joins}")
}

fn insert(kinds: &[Kind], first: i64, shift: i64) -> String {
    insert_into("cases", kinds, first, shift)
}

fn insert_into(table: &str, kinds: &[Kind], first: i64, shift: i64) -> String {
    format!("INSERT INTO shop.{table} {};", family(kinds, first, shift))
}

fn update(kinds: &[Kind], first: i64, shift: i64) -> String {
    let names: Vec<String> = kinds.iter().map(|kind| format!("c{}", kind.at)).collect();
    let set: Vec<String> = names.iter().map(|name| format!("{name} = x.{name}")).collect();
    let (set, names, rows) = (set.join(", "), names.join(", "), family(kinds, first, shift));
    format!("UPDATE shop.cases t SET {set} FROM ({rows}) x (id, {names}) WHERE t.id = x.id;")
}

/// Compares `shop.cases` value by value.
async fn compare_values(world: &World, kinds: &[Kind], client: &Client, when: &str) -> usize {
    let (want, have) = (source(client, "SELECT * FROM shop.cases").await, target(world, "cases", "id"));
    let compare = || {
        let mut tally = Tally::default();
        tally.rows(when, &want, &have);
        for (id, values) in &want {
            let Some(row) = have.get(id) else { continue };
            for (kind, value) in kinds.iter().zip(values) {
                let (name, what) = (format!("c{}", kind.at), format!("{} in row {id}", kind.ty));
                tally.value(&what, kind.rule, value.as_deref(), row[&name].as_deref());
            }
        }
        tally
    };
    let tally = on_a_large_stack(compare);
    tally.none(when);
    tally.values
}

/// The plain rules read documents of a thousand levels by calling themselves.
fn on_a_large_stack<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let builder = std::thread::Builder::new().stack_size(256 << 20);
        builder.spawn_scoped(scope, work).unwrap().join().unwrap()
    })
}

/// Changes in which every value comes by insert and by update, is left by update, and goes by delete; with and without
/// the old row in the stream.
fn stages(kinds: &[Kind]) -> Vec<(&'static str, String)> {
    let (a, b, c) = (0, FAMILY, 2 * FAMILY);
    let delete = |first: i64| format!("DELETE FROM shop.cases WHERE id > {first} AND id < {};", first + FAMILY);
    vec![
        ("insert", insert(kinds, a, 0) + &insert(kinds, b, 1) + &insert(kinds, c, 0)),
        ("update and delete", update(kinds, a, 1) + &update(kinds, b, 0) + &delete(c)),
        ("delete and insert again", delete(b) + &insert(kinds, b, 0)),
        ("whole old rows", "ALTER TABLE shop.cases REPLICA IDENTITY FULL;".to_owned() + &update(kinds, a, 0)),
        ("delete of whole rows", delete(b)),
    ]
}

/// Waits until all is durable; nothing may have been loaded as something else.
async fn arrived(world: &World, sidecar: &Sidecar) {
    world.durable(sidecar).await;
    let status = sidecar.status().unwrap();
    assert!(status.reasons().is_empty(), "{:?}\n{}", status.reasons(), world.logged());
    assert_eq!(status.values_changed("shop.cases"), BTreeMap::new(), "every value of the suite can be held");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_value_arrives_as_itself_by_every_kind_of_change() {
    let mut world = World::new("").await;
    // So that a value wrongly taken for one that does not fit is shown, and does not stop its table.
    world.set("ON_BAD_VALUE", "null");
    let kinds = generate(&world).await;
    let cases: i64 = kinds.iter().map(|kind| kind.count).sum();
    println!("{cases} cases of {} kinds", kinds.len());
    assert!(cases >= CASES_MIN, "{cases} cases");
    table_of_values(&world, &kinds).await;
    let client = reader(&world).await;
    let sidecar = world.streaming().await;
    let mut compared = 0;
    for (when, statements) in stages(&kinds) {
        world.sql(&format!("BEGIN; {statements} COMMIT")).await;
        arrived(&world, &sidecar).await;
        compared += compare_values(&world, &kinds, &client, when).await;
    }
    println!("{compared} values compared");
    assert!(compared as i64 >= 3 * cases, "most values are compared, and not NULL alone: {compared}");
    world.equal(&sidecar).await;
}

/// The kinds that can be a key, each with a table `shop.k<at>` and its distinct values of up to 128 bytes in
/// `gen.k<at>`; how many values.
async fn key_tables(world: &World, kinds: Vec<Kind>) -> (Vec<Kind>, i64) {
    let (mut keys, mut cases) = (Vec::new(), 0);
    for kind in kinds {
        let Kind { at, ty, .. } = &kind;
        let table = format!("CREATE TABLE shop.k{at} (k {ty} PRIMARY KEY, n bigint)");
        let values = format!(
            "CREATE TABLE gen.k{at} (n bigint PRIMARY KEY, v {ty}); INSERT INTO gen.k{at} SELECT row_number() OVER (), v
             FROM (SELECT DISTINCT ON (v) v FROM gen.c{at} WHERE octet_length(format('%s', v)) <= 128 ORDER BY v, n) x"
        );
        // A type without an order is no key; one whose elements have none is told apart only when they are compared.
        if let Err(error) = world.client.batch_execute(&format!("BEGIN; {table}; {values}; COMMIT")).await {
            let no_order = [SqlState::UNDEFINED_OBJECT, SqlState::UNDEFINED_FUNCTION];
            assert!(error.code().is_some_and(|code| no_order.contains(code)), "{ty}: {error:?}");
            world.sql("ROLLBACK").await;
            continue;
        }
        let query = format!("SELECT count(*) FROM gen.k{at}");
        cases += world.client.query_one(&query, &[]).await.unwrap().get::<_, i64>(0);
        keys.push(kind);
    }
    (keys, cases)
}

/// Changes in which every key comes, goes, moves to another's place and comes back.
const KEY_STAGES: [(&str, &str); 3] = [
    ("insert", "INSERT INTO shop.k$ SELECT v, n FROM gen.k$;"),
    (
        "update, delete and move",
        "UPDATE shop.k$ SET n = n + 100000 WHERE n % 3 = 0; DELETE FROM shop.k$ WHERE n % 3 = 1 AND n < 100000;
         UPDATE shop.k$ t SET k = g.v FROM gen.k$ g WHERE t.n % 3 = 2 AND t.n < 100000 AND g.n = t.n - 1;",
    ),
    ("come back", "INSERT INTO shop.k$ SELECT v, n + 500000 FROM gen.k$ WHERE n % 3 = 2;"),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_value_that_can_be_a_key_is_one() {
    let world = World::new("").await;
    let kinds = generate(&world).await;
    let (keys, cases) = key_tables(&world, kinds).await;
    println!("{cases} keys of {} kinds", keys.len());
    assert!(cases >= 3000 && keys.len() >= 90, "{cases} keys of {} kinds", keys.len());
    let client = reader(&world).await;
    let sidecar = world.streaming().await;
    for (when, statements) in KEY_STAGES {
        let all: String = keys.iter().map(|kind| statements.replace('$', &kind.at.to_string())).collect();
        world.sql(&format!("BEGIN; {all} COMMIT")).await;
        world.durable(&sidecar).await;
        let mut tally = Tally::default();
        for Kind { at, ty, rule, .. } in &keys {
            let (table, rule) = (format!("k{at}"), rule.in_key(ty));
            let want = source(&client, &format!("SELECT n, k FROM shop.{table}")).await;
            let have = target(&world, &table, "n");
            tally.rows(ty, &want, &have);
            for (n, values) in &want {
                let Some(row) = have.get(n) else { continue };
                tally.value(&format!("{ty} in row {n}"), rule, values[0].as_deref(), row["k"].as_deref());
            }
        }
        tally.none(when);
        println!("{when}: {} keys compared", tally.values);
    }
    world.equal(&sidecar).await;
}

/// The rows of a table byte for byte, but for what tells of their loads, in order.
fn bytes(world: &World, table: &str) -> Vec<Stored> {
    let mut rows = world.standin.stored("shop", table).unwrap();
    for row in &mut rows {
        for audit in ["sluice_op_type", "sluice_synced_at", "sluice_cdc_version"] {
            row.remove(audit).expect("an audit column");
        }
    }
    rows.sort();
    rows
}

/// What differs between a table whose rows were copied and one whose rows came by the stream.
fn copied_differs(world: &World, copied: &str, streamed: &str, what: &str) -> Vec<String> {
    let (copied, streamed) = (bytes(world, copied), bytes(world, streamed));
    let mut found = Vec::new();
    if copied.len() != streamed.len() {
        found.push(format!("{what}: {} rows copied, {} streamed", copied.len(), streamed.len()));
    }
    for (copied, streamed) in copied.iter().zip(&streamed) {
        let differing = copied.iter().filter(|(name, value)| streamed.get(*name) != Some(value));
        found.extend(differing.map(|(name, value)| {
            let other = streamed.get(name).and_then(|value| value.as_deref());
            format!("{what} {name}: copied {}, streamed {}", shown(value.as_deref()), shown(other))
        }));
    }
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn copied_rows_are_byte_for_byte_those_that_stream() {
    let mut world = World::new("").await;
    world.set("ON_BAD_VALUE", "null");
    let kinds = generate(&world).await;
    table_of_values(&world, &kinds).await;
    world.sql("CREATE TABLE shop.copied (LIKE shop.cases INCLUDING ALL)").await;
    world.sql(&insert_into("copied", &kinds, 0, 0)).await;
    let (insert, cases) = (insert(&kinds, 0, 0), kinds.iter().map(|kind| kind.count).sum::<i64>());
    let (keys, key_cases) = key_tables(&world, kinds).await;
    for Kind { at, .. } in &keys {
        let table = format!("CREATE TABLE shop.p{at} (LIKE shop.k{at} INCLUDING ALL)");
        world.sql(&format!("{table}; INSERT INTO shop.p{at} SELECT v, n FROM gen.k{at}")).await;
    }
    let sidecar = world.streaming().await;
    let stream = |kind: &Kind| KEY_STAGES[0].1.replace('$', &kind.at.to_string());
    let streamed: String = keys.iter().map(stream).collect();
    world.sql(&format!("BEGIN; {insert} {streamed} COMMIT")).await;
    arrived(&world, &sidecar).await;
    let status = sidecar.status().unwrap();
    assert_eq!(status.values_changed("shop.copied"), BTreeMap::new(), "every value of the suite can be held");
    let mut differences = copied_differs(&world, "copied", "cases", "row");
    for Kind { at, ty, .. } in &keys {
        differences.extend(copied_differs(&world, &format!("p{at}"), &format!("k{at}"), ty));
    }
    let first: Vec<_> = differences.iter().take(30).map(String::as_str).collect();
    assert!(first.is_empty(), "{} differences:\n{}", differences.len(), first.join("\n"));
    println!("{cases} values and {key_cases} keys are the same bytes, copied or streamed");
    world.equal(&sidecar).await;
}
