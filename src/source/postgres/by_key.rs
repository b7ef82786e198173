//! Finds rows by key: one condition for all who read rows that way.
//!
//! In: a table, keys as text. Out: a condition for a WHERE. Always: values are compared as the table's own index
//! compares them; a row is found once, however often and however differently written its key is asked for. The
//! condition names every column by its table, and brings no name that a publication's row filter beside it could mean
//! instead: filters name their columns, and whole rows, without a schema. Not here: the statement around it. Start at
//! [`ByKey::condition`].

use super::equality::{Equalities, Equality};
use super::quote::{identifier, literal};
use crate::model::TableSchema;

/// Keys in one statement: planning more at once takes the server longer than it saves.
pub(super) const KEYS_MAX: usize = 500;

/// How a transaction keeps the plans for keys to an index, even where the server has never counted the table's rows,
/// and to looking up one key after the other: other joins would read the index from end to end.
pub(super) const ONLY_INDEXES: &str = "SET LOCAL enable_seqscan = off; SET LOCAL enable_indexscan = on; \
     SET LOCAL enable_indexonlyscan = on; SET LOCAL enable_bitmapscan = on; SET LOCAL enable_nestloop = on; \
     SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off";

/// A key column, and how it is compared.
#[derive(Debug)]
struct KeyColumn {
    /// Quoted; a domain is taken for what it rests on.
    name: String,
    operator: String,
    /// The cast of what it is compared with: `::integer`.
    cast: String,
}

/// The key of a table.
#[derive(Debug)]
pub(super) struct ByKey {
    columns: Vec<KeyColumn>,
}

impl ByKey {
    /// A key column that the table no longer has goes without a type: the server then says so.
    pub(super) fn new(schema: &TableSchema, equalities: &Equalities) -> ByKey {
        let column = |at: &usize| {
            let name = &schema.columns[*at].name;
            let quoted = identifier(name);
            let Some(Equality { ty, operator, domain }) = equalities.get(name) else {
                return KeyColumn { name: quoted, operator: "=".to_owned(), cast: String::new() };
            };
            let cast = format!("::{ty}");
            let name = if *domain { format!("{quoted}{cast}") } else { quoted };
            KeyColumn { name, operator: operator.clone(), cast }
        };
        ByKey { columns: schema.key.iter().map(column).collect() }
    }

    /// Whether a row of the table has one of these keys, of which each is the text of all key columns. `table` is
    /// qualified and quoted, and stands in the FROM without an alias.
    pub(super) fn condition<S: AsRef<str>>(&self, table: &str, keys: &[Vec<S>]) -> String {
        let names: Vec<String> = (0..self.columns.len()).map(|at| format!("k{at}")).collect();
        let tuples: Vec<String> = keys.iter().map(|key| self.tuple(key)).collect();
        let equal = self.columns.iter().zip(&names).map(|(column, value)| {
            let KeyColumn { name, operator, .. } = column;
            format!("{table}.{name} {operator} k.{value}")
        });
        format!(
            "EXISTS (SELECT FROM (VALUES {}) AS k({}) WHERE {})",
            tuples.join(", "),
            names.join(", "),
            equal.collect::<Vec<_>>().join(" AND ")
        )
    }

    fn tuple<S: AsRef<str>>(&self, key: &[S]) -> String {
        let value = |(part, column): (&S, &KeyColumn)| format!("{}{}", literal(part.as_ref()), column.cast);
        format!("({})", key.iter().zip(&self.columns).map(value).collect::<Vec<_>>().join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Column, ColumnType, TableId, TableName};

    #[test]
    fn values_get_the_type_and_operator_of_their_column() {
        let column = |name: &str| Column { name: name.into(), ty: ColumnType::Text, nullable: false };
        let schema = TableSchema {
            id: TableId(7),
            name: TableName { schema: "s".into(), name: "t".into() },
            target: "t".into(),
            columns: vec![column("a"), column("B\"; --"), column("c"), column("gone")],
            key: vec![2, 1, 3],
            complete: true,
        };
        let equality = |ty: &str, operator: &str, domain| Equality { ty: ty.into(), operator: operator.into(), domain };
        let known = Equalities::from([
            ("c".to_owned(), equality("ext.ltree", "OPERATOR(ext.=)", false)),
            ("B\"; --".to_owned(), equality("numeric", "OPERATOR(pg_catalog.=)", true)),
        ]);
        let keys = [vec!["it's", "1", "\\"], vec!["a", "2", ""]];
        assert_eq!(
            ByKey::new(&schema, &known).condition("s.\"T\"", &keys),
            "EXISTS (SELECT FROM (VALUES ('it''s'::ext.ltree, '1'::numeric, '\\'), ('a'::ext.ltree, '2'::numeric, '')) \
             AS k(k0, k1, k2) WHERE s.\"T\".\"c\" OPERATOR(ext.=) k.k0 \
             AND s.\"T\".\"B\"\"; --\"::numeric OPERATOR(pg_catalog.=) k.k1 AND s.\"T\".\"gone\" = k.k2)"
        );
    }
}
