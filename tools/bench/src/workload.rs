//! What the backlogs consist of.

use crate::backlog::Changes;

/// One kind of work.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Workload {
    /// Short name.
    pub(crate) name: &'static str,
    /// What it is, for a person.
    pub(crate) title: &'static str,
    /// Row changes of a full run.
    pub(crate) rows_full: u64,
    /// Row changes of a quick run.
    pub(crate) rows_quick: u64,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    NarrowInserts,
    Updates { full_identity: bool },
    WideInserts,
    Giant { in_parts: bool },
}

/// All of them.
pub(crate) const WORKLOADS: [Workload; 6] = [
    Workload {
        name: "a",
        title: "narrow inserts, 1,000 rows a transaction",
        rows_full: 2_000_000,
        rows_quick: 600_000,
        kind: Kind::NarrowInserts,
    },
    Workload {
        name: "b",
        title: "updates, 1 row a transaction",
        rows_full: 1_000_000,
        rows_quick: 200_000,
        kind: Kind::Updates { full_identity: false },
    },
    Workload {
        name: "bf",
        title: "the same, REPLICA IDENTITY FULL",
        rows_full: 1_000_000,
        rows_quick: 200_000,
        kind: Kind::Updates { full_identity: true },
    },
    Workload {
        name: "c",
        title: "wide inserts, 20 columns, about 1 kB",
        rows_full: 500_000,
        rows_quick: 250_000,
        kind: Kind::WideInserts,
    },
    Workload {
        name: "d",
        title: "narrow inserts, one transaction",
        rows_full: 2_000_000,
        rows_quick: 600_000,
        kind: Kind::Giant { in_parts: false },
    },
    Workload {
        name: "ds",
        title: "the same, STREAM_LARGE_TRANSACTIONS",
        rows_full: 2_000_000,
        rows_quick: 600_000,
        kind: Kind::Giant { in_parts: true },
    },
];

/// Rows of the table whose rows are updated.
const UPDATED_ROWS: u64 = 100_000;
/// Rows of an ordinary transaction.
const BATCH: u64 = 1000;

pub(crate) const NARROW: &str =
    "CREATE TABLE public.t (a integer PRIMARY KEY, b integer NOT NULL, c integer, d char(84))";
pub(crate) const NARROW_ROW: &str =
    "i, i % 1000, CASE WHEN i % 10 > 0 THEN i * 7 % 100000 END, md5(i::text) || md5((-i)::text)";

const WIDE: &str = "CREATE TABLE public.t (
    id bigint PRIMARY KEY, n4 integer, n2 smallint, flag boolean, money numeric(14,2), ratio double precision, f4 real,
    born date, seen timestamp, placed timestamptz, token uuid, attributes jsonb, code varchar(24), kind char(8),
    title text, note text, street text, city text, body text, spare text)";
const WIDE_ROW: &str = "i, i % 77777, i % 100, i % 3 = 0, i % 1000000 / 100.0, i / 7.0, i % 1000 / 8.0,
    DATE '1970-01-01' + i % 20000, TIMESTAMP '2020-01-01' + i % 86400 * INTERVAL '1 s',
    TIMESTAMPTZ '2024-05-06 07:08:09.123456+00' + i * INTERVAL '1 ms', md5(i::text)::uuid,
    json_build_object('n', i, 'tags', ARRAY['red', 'blue'], 'on', i % 2 = 0)::jsonb, 'P' || i, 'new',
    'Title of the row ' || i, repeat('a quick \"note\" ', 6), i || ', Long Street', 'Zürich',
    repeat(md5(i::text), 16), NULL";

/// An anonymous block that runs this for every batch from `low` on and commits each.
fn committed_batches(rows: u64, statement: &str) -> String {
    format!(
        "DO $$ BEGIN FOR low IN 1..{rows} BY {BATCH} LOOP {statement}; COMMIT; END LOOP; END $$",
        rows = rows.max(1)
    )
}

impl Workload {
    /// The backlog of that many row changes.
    pub(crate) fn changes(&self, rows: u64) -> Changes {
        Changes {
            name: self.name.to_owned(),
            tables: vec!["t".to_owned()],
            setup: self.setup(),
            sessions: self.sessions(rows),
            marker: self.marker(),
            rows,
        }
    }

    /// Makes the empty table, and the rows that were there before.
    pub(crate) fn setup(&self) -> Vec<String> {
        match self.kind {
            Kind::NarrowInserts | Kind::Giant { .. } => vec![NARROW.to_owned()],
            Kind::WideInserts => vec![WIDE.to_owned()],
            Kind::Updates { full_identity } => {
                let fill =
                    format!("INSERT INTO public.t SELECT {NARROW_ROW} FROM generate_series(1, {UPDATED_ROWS}) i");
                let full = full_identity.then(|| "ALTER TABLE public.t REPLICA IDENTITY FULL".to_owned());
                // Room on each page keeps the updates from touching the index.
                let table = format!("{NARROW} WITH (fillfactor = 40)");
                [Some(table), full, Some(fill)].into_iter().flatten().collect()
            }
        }
    }

    /// Makes the changes; statements of different sessions.
    pub(crate) fn sessions(&self, rows: u64) -> Vec<String> {
        let inserts = |row: &str| {
            let last = format!("least(low + {}, {rows})", BATCH - 1);
            committed_batches(rows, &format!("INSERT INTO public.t SELECT {row} FROM generate_series(low, {last}) i"))
        };
        match self.kind {
            Kind::NarrowInserts => vec![inserts(NARROW_ROW)],
            Kind::WideInserts => vec![inserts(WIDE_ROW)],
            Kind::Giant { .. } => {
                vec![format!("INSERT INTO public.t SELECT {NARROW_ROW} FROM generate_series(1, {rows}) i")]
            }
            // Two sessions on disjoint halves, because one is slow.
            Kind::Updates { .. } => [0, 1].map(|half| Workload::updates(half, rows.div_ceil(2), rows / 2)).into(),
        }
    }

    fn updates(half: u64, first_half: u64, second_half: u64) -> String {
        let rows = if half == 0 { first_half } else { second_half };
        // A prime that does not divide the number of rows, so that every row has its turn.
        let key = format!("(i::bigint * 7919 % {}) * 2 + {half} + 1", UPDATED_ROWS / 2);
        format!(
            "DO $$ BEGIN FOR i IN 1..{rows} LOOP UPDATE public.t SET b = i WHERE a = {key}; COMMIT; END LOOP; END $$"
        )
    }

    /// What the sidecar is set to beside the usual.
    pub(crate) fn settings(&self) -> &'static [(&'static str, &'static str)] {
        match self.kind {
            Kind::Giant { in_parts: true } => &[("STREAM_LARGE_TRANSACTIONS", "true")],
            _ => &[],
        }
    }

    /// One more row, in a transaction of its own: the end.
    fn marker(&self) -> String {
        let row = if self.kind == Kind::WideInserts { WIDE_ROW } else { NARROW_ROW };
        format!("INSERT INTO public.t SELECT {row} FROM generate_series(0, 0) i")
    }
}
