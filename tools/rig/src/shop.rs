//! A small shop: tables with the ordinary types and keys, and people who use it.

use std::time::Duration;

use tokio_postgres::{Client, Error};

/// The schema's name.
pub const SCHEMA: &str = "shop";

const TABLES: &str = "
CREATE SCHEMA shop;
CREATE TABLE shop.customers (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  email text NOT NULL UNIQUE,
  name varchar(80),
  active boolean NOT NULL DEFAULT true,
  balance numeric(12,2) NOT NULL DEFAULT 0,
  born date,
  joined timestamptz NOT NULL DEFAULT clock_timestamp());
CREATE TABLE shop.products (
  sku varchar(24) PRIMARY KEY,
  title text NOT NULL,
  price numeric(10,2) NOT NULL,
  weight double precision,
  attributes jsonb,
  description text,
  changed timestamp(6) NOT NULL DEFAULT clock_timestamp());
ALTER TABLE shop.products ALTER COLUMN description SET STORAGE EXTERNAL;
CREATE TABLE shop.orders (
  id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  customer_id bigint NOT NULL,
  status char(9) NOT NULL,
  total numeric(14,2) NOT NULL,
  note text,
  placed timestamptz NOT NULL DEFAULT clock_timestamp());
CREATE TABLE shop.order_lines (
  order_id uuid NOT NULL,
  line integer NOT NULL,
  sku varchar(24) NOT NULL,
  quantity smallint NOT NULL,
  price real NOT NULL,
  PRIMARY KEY (order_id, line));
CREATE TABLE shop.carts (
  session varchar(32) PRIMARY KEY,
  payload json,
  digest bytea,
  changed timestamptz NOT NULL DEFAULT clock_timestamp());
";

/// Creates the empty tables.
///
/// # Errors
/// Whatever the server says.
pub async fn create(client: &Client) -> Result<(), Error> {
    client.batch_execute(TABLES).await
}

/// Puts rows into them that are there before anybody follows changes: about so many in all.
///
/// # Errors
/// Whatever the server says.
pub async fn fill(client: &Client, rows: u32) -> Result<(), Error> {
    let third = rows / 3;
    let statements = format!(
        "INSERT INTO shop.customers (email, name, balance) SELECT 'old' || n || '@example.org', 'Customer ' || n, n % 500
             FROM generate_series(1, {third}) n;
         INSERT INTO shop.orders (customer_id, status, total, note) SELECT n, 'shipped', n % 900, repeat('long ago ', n % 9)
             FROM generate_series(1, {third}) n;
         INSERT INTO shop.carts (session, payload, digest) SELECT md5(n::text), '{{\"items\": [1, 2, 3]}}',
             decode(md5(n::text), 'hex') FROM generate_series(1, {third}) n"
    );
    client.batch_execute(&statements).await
}

/// What people do, one transaction at a time, with a fixed seed: inserts, updates, deletes, updates that leave a
/// large value alone, changed keys, and now and then a truncate.
#[derive(Debug)]
pub struct Traffic {
    random: fastrand::Rng,
    done: u64,
}

impl Traffic {
    /// The same seed does the same.
    pub fn new(seed: u64) -> Traffic {
        Traffic { random: fastrand::Rng::with_seed(seed), done: 0 }
    }

    /// Transactions done.
    pub fn done(&self) -> u64 {
        self.done
    }

    /// Does transactions one after the other, with pauses in between, until `stop` says so.
    ///
    /// # Errors
    /// Whatever the server says.
    pub async fn run(&mut self, client: &Client, pause: Duration, stop: impl Fn() -> bool) -> Result<(), Error> {
        while !stop() {
            self.step(client).await?;
            if !pause.is_zero() {
                tokio::time::sleep(pause).await;
            }
        }
        Ok(())
    }

    /// Does one transaction.
    ///
    /// # Errors
    /// Whatever the server says.
    pub async fn step(&mut self, client: &Client) -> Result<(), Error> {
        self.done += 1;
        let statement = self.statement();
        client.batch_execute(&statement).await
    }

    fn statement(&mut self) -> String {
        let n = self.done;
        let text = self.text();
        let any = |table: &str, key: &str| {
            format!(
                "(SELECT {key} FROM shop.{table} OFFSET floor(random() * (SELECT count(*) FROM shop.{table})) LIMIT 1)"
            )
        };
        match self.random.u32(0..100) {
            _ if n <= 20 => self.new_product(n),
            0..15 => format!(
                "INSERT INTO shop.customers (email, name, balance, born) \
                 VALUES ('c{n}@example.com', {text}, {}.{:02}, DATE '1950-01-01' + {})",
                self.random.i32(-500..5000),
                self.random.u8(0..100),
                self.random.u16(0..20000)
            ),
            15..45 => self.new_order(),
            45..60 => format!(
                "UPDATE shop.orders SET status = '{}', note = {text} WHERE id = {}",
                ["paid", "packed", "sent", "returned"][self.random.usize(0..4)],
                any("orders", "id")
            ),
            60..70 => format!(
                "UPDATE shop.products SET price = price + 0.01, changed = clock_timestamp() WHERE sku = {}",
                any("products", "sku")
            ),
            70..74 => self.new_product(n),
            74..77 => format!("UPDATE shop.products SET sku = 'K{n}' WHERE sku = {}", any("products", "sku")),
            77..82 => format!(
                "WITH gone AS (DELETE FROM shop.orders WHERE id = {} RETURNING id) \
                 DELETE FROM shop.order_lines WHERE order_id IN (SELECT id FROM gone)",
                any("orders", "id")
            ),
            82..85 => format!("DELETE FROM shop.customers WHERE id = {}", any("customers", "id")),
            85..97 => format!(
                "INSERT INTO shop.carts (session, payload, digest) VALUES ('s{}', \
                 json_build_object('n', {n}, 'text', {text}), decode(md5('{n}'), 'hex')) ON CONFLICT (session) \
                 DO UPDATE SET payload = excluded.payload, changed = clock_timestamp()",
                self.random.u32(0..200)
            ),
            97..99 => "UPDATE shop.customers SET active = NOT active, name = NULL WHERE id % 7 = 3".to_owned(),
            _ => "BEGIN; TRUNCATE shop.carts; INSERT INTO shop.carts (session) VALUES ('first'); COMMIT".to_owned(),
        }
    }

    fn new_product(&mut self, n: u64) -> String {
        let large: String = std::iter::repeat_with(|| self.random.alphanumeric()).take(4000).collect();
        let title = self.text();
        format!(
            "INSERT INTO shop.products (sku, title, price, weight, attributes, description) VALUES \
             ('P{n}', {title}, {}.5, {}, '{{\"n\": {n}, \"sizes\": [1, 2.5, null], \"\\u00fc\": \"\\\"\"}}', '{large}')",
            self.random.u16(1..900),
            self.random.f64() * 1e3
        )
    }

    fn new_order(&mut self) -> String {
        let (lines, note) = (self.random.u8(1..6), self.text());
        format!(
            "WITH o AS (INSERT INTO shop.orders (customer_id, status, total, note) \
             VALUES ({}, 'new', {}.99, {note}) RETURNING id) \
             INSERT INTO shop.order_lines SELECT id, line, 'P' || line, line * 3, line / 3.0 \
             FROM o, generate_series(1, {lines}) AS line",
            self.random.u32(1..1000),
            self.random.u32(1..100_000)
        )
    }

    /// A literal of text that is not easy: quotes, backslashes, control characters, all planes of Unicode.
    fn text(&mut self) -> String {
        const PIECES: [&str; 12] =
            ["plain", "O''Reilly", "\\N", "\\\\", "\"quoted\"", "\t\n\r", "\u{1}", "über", "日本語", "😀", "null", ""];
        let pieces: Vec<_> = (0..self.random.u8(0..4)).map(|_| PIECES[self.random.usize(0..PIECES.len())]).collect();
        format!("'{}'", pieces.join(" "))
    }
}
