//! Large values that an update leaves alone do not travel: whatever else happens to their row, they stay what they are.
//!
//! A matrix: which columns change, how the row is changed, how the changes are spread over transactions and loads, and
//! what the table sends of old rows.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use mysql_async::prelude::Queryable;

use crate::world::World;

/// What the table sends of old rows.
const IDENTITIES: [(&str, &str); 3] =
    [("by_default", "DEFAULT"), ("by_index", "USING INDEX by_index_key"), ("by_full", "FULL")];

/// What happens to a row, one letter a step: (i)nsert, (u)pdate of the chosen columns, (v) update of the others, change
/// of the (k)ey alone, of the (K)ey and the chosen columns, (b)ack to the first key, (n)ull in the chosen columns,
/// (d)elete.
const SCRIPTS: [&str; 20] = [
    "i", "iu", "iuv", "iuu", "ik", "iK", "ikk", "iku", "iuk", "iKv", "ikb", "iKb", "ikd", "id", "iud", "idi", "iki",
    "in", "inv", "ink",
];

/// How the steps are spread.
const SPREADS: [Spread; 4] = [Spread::Together, Spread::Apart, Spread::InsertFirst, Spread::Loads];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Spread {
    /// All of a row in one transaction.
    Together,
    /// Each step in a transaction of its own, all of them at once.
    Apart,
    /// The row is in the target, then all other steps are one transaction.
    InsertFirst,
    /// Each step is in the target before the next.
    Loads,
}

/// One row of the matrix.
struct Case {
    table: &'static str,
    spread: Spread,
    script: &'static str,
    /// Which of the columns change, as bits.
    chosen: usize,
    /// Its first key.
    key: i64,
}

const COLUMNS: [&str; 3] = ["small", "large", "doc"];
/// What a change of key adds.
const MOVE: i64 = 1_000_000;

impl Case {
    /// Whether a column may ever be NULL.
    fn may_be_null(&self) -> bool {
        self.script.contains('n')
    }

    /// The statement of a step. Keys are known from the steps before.
    fn step(&self, at: usize) -> String {
        let table = self.table;
        let (mut key, mut next) = (self.key, self.key);
        for step in self.script[..=at].chars() {
            key = next;
            next = match step {
                'k' | 'K' => key + MOVE,
                'b' => self.key,
                _ => key,
            };
        }
        let value = |column: &str| match column {
            "small" => format!("small = {at}"),
            "large" => format!("large = repeat(md5('{}/{at}'), 100)", self.key),
            _ => format!("doc = jsonb_build_object('a', repeat(md5('{}/{at}'), 90), 'b', {at})", self.key),
        };
        let columns = |chosen: bool| {
            let all = COLUMNS.iter().enumerate();
            all.filter(move |(bit, _)| (self.chosen >> bit & 1 == 1) == chosen).map(|(_, column)| *column)
        };
        // An update of no column is one all the same.
        let set = |mut values: Vec<String>| {
            values.push("again = again + 1".to_owned());
            values.join(", ")
        };
        let update = |values: Vec<String>| format!("UPDATE shop.{table} SET {} WHERE id = {key};", set(values));
        match self.script.as_bytes()[at] {
            // Also after a move, which has left the first key free.
            b'i' => format!(
                "INSERT INTO shop.{table} (id, may_be_null, small, large, doc)
                 SELECT {first}, {}, {at}, repeat(md5('{first}'), 100), jsonb_build_object('a', repeat(md5('{first}'), 90));",
                u8::from(self.may_be_null()),
                first = self.key,
            ),
            b'u' => update(columns(true).map(value).collect()),
            b'v' => update(columns(false).map(value).collect()),
            b'k' | b'b' => update(vec![format!("id = {next}")]),
            b'K' => update(columns(true).map(value).chain([format!("id = {next}")]).collect()),
            b'n' => update(columns(true).map(|column| format!("{column} = NULL")).collect()),
            b'd' => format!("DELETE FROM shop.{table} WHERE id = {key};"),
            other => panic!("no step {other}"),
        }
    }

    /// Its statements by round: all loads of a round are done before the next begins.
    fn rounds(&self) -> Vec<String> {
        let steps: Vec<String> = (0..self.script.len()).map(|at| self.step(at)).collect();
        let one = |steps: &[String]| format!("BEGIN; {} COMMIT;", steps.concat());
        match self.spread {
            Spread::Together => vec![one(&steps)],
            Spread::Apart => vec![steps.iter().map(|step| one(std::slice::from_ref(step))).collect()],
            Spread::InsertFirst => vec![one(&steps[..1]), one(&steps[1..])],
            Spread::Loads => steps.iter().map(|step| one(std::slice::from_ref(step))).collect(),
        }
    }
}

fn matrix() -> Vec<Case> {
    let mut cases = Vec::new();
    for (table, _) in IDENTITIES {
        for spread in SPREADS {
            for script in SCRIPTS {
                for chosen in 0..1 << COLUMNS.len() {
                    cases.push(Case { table, spread, script, chosen, key: cases.len() as i64 + 1 });
                }
            }
        }
    }
    cases
}

fn tables() -> String {
    let table = |(name, identity): (&str, &str)| {
        format!(
            "CREATE TABLE {name} (id bigint NOT NULL, again integer NOT NULL DEFAULT 0, may_be_null integer NOT NULL, small integer,
                 large text, doc jsonb, CONSTRAINT {name}_pkey PRIMARY KEY (id));
             CREATE UNIQUE INDEX {name}_key ON {name} (id);
             ALTER TABLE {name} ALTER large SET STORAGE EXTERNAL, ALTER doc SET STORAGE EXTERNAL;
             ALTER TABLE {name} REPLICA IDENTITY {identity};"
        )
    };
    IDENTITIES.into_iter().map(table).collect()
}

/// Looks at the target all the time until told to stop; the rows seen with a NULL that the source never had, and how
/// often it looked.
async fn watch(mut target: mysql_async::Conn, stop: Arc<AtomicBool>) -> (Vec<String>, usize) {
    let (mut seen, mut looks) = (Vec::new(), 0);
    while !stop.load(Relaxed) {
        for (table, _) in IDENTITIES {
            let query = format!(
                "SELECT id FROM shop.{table} WHERE sluice_is_deleted = 0 AND may_be_null = 0
                 AND (small IS NULL OR large IS NULL OR doc IS NULL)"
            );
            let ids: Vec<i64> = target.query(&query).await.unwrap();
            seen.extend(ids.iter().map(|id| format!("{table} {id}")));
        }
        looks += 1;
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    (seen, looks)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unchanged_large_value_survives_every_change_of_its_row() {
    let world = World::new(&tables()).await;
    let cases = matrix();
    let living = cases.iter().filter(|case| !case.script.ends_with('d')).count();
    // A row that moved away and whose first key came again is two.
    let twice = cases.iter().filter(|case| case.script == "iki").count();
    println!("{} cases", cases.len());
    let sidecar = world.streaming().await;
    let stop = Arc::new(AtomicBool::new(false));
    let watcher = tokio::spawn(watch(world.standin.connect().await.unwrap(), stop.clone()));
    let rounds: Vec<Vec<String>> = cases.iter().map(Case::rounds).collect();
    for round in 0..rounds.iter().map(Vec::len).max().unwrap() {
        let statements: Vec<&str> = rounds.iter().filter_map(|rounds| rounds.get(round)).map(String::as_str).collect();
        world.sql(&statements.concat()).await;
        world.durable(&sidecar).await;
        let found = world.compare().await;
        assert!(found.differences.is_empty(), "after round {round}: {found}\n{}", world.logged());
    }
    stop.store(true, Relaxed);
    let (seen, looks) = watcher.await.unwrap();
    assert!(seen.is_empty() && looks > 0, "NULL where the source never had one: {seen:?}");
    assert_eq!(world.compare().await.rows, living + twice);
    println!("{} rows equal; no NULL in {looks} looks", world.equal(&sidecar).await);
}
