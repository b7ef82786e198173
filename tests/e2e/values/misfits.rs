//! Values that the target cannot hold, many of each class, through insert, update and copy: each is what its policy says, and
//! counted under its class.

use std::collections::BTreeMap;

use super::equal::rule;
use super::{FAMILY, Tally, reader, source, target};
use crate::world::World;

/// Values of a class.
struct Misfit {
    ty: &'static str,
    class: &'static str,
    /// A query of one column.
    values: &'static str,
    /// What is loaded for a value `v` by the second list of policies, as PostgreSQL works it out; `None`: its table
    /// would wait.
    near: Option<&'static str>,
}

const fn misfit(ty: &'static str, class: &'static str, values: &'static str, near: Option<&'static str>) -> Misfit {
    Misfit { ty, class, values, near }
}

const DAY: Option<&str> = Some("CASE WHEN v < '0001-01-01' THEN '0001-01-01' ELSE '9999-12-31' END");
const MOMENT: Option<&str> =
    Some("CASE WHEN v < '0001-01-01 00:00:00' THEN '0001-01-01 00:00:00' ELSE '9999-12-31 23:59:59.999999' END");
/// The same, as PostgreSQL writes a moment with a zone.
const MOMENT_UTC: Option<&str> = Some(
    "CASE WHEN v < '0001-01-01 00:00:00+00' THEN '0001-01-01 00:00:00+00' ELSE '9999-12-31 23:59:59.999999+00' END",
);
const AS_STRING: Option<&str> = Some("to_json(v::text)");
const FROM_ONE: Option<&str> = Some("regexp_replace(v::text, '^[^=]*=', '')");
const LARGEST: Option<&str> = Some("CASE WHEN v > 0 THEN 999999999999999.99999 ELSE -999999999999999.99999 END");
const MOMENTS: &str = "SELECT timestamp '4713-01-01 00:00:00 BC' + n * interval '100 years 1 day 1.000001 seconds'
        FROM generate_series(0, 46) n
    UNION ALL SELECT timestamp '10000-01-01' + n * interval '2900 years 0.000001 seconds' FROM generate_series(0, 97) n
    UNION ALL VALUES (timestamp '0001-12-31 23:59:59.999999 BC'), ('294276-12-31 23:59:59.999999')";

/// Numbers without a precision stand in a DECIMAL(20,5).
const MISFITS: [Misfit; 19] = [
    misfit("numeric", "numeric_nan", "VALUES ('NaN')", Some("NULL")),
    misfit("numeric", "numeric_infinite", "VALUES ('Infinity'), ('-Infinity')", LARGEST),
    misfit(
        "numeric",
        "numeric_range",
        "SELECT s * 10::numeric ^ k FROM generate_series(15, 60) k, (VALUES (1), (-1)) s(s)
         UNION ALL SELECT repeat('9', 131072)::numeric UNION ALL SELECT 1000000000000000.000001",
        LARGEST,
    ),
    misfit(
        "numeric",
        "numeric_scale",
        "SELECT s * (n / 2.0 + 0.25) / 100000 FROM generate_series(0, 40) n, (VALUES (1), (-1)) s(s)
         UNION ALL VALUES (0.000005), (-0.000005), (1e-1000), (123456789.123456789), (-0.999995), (12345.000015)",
        Some("round(v, 5)"),
    ),
    // Rounded it would have a digit too many.
    misfit("numeric", "numeric_scale", "VALUES (999999999999999.999995), (-999999999999999.999999)", LARGEST),
    misfit("numeric(10,2)", "numeric_nan", "VALUES ('NaN')", Some("NULL")),
    misfit(
        "date",
        "date_range",
        "SELECT date '4713-01-01 BC' + n * 45000 FROM generate_series(0, 37) n
         UNION ALL SELECT date '10000-01-01' + n * 21000000 FROM generate_series(0, 99) n
         UNION ALL VALUES (date '0001-12-31 BC'), ('5874897-12-31')",
        DAY,
    ),
    misfit("date", "date_infinite", "VALUES ('infinity'), ('-infinity')", DAY),
    misfit("timestamp", "date_range", MOMENTS, MOMENT),
    misfit("timestamp", "date_infinite", "VALUES ('infinity'), ('-infinity')", MOMENT),
    misfit("timestamptz", "date_range", MOMENTS, MOMENT_UTC),
    misfit("timestamptz", "date_infinite", "VALUES ('infinity'), ('-infinity')", MOMENT_UTC),
    misfit(
        "text",
        "text_length",
        "SELECT repeat(c, n) FROM (VALUES ('a', 1048577), ('é', 524289), ('€', 349526), ('😀', 262145)) x(c, n)",
        Some("left(v, 1048576 / octet_length(left(v, 1)))"),
    ),
    misfit("bytea", "text_length", "SELECT decode(repeat('ab', 524288), 'hex')", None),
    misfit(
        "json",
        "json_number",
        "SELECT format(f, n) FROM unnest(ARRAY['%s', '[1, %s]', '{\"a\": {\"b\": -%s}}']) f, unnest(ARRAY['1e400', '1e-400',
            '18446744073709551616', '9007199254740993.0', '0.1000000000000000055511151231257827', '3.14159265358979323846',
            '123456789.123456789', '4.9e-324', '1e309', '100000000000000000000000000000000001']) n",
        AS_STRING,
    ),
    misfit(
        "json",
        "json_escape",
        "SELECT format('\"\\u%s\"', lpad(to_hex(n), 4, '0')) FROM generate_series(55296, 57343, 64) n
         UNION ALL VALUES ('\"\\u0000\"'), ('{\"\\u0000\": 1}'), ('[\"a\\\\\\u0000\"]'), ('\"\\udc00\\ud800\"'), ('\"\\ud800\\n\"')",
        AS_STRING,
    ),
    misfit("json", "json_depth", "SELECT repeat('[', n) || repeat(']', n) FROM unnest('{1001,1024,3000}'::int[]) n", AS_STRING),
    misfit("integer[]", "array_bounds", "VALUES ('[0:1]={1,2}'), ('[2:4]={1,NULL,3}'), ('[0:1][1:1]={{1},{2}}'), ('[-1:-1]={7}')", FROM_ONE),
    misfit("text[]", "array_bounds", "VALUES ('[0:1]={\"a=b\",NULL}'), ('[5:5]={\"{[1:1]={x}}\"}')", FROM_ONE),
];

const NEAR: &str = "clamp,numeric_nan=null,json_number=text,json_escape=text,json_depth=text";

/// The policy that `NEAR` has for a class.
fn near_policy(class: &str) -> &'static str {
    match class {
        "numeric_nan" => "null",
        "json_number" | "json_escape" | "json_depth" => "text",
        _ => "clamp",
    }
}

/// Makes the values, and what is near them, in `gen.m<at>`; their numbers.
async fn generate(world: &World) -> Vec<i64> {
    world.sql("CREATE SCHEMA gen; CREATE TABLE shop.misfits (id integer PRIMARY KEY)").await;
    let mut counts = Vec::new();
    for (at, Misfit { ty, values, near, .. }) in MISFITS.iter().enumerate() {
        let near = near.unwrap_or("NULL");
        world
            .sql(&format!(
                "ALTER TABLE shop.misfits ADD c{at} {ty};
                 CREATE TABLE gen.m{at} AS SELECT row_number() OVER () n, v, ({near})::text near FROM (SELECT q::{ty} FROM ({values}) u(q)) w(v)"
            ))
            .await;
        let count = world.client.query_one(&format!("SELECT count(*) FROM gen.m{at}"), &[]).await.unwrap();
        counts.push(count.get(0));
    }
    counts
}

/// What the target should hold in a family of rows, by number and column.
async fn wanted(world: &World, near: bool, columns: &[usize]) -> BTreeMap<(i64, usize), Option<String>> {
    let client = reader(world).await;
    let mut wanted = BTreeMap::new();
    for at in columns {
        for (n, values) in source(&client, &format!("SELECT n, near FROM gen.m{at}")).await {
            wanted.insert((n, *at), if near { values[0].clone() } else { None });
        }
    }
    wanted
}

async fn by_policies(policies: &str, near: bool) -> i64 {
    let mut world = World::new("").await;
    world.set("ON_BAD_VALUE", policies);
    world.set("NUMERIC_AS", "decimal(20,5)");
    let counts = generate(&world).await;
    let columns: Vec<usize> = (0..MISFITS.len()).filter(|at| !near || MISFITS[*at].near.is_some()).collect();
    // The first family comes by insert, the second by update, the third is left by update, and the fourth is copied.
    let rows = *counts.iter().max().unwrap();
    let numbers: String = [0, 1, 2]
        .map(|f| format!("INSERT INTO shop.misfits SELECT {f} * {FAMILY} + n FROM generate_series(1, {rows}) n;"))
        .concat();
    let set = |first: i64| {
        let one =
            |at: &usize| format!("UPDATE shop.misfits t SET c{at} = m.v FROM gen.m{at} m WHERE t.id = {first} + m.n;");
        columns.iter().map(one).collect::<String>()
    };
    let nulls: Vec<String> = columns.iter().map(|at| format!("c{at} = NULL")).collect();
    let leave =
        format!("UPDATE shop.misfits SET {} WHERE id > {} AND id < {};", nulls.join(", "), 2 * FAMILY, 3 * FAMILY);
    let copied = format!("INSERT INTO shop.misfits SELECT {} + n FROM generate_series(1, {rows}) n;", 3 * FAMILY);
    world.sql(&(copied + &set(3 * FAMILY))).await;
    let sidecar = world.streaming().await;
    for statements in [numbers + &set(0) + &set(2 * FAMILY), set(FAMILY) + &leave] {
        world.sql(&format!("BEGIN; {statements} COMMIT")).await;
        world.durable(&sidecar).await;
    }
    let status = sidecar.status().unwrap();
    assert!(status.reasons().is_empty(), "{:?}\n{}", status.reasons(), world.logged());
    let (wanted, have) = (wanted(&world, near, &columns).await, target(&world, "misfits", "id"));
    assert_eq!(have.len() as i64, 4 * rows);
    let mut tally = Tally::default();
    for (id, row) in &have {
        for at in &columns {
            let (family, n) = (id / FAMILY, id % FAMILY);
            let want = if family == 2 { None } else { wanted.get(&(n, *at)).cloned().flatten() };
            let Misfit { ty, class, .. } = &MISFITS[*at];
            let what = format!("{policies}: {ty} {class} in row {id}");
            tally.value(&what, rule(ty).kept_as_number(ty), want.as_deref(), row[&format!("c{at}")].as_deref());
        }
    }
    tally.none("misfits");
    let mut counted: BTreeMap<(String, String), u64> = BTreeMap::new();
    for at in &columns {
        let class = MISFITS[*at].class;
        let policy = if near { near_policy(class) } else { "null" };
        // Each family had each value once.
        *counted.entry((class.to_owned(), policy.to_owned())).or_default() += 4 * counts[*at] as u64;
    }
    assert_eq!(status.values_changed("shop.misfits"), counted, "{policies}");
    assert!(!world.logged().contains("999999999"), "no value is logged");
    columns.iter().map(|at| counts[*at]).sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn values_that_do_not_fit_are_what_their_policy_says() {
    let cases = by_policies("null", false).await;
    println!("{cases} values became NULL");
    assert!(cases >= 700, "{cases}");
    println!("{} became the nearest or their text", by_policies(NEAR, true).await);
}
