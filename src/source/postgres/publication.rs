//! The publication: what it must hold, what is added to it, and whether someone changed it.
//!
//! In: the catalog's rows of it and the selected tables. Out: a [`Plan`], findings, and its [`Fingerprint`]. Always:
//! a table without key is never added; a publication that others made is only ever added to. Not here: when it is
//! made (before the slot: a change older than the publication cannot be decoded). Start at [`Plan::new`].

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fmt::{self, Display};
use std::str::FromStr;

use tokio_postgres::Client;

use super::catalog::Kind;
use super::catalog::quoted;
use super::quote::{identifier, literal};
use super::selection::Selected;
use super::sqlstate::query_reason;
use crate::model::{Class, Reason, TableName};

/// From this version on publications know schemas, row filters and column lists.
pub(super) const WITH_FILTERS: i32 = 150_000;

/// From this version on publications may publish generated columns.
const WITH_GENERATED: i32 = 180_000;

/// A publication as the catalog tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Publication {
    /// We may alter it.
    pub(super) owned: bool,
    /// What a comment on it says; ours is [`mark`].
    pub(super) comment: Option<String>,
    /// It is FOR ALL TABLES.
    pub(super) all_tables: bool,
    /// Kinds of change that it does not publish.
    pub(super) lacks: Vec<String>,
    /// Partitions' changes are told as their root's.
    pub(super) via_root: bool,
    /// Tables it names itself.
    pub(super) named: BTreeMap<u32, TableName>,
    /// Tables whose changes it publishes, however it comes by them.
    pub(super) members: BTreeMap<TableName, Member>,
    /// See [`Fingerprint`].
    pub(super) fingerprint: Fingerprint,
}

/// How a table is published.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Member {
    /// The columns that changes bring, before version 15 `None`: all but generated ones.
    pub(super) columns: Option<BTreeSet<String>>,
    /// Only rows that pass a filter.
    pub(super) filtered: bool,
}

/// What changes whenever a publication is changed, even for a moment: the row versions (`xmin`) of its catalog rows.
///
/// While a table is out of the publication its changes are skipped without an error, so that a comparison of what
/// is published before and after would not show the gap. Prints as `p<oid>.<xmin>` for the publication, `t...` for a
/// table and `n...` for a schema it names, separated by blanks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Fingerprint {
    publication: Option<(u32, String)>,
    tables: BTreeMap<u32, String>,
    schemas: BTreeMap<u32, String>,
}

/// The text is no fingerprint.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not the fingerprint of a publication")]
pub(super) struct ParseFingerprintError(String);

impl Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut words = Vec::new();
        words.extend(self.publication.iter().map(|(oid, version)| format!("p{oid}.{version}")));
        words.extend(self.schemas.iter().map(|(oid, version)| format!("n{oid}.{version}")));
        words.extend(self.tables.iter().map(|(oid, version)| format!("t{oid}.{version}")));
        f.write_str(&words.join(" "))
    }
}

impl FromStr for Fingerprint {
    type Err = ParseFingerprintError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut fingerprint = Fingerprint::default();
        for word in text.split_ascii_whitespace() {
            fingerprint.put(word).ok_or_else(|| ParseFingerprintError(text.to_owned()))?;
        }
        Ok(fingerprint)
    }
}

impl Fingerprint {
    fn put(&mut self, word: &str) -> Option<()> {
        let mut letters = word.chars();
        let kind = letters.next()?;
        let (oid, version) = letters.as_str().split_once('.')?;
        let oid: u32 = oid.parse().ok()?;
        let version = version.to_owned();
        match kind {
            'p' => self.publication = Some((oid, version)),
            't' => drop(self.tables.insert(oid, version)),
            'n' => drop(self.schemas.insert(oid, version)),
            _ => return None,
        }
        Some(())
    }

    /// Whether there is a publication at all.
    pub(super) fn is_missing(&self) -> bool {
        self.publication.is_none()
    }

    /// Tables that the publication did not name at the time of `older`.
    pub(super) fn added_since(&self, older: &Fingerprint) -> BTreeSet<u32> {
        self.tables.keys().filter(|id| !older.tables.contains_key(id)).copied().collect()
    }

    /// What was changed since `older` in ways that can have hidden changes of the `wanted` tables; empty if nothing.
    /// A table that came in is no such way, nor is one that is not wanted.
    pub(super) fn gaps_since(&self, older: &Fingerprint, wanted: &BTreeMap<u32, TableName>) -> Vec<String> {
        let mut gaps = Vec::new();
        match (&older.publication, &self.publication) {
            (Some(old), Some(new)) if old.0 != new.0 => gaps.push("it was dropped and created again".to_owned()),
            (Some(old), Some(new)) if old.1 != new.1 => gaps.push("its options or its owner were changed".to_owned()),
            (Some(_), None) => gaps.push("it was dropped".to_owned()),
            _ => {}
        }
        for (id, version) in &older.tables {
            let (Some(name), now) = (wanted.get(id), self.tables.get(id)) else { continue };
            match now {
                None => gaps.push(format!("{name} was taken out of it")),
                Some(now) if now != version => {
                    gaps.push(format!("{name} was taken out and put in again, or its filter or columns were changed"));
                }
                Some(_) => {}
            }
        }
        if older.schemas.iter().any(|(id, version)| self.schemas.get(id) != Some(version)) {
            gaps.push("a schema was taken out of it".to_owned());
        }
        gaps
    }
}

/// The reason for gaps.
pub(super) fn changed(publication: &str, gaps: &[String], remedy: &str, sql: &str) -> Reason {
    let message = format!(
        "publication {publication} was changed by others: {}; changes made meanwhile may be missing",
        gaps.join(", ")
    );
    Reason::new("PUBLICATION_CHANGED", Class::Resync, publication, message, remedy).with_sql(sql)
}

/// The comment by which we know a publication of our own.
pub(super) fn mark(pipeline: &str) -> String {
    format!("made by Sluicegate for pipeline {pipeline}")
}

/// What is to be done about the publication.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Plan {
    /// It is missing.
    pub(super) create: bool,
    /// Tables to add.
    pub(super) add: Vec<TableName>,
    /// Tables to take out: it is ours and they are no longer wanted.
    pub(super) remove: Vec<TableName>,
}

impl Plan {
    /// What makes the publication hold the selected tables.
    pub(super) fn new(publication: Option<&Publication>, selected: &[Selected], pipeline: &str) -> Plan {
        let names = || selected.iter().map(|table| table.relation.name.clone());
        let Some(publication) = publication else {
            return Plan { create: true, add: names().collect(), remove: Vec::new() };
        };
        let ids: BTreeSet<u32> = selected.iter().map(|table| table.relation.id).collect();
        let ours = publication.owned && publication.comment.as_deref() == Some(mark(pipeline).as_str());
        let surplus = publication.named.iter().filter(|(id, _)| ours && !ids.contains(id));
        Plan {
            create: false,
            add: names().filter(|name| !publication.members.contains_key(name)).collect(),
            remove: surplus.map(|(_, name)| name.clone()).collect(),
        }
    }

    /// The statements; empty if nothing is to be done. `ONLY` keeps heirs of an ordinary table out.
    pub(super) fn sql(&self, publication: &str, pipeline: &str) -> String {
        let tables = |names: &[TableName]| {
            names.iter().map(|name| format!("ONLY {}", quoted(name))).collect::<Vec<_>>().join(", ")
        };
        let name = identifier(publication);
        let mut sql = String::new();
        if self.create {
            // Writing to a String cannot fail.
            _ = write!(
                sql,
                "CREATE PUBLICATION {name} FOR TABLE {} WITH (publish = 'insert, update, delete, truncate', \
                 publish_via_partition_root = true); COMMENT ON PUBLICATION {name} IS {};",
                tables(&self.add),
                literal(&mark(pipeline))
            );
            return sql;
        }
        if !self.add.is_empty() {
            _ = write!(sql, "ALTER PUBLICATION {name} ADD TABLE {};", tables(&self.add));
        }
        if !self.remove.is_empty() {
            _ = write!(sql, "ALTER PUBLICATION {name} DROP TABLE {};", tables(&self.remove));
        }
        sql
    }
}

/// What is wrong with a publication that exists.
pub(super) fn findings(name: &str, publication: &Publication, selected: &[Selected], plan: &Plan) -> Vec<Reason> {
    let quoted = identifier(name);
    let finding = |code, message: String, remedy: &str, sql: String| {
        Reason::new(code, Class::Wait, name, message, remedy).with_sql(sql)
    };
    let mut findings = Vec::new();
    if !publication.lacks.is_empty() {
        let message = format!("publication {name} does not publish {}", publication.lacks.join(", "));
        let sql = format!("ALTER PUBLICATION {quoted} SET (publish = 'insert, update, delete, truncate');");
        findings.push(finding("PUBLICATION_OPTIONS", message, "Let it publish all four kinds of change.", sql));
    }
    let partitioned = selected.iter().find(|table| table.relation.kind == Kind::Partitioned);
    if let (false, Some(table)) = (publication.via_root, partitioned) {
        let message = format!(
            "publication {name} tells changes of {} as its partitions' own (publish_via_partition_root is off)",
            table.relation.name
        );
        let sql = format!("ALTER PUBLICATION {quoted} SET (publish_via_partition_root = true);");
        findings.push(finding("PUBLICATION_OPTIONS", message, "Switch it on.", sql));
    }
    let names: Vec<String> = plan.add.iter().map(ToString::to_string).collect();
    if !names.is_empty() && publication.all_tables {
        let message = format!("publication {name} publishes all tables, but not {} by itself", names.join(", "));
        let remedy = "Name the partitioned table in TABLES instead of its partitions.";
        findings.push(finding("PUBLICATION_OPTIONS", message, remedy, String::new()));
    } else if let Some(reason) = may_change(name, publication.owned, selected, plan, &names) {
        findings.push(reason);
    }
    findings
}

/// Adding a table needs ownership of publication and table.
fn may_change(name: &str, owned: bool, selected: &[Selected], plan: &Plan, names: &[String]) -> Option<Reason> {
    let foreign = |table: &&Selected| plan.add.contains(&table.relation.name) && !table.relation.owned;
    if names.is_empty() || owned && !selected.iter().any(|table| foreign(&table)) {
        return None;
    }
    let message =
        format!("publication {name} lacks {}, and our role does not own both publication and tables", names.join(", "));
    let sql = Plan { remove: Vec::new(), ..plan.clone() }.sql(name, "");
    let remedy = "Run the statement as an owner of both.";
    Some(Reason::new("SOURCE_PRIVILEGE", Class::Wait, name, message, remedy).with_sql(sql))
}

/// The reason if a missing publication cannot be created by us.
pub(super) fn may_create(
    name: &str,
    pipeline: &str,
    database: &str,
    role: &str,
    may_create: bool,
    selected: &[Selected],
) -> Option<Reason> {
    if may_create && selected.iter().all(|table| table.relation.owned) {
        return None;
    }
    let message = format!(
        "there is no publication {name}, and role {role} cannot create it: that needs CREATE on database {database} \
         and ownership of every table"
    );
    let sql = Plan::new(None, selected, pipeline).sql(name, pipeline);
    let remedy = "Run the statement as the tables' owner or as superuser.";
    Some(Reason::new("SOURCE_PRIVILEGE", Class::Wait, name, message, remedy).with_sql(sql))
}

/// What a person should know of a publication that exists.
pub(super) fn notes(name: &str, publication: &Publication, selected: &[Selected], plan: &Plan) -> Vec<String> {
    let mut notes = Vec::new();
    if publication.all_tables {
        notes.push(format!(
            "publication {name} publishes all tables of the database: PostgreSQL refuses UPDATE and DELETE on those \
             without key"
        ));
    }
    let ids: BTreeSet<u32> = selected.iter().map(|table| table.relation.id).collect();
    let surplus: Vec<String> = publication
        .named
        .iter()
        .filter(|(id, table)| !ids.contains(id) && !plan.remove.contains(table))
        .map(|(_, table)| table.to_string())
        .collect();
    if !surplus.is_empty() {
        notes.push(format!(
            "publication {name} also holds tables that are not wanted, and sends them in vain: {}",
            surplus.join(", ")
        ));
    }
    for table in selected {
        let Some(member) = publication.members.get(&table.relation.name) else { continue };
        let table_name = &table.relation.name;
        if member.filtered {
            notes.push(format!("publication {name} filters the rows of {table_name}: others are not replicated"));
        }
        let unsent = |column: &str| member.columns.as_ref().is_some_and(|columns| !columns.contains(column));
        let plain = table.relation.columns.iter().filter(|column| !column.generated);
        let left_out: Vec<&str> = plain.map(|column| column.name.as_str()).filter(|column| unsent(column)).collect();
        if !left_out.is_empty() {
            notes.push(format!("publication {name} leaves out columns of {table_name}: {}", left_out.join(", ")));
        }
    }
    notes
}

const PUBLICATION: &str = "
    SELECT pg_catalog.pg_has_role(p.pubowner, 'USAGE'), pg_catalog.obj_description(p.oid, 'pg_publication'),
           p.puballtables, p.pubviaroot,
           pg_catalog.array_remove(ARRAY[CASE WHEN NOT p.pubinsert THEN 'insert' END,
                                         CASE WHEN NOT p.pubupdate THEN 'update' END,
                                         CASE WHEN NOT p.pubdelete THEN 'delete' END,
                                         CASE WHEN NOT p.pubtruncate THEN 'truncate' END], NULL)
    FROM pg_catalog.pg_publication p WHERE p.pubname = $1";

const NAMED: &str = "
    SELECT c.oid, n.nspname::text, c.relname::text
    FROM pg_catalog.pg_publication p JOIN pg_catalog.pg_publication_rel r ON r.prpubid = p.oid
         JOIN pg_catalog.pg_class c ON c.oid = r.prrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE p.pubname = $1";

const MEMBERS: &str = "
    SELECT t.schemaname::text, t.tablename::text, t.attnames::text[], t.rowfilter IS NOT NULL
    FROM pg_catalog.pg_publication_tables t WHERE t.pubname = $1";

/// Before 18 `attnames` may name generated columns, which are never sent.
const MEMBERS_15: &str = "
    SELECT t.schemaname::text, t.tablename::text,
           ARRAY(SELECT a.attname::text FROM pg_catalog.pg_attribute a
                 WHERE a.attrelid = c.oid AND a.attname = ANY(t.attnames) AND a.attgenerated = ''),
           t.rowfilter IS NOT NULL
    FROM pg_catalog.pg_publication_tables t
         JOIN pg_catalog.pg_namespace n ON n.nspname = t.schemaname
         JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = t.tablename
    WHERE t.pubname = $1";

const MEMBERS_14: &str = "
    SELECT t.schemaname::text, t.tablename::text, NULL::text[], false
    FROM pg_catalog.pg_publication_tables t WHERE t.pubname = $1";

const ROW_VERSIONS: &str = "
    SELECT 'p' || p.oid || '.' || p.xmin FROM pg_catalog.pg_publication p WHERE p.pubname = $1
    UNION ALL
    SELECT 't' || r.prrelid || '.' || r.xmin
    FROM pg_catalog.pg_publication_rel r JOIN pg_catalog.pg_publication p ON p.oid = r.prpubid
    WHERE p.pubname = $1 AND r.prrelid = ANY($2)";

const ROW_VERSIONS_OF_SCHEMAS: &str = "
    UNION ALL
    SELECT 'n' || s.pnnspid || '.' || s.xmin
    FROM pg_catalog.pg_publication_namespace s JOIN pg_catalog.pg_publication p ON p.oid = s.pnpubid
    WHERE p.pubname = $1
      AND s.pnnspid IN (SELECT c.relnamespace FROM pg_catalog.pg_class c WHERE c.oid = ANY($2))";

/// Reads the fingerprint, as far as it concerns these tables.
pub(super) async fn fingerprint(
    client: &Client,
    version: i32,
    name: &str,
    tables: &[u32],
) -> Result<Fingerprint, Reason> {
    let schemas = if version >= WITH_FILTERS { ROW_VERSIONS_OF_SCHEMAS } else { "" };
    let statement = format!("{ROW_VERSIONS}{schemas}");
    let rows = client
        .query(&statement, &[&name, &tables])
        .await
        .map_err(|error| query_reason(&error, "reading the publication"))?;
    let mut fingerprint = Fingerprint::default();
    for row in &rows {
        // Words that the statement itself builds always fit.
        fingerprint.put(row.get(0));
    }
    Ok(fingerprint)
}

/// The row filters of a publication's tables, as SQL.
pub(super) async fn filters(client: &Client, version: i32, name: &str) -> Result<BTreeMap<TableName, String>, Reason> {
    if version < WITH_FILTERS {
        return Ok(BTreeMap::new());
    }
    let statement = "SELECT t.schemaname::text, t.tablename::text, t.rowfilter
                     FROM pg_catalog.pg_publication_tables t WHERE t.pubname = $1 AND t.rowfilter IS NOT NULL";
    let rows = client.query(statement, &[&name]).await;
    let rows = rows.map_err(|error| query_reason(&error, "reading the publication's row filters"))?;
    Ok(rows.iter().map(|row| (TableName { schema: row.get(0), name: row.get(1) }, row.get(2))).collect())
}

/// Reads a publication, its fingerprint as far as it concerns these tables.
pub(super) async fn inspect(
    client: &Client,
    version: i32,
    name: &str,
    tables: &[u32],
) -> Result<Option<Publication>, Reason> {
    let read = |error| query_reason(&error, "reading the publication");
    let Some(row) = client.query_opt(PUBLICATION, &[&name]).await.map_err(read)? else { return Ok(None) };
    let named = client.query(NAMED, &[&name]).await.map_err(read)?;
    let members = match version {
        WITH_GENERATED.. => MEMBERS,
        WITH_FILTERS.. => MEMBERS_15,
        _ => MEMBERS_14,
    };
    let members = client.query(members, &[&name]).await.map_err(read)?;
    let table = |schema, name| TableName { schema, name };
    Ok(Some(Publication {
        owned: row.get(0),
        comment: row.get(1),
        all_tables: row.get(2),
        via_root: row.get(3),
        lacks: row.get(4),
        named: named.iter().map(|row| (row.get(0), table(row.get(1), row.get(2)))).collect(),
        members: members
            .iter()
            .map(|row| {
                let columns: Option<Vec<String>> = row.get(2);
                let columns = columns.map(|columns| columns.into_iter().collect());
                (table(row.get(0), row.get(1)), Member { columns, filtered: row.get(3) })
            })
            .collect(),
        fingerprint: fingerprint(client, version, name, tables).await?,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(ids: &[u32]) -> BTreeMap<u32, TableName> {
        ids.iter().map(|id| (*id, TableName { schema: "s".into(), name: format!("t{id}") })).collect()
    }

    #[test]
    fn only_what_can_hide_changes_is_a_gap() {
        let older = "p9.5 n3.5 t1.5 t2.6";
        let cases = [
            ("p9.5 n3.5 t1.5 t2.6", 0, "the same"),
            ("p9.5 n3.5 t1.5 t2.6 t3.7", 0, "a table came in"),
            ("p9.5 n3.5 t1.5 n4.7 t2.6", 0, "a schema came in"),
            ("p9.5 n3.5 t1.5", 0, "a table that is not wanted went"),
            ("p9.5 n3.5 t1.7 t2.6", 1, "a table went and came back"),
            ("p9.5 n3.5 t2.6", 1, "a table went"),
            ("p9.5 t1.5 t2.6", 1, "a schema went"),
            ("p9.5 n3.8 t1.5 t2.6", 1, "a schema went and came back"),
            ("p9.7 n3.5 t1.5 t2.6", 1, "options were changed"),
            ("p10.7 n3.9 t1.9 t2.9", 3, "dropped and created again"),
            ("", 3, "dropped"),
        ];
        let older: Fingerprint = older.parse().unwrap();
        for (newer, gaps, case) in cases {
            let newer: Fingerprint = newer.parse().unwrap();
            let found = newer.gaps_since(&older, &wanted(&[1]));
            assert_eq!(found.len(), gaps, "{case}: {found:?}");
        }
    }

    #[test]
    fn fingerprints_are_read_back() {
        for text in ["", "p1.2", "p1.2 n3.4 t5.6 t7.8"] {
            assert_eq!(text.parse::<Fingerprint>().unwrap().to_string(), text);
        }
        for bad in ["x1.2", "p", "p1", "pa.2", "ä1.2", "p-1.2"] {
            assert!(bad.parse::<Fingerprint>().is_err(), "{bad}");
        }
    }
}
