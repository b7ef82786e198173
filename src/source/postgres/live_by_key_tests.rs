//! Reading rows by key, in all the ways there are, against a real server.

use std::fmt::Write as _;
use std::sync::Arc;

use super::by_key::{ByKey, KEYS_MAX, ONLY_INDEXES};
use super::chunk_reader::PgChunks;
use super::contents::Contents;
use super::equality;
use super::fetch::fetch;
use super::live_copy_tests::{column, rest};
use super::live_tests::{Lab, row, shared};
use crate::model::{Row, TableSchema};
use crate::source::{ChunkConnection, ChunkReader, Part, Reader};

/// What the tables need. The extensions come apart, since not every server has them.
const TYPES: &str = "SET search_path = public, ext; CREATE TYPE place AS (x integer, name text);
    CREATE TYPE mood AS ENUM ('so', 'la la'); CREATE DOMAIN at_place AS place; CREATE DOMAIN mostly AS mood;
    CREATE DOMAIN numbers AS integer[]; CREATE DOMAIN short AS text COLLATE \"C\"; CREATE DOMAIN shorter AS short";

/// Key columns; the keys of two rows; the same as they may be asked for, and beside them one that is nowhere.
type Case = (&'static str, [&'static str; 2], &'static [&'static [&'static str]]);

const CASES: &[Case] = &[
    ("k integer", ["1", "-2"], &[&["1"], &["-2"], &["2"]]),
    ("k text", ["'it''s'", "'\\'"], &[&["it's"], &["\\"], &["IT'S"]]),
    ("k varchar(3)", ["'abc'", "''"], &[&["abc"], &[""], &["abcd"]]),
    ("k char(5)", ["'a'", "'ab'"], &[&["a    "], &["ab"], &["aba  "]]),
    ("k numeric", ["1.50", "'NaN'"], &[&["1.50"], &["1.5"], &["NaN"], &["1.51"]]),
    ("k numeric(10, 2)", ["1.5", "2"], &[&["1.50"], &["2.00"], &["2.001"]]),
    ("k real", ["'-0'", "0.1"], &[&["0"], &["-0"], &["0.1"], &["0.11"]]),
    ("k bytea", ["'\\x00'", "'\\xff'"], &[&["\\x00"], &["\\xff"], &["\\x0000"]]),
    ("k \"char\"", ["'a'", "'b'"], &[&["a"], &["b"], &["c"]]),
    ("k bit(3)", ["B'101'", "B'000'"], &[&["101"], &["000"], &["10"]]),
    ("k interval", ["'1 day'", "'1 mon'"], &[&["24:00:00"], &["1 mon"], &["00:00:01"]]),
    ("k text[]", ["'{a}'", "'{b,NULL,\"c d\"}'"], &[&["{a}"], &["{b,NULL,\"c d\"}"], &["{}"]]),
    ("k int4range", ["'[1,2]'", "'empty'"], &[&["[1,3)"], &["empty"], &["[1,2)"]]),
    ("k place", ["'(1,a)'", "'(2,\"b c\")'"], &[&["(1,a)"], &["(2,\"b c\")"], &["(2,b)"]]),
    ("k mood", ["'so'", "'la la'"], &[&["so"], &["la la"]]),
    ("k at_place", ["'(1,a)'", "'(2,\"b c\")'"], &[&["(1,a)"], &["(2,\"b c\")"], &["(1,\"\")"]]),
    ("k mostly", ["'so'", "'la la'"], &[&["so"], &["la la"]]),
    ("k numbers", ["'{1}'", "'{2,3}'"], &[&["{1}"], &["{2,3}"], &["{3}"]]),
    // The row that is too long was there before the check.
    ("k short", ["'long before'", "'b'"], &[&["long before"], &["b"], &["too long too"]]),
    ("k shorter COLLATE \"POSIX\"", ["'x'", "'X'"], &[&["x"], &["X"], &["y"]]),
    ("k ext.citext", ["'CaSe'", "'b'"], &[&["CaSe"], &["cAsE"], &["b"], &["c"]]),
    ("k ext.ltree", ["'Top'", "'Top.Science'"], &[&["Top"], &["Top.Science"], &["Science"]]),
    ("k ext.dcitext", ["'CaSe'", "'b'"], &[&["CASE"], &["b"], &["c"]]),
    ("k ext.dltree", ["'Top'", "'Top.Science'"], &[&["Top"], &["Top.Science"], &["Science"]]),
    (
        "\"T'\" ext.ltree, k place, \"k\"\"1\" char(3), d numeric(10, 2), e mostly",
        ["'a.b', '(1,x)', 'c', 1.5, 'so'", "'a', '(1,x)', 'c', 1.5, 'so'"],
        &[&["a.b", "(1,x)", "c  ", "1.5", "so"], &["a", "(1,x)", "c", "1.50", "so"], &["a", "(1,x)", "c", "1", "so"]],
    ),
];

/// A table for each case that the server can have. A row is `v`, and one that the publication's filter lets through
/// has a positive `k0`.
async fn tables(lab: &Lab) -> Vec<&'static Case> {
    lab.sql("CREATE SCHEMA ext").await;
    let extensions = "CREATE EXTENSION citext SCHEMA ext; CREATE EXTENSION ltree SCHEMA ext;
                      CREATE DOMAIN ext.dcitext AS ext.citext; CREATE DOMAIN ext.dltree AS ext.ltree";
    let extended = lab.admin.batch_execute(extensions).await;
    if let Err(error) = &extended {
        println!("keys of citext and ltree are not tried: {error:?}");
    }
    lab.sql(TYPES).await;
    let cases: Vec<&Case> = CASES.iter().filter(|case| extended.is_ok() || !case.0.contains("ext.")).collect();
    for (at, (columns, rows, _)) in cases.iter().enumerate() {
        let names = columns.replace("(10, 2)", "");
        let names: Vec<&str> = names.split(", ").map(|column| column.split(' ').next().unwrap()).collect();
        let names = names.join(", ");
        lab.sql(&format!(
            "CREATE TABLE public.t{at} ({columns}, k0 integer NOT NULL, v text, PRIMARY KEY ({names}));
             INSERT INTO public.t{at} VALUES ({}, 1, 'one'), ({}, 2, 'two')",
            rows[0], rows[1]
        ))
        .await;
    }
    lab.sql("ALTER DOMAIN short ADD CONSTRAINT is_short CHECK (length(value) < 5) NOT VALID").await;
    cases
}

/// Reads as the repairs of a copy do.
async fn by_copy(chunks: &PgChunks, schema: &Arc<TableSchema>, keys: &[&[&str]]) -> Vec<Row> {
    let mut connection = chunks.connect().await.unwrap();
    connection.begin().await.unwrap();
    let keys: Vec<Row> = keys.iter().map(|key| row(key)).collect();
    let read = connection.read(schema, &Part::Keys(keys.into())).await;
    read.unwrap_or_else(|error| panic!("{}: {error:?}", schema.name));
    rest(&mut connection).await.unwrap()
}

/// Reads as the second look of `verify` does.
async fn by_verify(contents: &Contents, schema: &TableSchema, keys: &[&[&str]]) -> Vec<String> {
    let keys: Vec<Vec<String>> = keys.iter().map(|key| key.iter().map(|part| (*part).to_owned()).collect()).collect();
    let v = schema.columns.len() - 1;
    let mut found = Vec::new();
    let mut take = |values: &[Option<&[u8]>]| found.push(String::from_utf8(values[0].unwrap().to_vec()).unwrap());
    let read = contents.rows(schema, &[v], &keys, &mut take).await;
    read.unwrap_or_else(|error| panic!("{}: {error:?}", schema.name));
    found.sort();
    found
}

#[tokio::test]
async fn rows_are_found_by_keys_of_any_type_however_they_are_written() {
    let mut lab = Lab::new(shared(), "by_key", "public.*").await;
    lab.options.copying = true;
    let cases = tables(&lab).await;
    assert!(cases.len() >= 20);
    let ready = lab.run().await.unwrap().ready;
    let chunks = PgChunks::new(lab.options.clone(), lab.checkpoints.clone());
    let (contents, _) = Contents::open(lab.options.clone()).await.unwrap();
    for (at, (columns, _, asked)) in cases.iter().enumerate() {
        let schema = ready.tables.iter().find(|table| table.name.name == format!("t{at}")).unwrap();
        let v = schema.columns.len() - 1;
        let copied = by_copy(&chunks, schema, asked).await;
        assert_eq!(column(&copied, v), ["one", "two"], "{columns}: each row once");
        assert_eq!(by_verify(&contents, schema, asked).await, ["one", "two"], "{columns}: each row once");
        // As they are written in the table.
        let again = fetch(&lab.worker, schema, &copied).await.unwrap();
        assert!(again.iter().map(Option::as_ref).eq(copied.iter().map(Some)), "{columns}: {again:?}");
    }
    lab.forget().await;
}

#[tokio::test]
async fn a_filter_means_the_tables_columns_and_rows_by_any_name() {
    let mut lab = Lab::new(shared(), "by_key_filter", "public.*").await;
    lab.options.copying = true;
    // The names are those that the condition itself uses.
    lab.sql(
        "CREATE TABLE public.k (k0 integer PRIMARY KEY, k integer, v text);
         INSERT INTO public.k VALUES (1, 1, 'one'), (2, -1, 'two'), (3, NULL, 'three'), (4, 4, NULL)",
    )
    .await;
    let publication =
        "CREATE PUBLICATION by_key_filter_pub FOR TABLE public.k WHERE (k > 0 AND k0 > 0 AND k IS NOT NULL)";
    if rig::major().unwrap() < 15 {
        assert_eq!(lab.refused(publication).await, "42601", "version 14 knows no filters");
        return;
    }
    lab.sql(publication).await;
    let schema = lab.run().await.unwrap().ready.tables[0].clone();
    let chunks = PgChunks::new(lab.options.clone(), lab.checkpoints.clone());
    let (contents, _) = Contents::open(lab.options.clone()).await.unwrap();
    let keys: &[&[&str]] = &[&["1"], &["2"], &["3"], &["5"]];
    assert_eq!(column(&by_copy(&chunks, &schema, keys).await, 2), ["one"]);
    assert_eq!(by_verify(&contents, &schema, keys).await, ["one"]);
    lab.forget().await;
}

/// Tables that the server never counts the rows of, and the keys of `at`, which many of their rows have.
const PLANS: &[(&str, &str)] = &[
    ("k integer PRIMARY KEY", "at"),
    ("k uuid PRIMARY KEY", "md5(at::text)::uuid"),
    ("k text PRIMARY KEY", "md5(at::text)"),
    ("k place PRIMARY KEY", "(at, 'x')::public.place"),
    ("k mostly, n numeric(12, 2), PRIMARY KEY (k, n)", "'so', at"),
    ("a integer, b varchar(40), c char(5), PRIMARY KEY (a, b, c)", "at / 100, md5(at::text), 'c'"),
    ("d integer, k integer, PRIMARY KEY (d, k)) PARTITION BY LIST (d", "at % 3, at"),
];

#[tokio::test]
async fn many_keys_are_looked_up_in_the_index() {
    let mut lab = Lab::new(shared(), "by_key_plans", "public.*").await;
    lab.options.copying = true;
    lab.sql(TYPES).await;
    for (at, (columns, keys)) in PLANS.iter().enumerate() {
        let mut sql = format!("CREATE TABLE public.t{at} ({columns}) WITH (autovacuum_enabled = off);");
        if columns.contains("PARTITION") {
            sql = format!("CREATE TABLE public.t{at} ({columns});");
            for leaf in 0..3 {
                _ = write!(sql, "CREATE TABLE public.t{at}_{leaf} PARTITION OF public.t{at} FOR VALUES IN ({leaf});");
            }
        }
        lab.sql(&format!("{sql} INSERT INTO public.t{at} SELECT {keys} FROM generate_series(1, 20000) at")).await;
    }
    let ready = lab.run().await.unwrap().ready;
    for counted in [false, true] {
        if counted {
            lab.sql("ANALYZE").await;
        }
        for (at, (columns, keys)) in PLANS.iter().enumerate() {
            let schema = ready.tables.iter().find(|table| table.name.name == format!("t{at}")).unwrap();
            for many in [1, KEYS_MAX] {
                let plan = plan(&lab, schema, keys, many).await;
                let bad = ["Seq Scan", "Hash Join", "Hash Semi", "Merge", "Join Filter"];
                let uses_index = plan.contains("Index Cond") && !bad.iter().any(|bad| plan.contains(bad));
                assert!(uses_index, "{columns}, {many} keys, counted: {counted}:\n{plan}");
            }
        }
    }
    lab.forget().await;
}

/// The server's plan for so many keys.
async fn plan(lab: &Lab, schema: &TableSchema, keys: &str, many: usize) -> String {
    let names: Vec<&str> = schema.key_columns().map(|column| column.name.as_str()).collect();
    let sql = format!(
        "SELECT ARRAY[{}::text] FROM (SELECT {keys} FROM generate_series(1, {many}) at) k({})",
        names.join("::text, "),
        names.join(", ")
    );
    let keys: Vec<Vec<String>> = lab.admin.query(&sql, &[]).await.unwrap().iter().map(|row| row.get(0)).collect();
    assert_eq!(keys.len(), many);
    let equalities = equality::columns(&lab.worker, schema.id).await.unwrap();
    let table = schema.name.to_string();
    let condition = ByKey::new(schema, &equalities).condition(&table, &keys);
    let begin = format!("BEGIN READ ONLY; {ONLY_INDEXES}");
    lab.worker.batch_execute(&begin).await.unwrap();
    let plan = lab.worker.query(&format!("EXPLAIN SELECT * FROM {table} WHERE {condition}"), &[]).await.unwrap();
    lab.worker.batch_execute("COMMIT").await.unwrap();
    plan.iter().map(|row| row.get::<_, String>(0) + "\n").collect()
}
