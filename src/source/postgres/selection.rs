//! Decides which relations are replicated, under which name and key, and says why others are not.
//!
//! In: the patterns and what the catalog says of the relations they name. Out: [`Selection`]. Always: pure; a table
//! is selected only with a key, since publishing one without would make the application's own UPDATE and DELETE fail.
//! Not here: reading the catalog (`catalog`), the publication. Start at [`select`].

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::catalog::quoted;
use super::catalog::{self, Attribute, Kind, Leaf, Persistence, Relation};
use super::quote::identifier;
use super::{Identity, KnownTable, ReplicaIdentity, TablePattern, survey};
use crate::model::{Class, Column, Reason, TableId, TableName, TableSchema};

/// A relation that will be replicated.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Selected {
    /// The relation.
    pub(super) relation: Relation,
    /// Its name in the target.
    pub(super) target: String,
    /// Names of its key columns in key order.
    pub(super) key: Vec<String>,
    /// Its replica identity once setup is done.
    pub(super) identity: Identity,
    /// What is to be set to REPLICA IDENTITY FULL: the table itself or partitions of it.
    pub(super) to_full: Vec<TableName>,
}

/// What was decided.
#[derive(Clone, Debug, Default)]
pub(super) struct Selection {
    /// What will be replicated, by name.
    pub(super) tables: Vec<Selected>,
    /// What stands in the way.
    pub(super) findings: Vec<Reason>,
    /// What keeps single tables out that only a pattern for their whole schema names: the others go on without them.
    pub(super) refused: Vec<Reason>,
    /// What a person should know.
    pub(super) notes: Vec<String>,
}

impl Selection {
    /// OIDs and names of the selected tables.
    pub(super) fn names(&self) -> BTreeMap<u32, TableName> {
        self.tables.iter().map(|table| (table.relation.id, table.relation.name.clone())).collect()
    }
}

/// A relation that patterns name.
struct Candidate<'a> {
    relation: &'a Relation,
    /// Whether a pattern names it itself, not only its schema.
    named: bool,
    /// Names asked for it in the target.
    targets: BTreeSet<&'a str>,
}

/// Decides. `own_schema` is the schema of our own state, which is never replicated; `role` is who we are.
pub(super) fn select(
    patterns: &[TablePattern],
    relations: &[Relation],
    own_schema: &str,
    role: &str,
    mode: ReplicaIdentity,
) -> Selection {
    let mut selection = Selection::default();
    let candidates = candidates(patterns, relations, own_schema, &mut selection);
    let usable: Vec<&Candidate<'_>> =
        candidates.values().filter(|candidate| supported(candidate, own_schema, &mut selection)).collect();
    let usable = without_partitions_of_selected(&usable, &mut selection);
    for candidate in usable {
        let relation = candidate.relation;
        let before = selection.findings.len();
        selection.findings.extend(column_collisions(relation));
        let key = key_names(relation, mode).map_err(|reason| selection.findings.push(reason)).ok();
        selection.findings.extend(partition_findings(relation, key.as_deref(), mode));
        let target = target_of(candidate).map_err(|reason| selection.findings.push(reason)).ok();
        let sound = before == selection.findings.len();
        if !sound && !candidate.named {
            let refused = selection.findings.split_off(before);
            selection.refused.extend(refused);
            continue;
        }
        // A missing right does not change what the table is, so what else it needs can be told along with it.
        selection.findings.extend(identity_grants(relation, mode));
        selection.findings.extend(read_grants(relation, role));
        let (Some(key), Some(target), true) = (key, target, sound) else { continue };
        let (identity, to_full) = match mode {
            ReplicaIdentity::Auto => (relation.identity, Vec::new()),
            ReplicaIdentity::Full => (Identity::Full, not_full(relation).map(|(name, _)| name.clone()).collect()),
        };
        selection.notes.extend(notes_of(relation));
        selection.tables.push(Selected { relation: relation.clone(), target, key, identity, to_full });
    }
    selection.findings.extend(target_collisions(&selection.tables));
    if selection.tables.is_empty() {
        // There are no others to go on.
        selection.findings.append(&mut selection.refused);
    }
    selection
}

/// The table as the stream will tell of it. `published` are the columns a column list of the publication leaves.
///
/// # Errors
/// If a key column is not among them.
pub(super) fn known(selected: &Selected, published: Option<&BTreeSet<String>>) -> Result<KnownTable, Reason> {
    let (mut columns, mut types) = (Vec::new(), Vec::new());
    for attribute in selected.relation.columns.iter().filter(|column| is_sent(column, published)) {
        columns.push(Column { name: attribute.name.clone(), ty: attribute.ty.clone(), nullable: !attribute.not_null });
        types.push(attribute.wire);
    }
    let position = |name: &String| {
        columns.iter().position(|column| column.name == *name).ok_or_else(|| {
            let object = selected.relation.name.to_string();
            let message = format!("the publication's column list for {object} leaves out the key column {name}");
            let remedy = "Put every key column into the column list, or publish all columns.";
            Reason::new("PUBLICATION_OPTIONS", Class::Wait, object, message, remedy)
        })
    };
    let key = selected.key.iter().map(position).collect::<Result<Vec<usize>, Reason>>()?;
    let schema = TableSchema {
        id: TableId(selected.relation.id),
        name: selected.relation.name.clone(),
        target: selected.target.clone(),
        columns,
        key,
        complete: true,
    };
    Ok(KnownTable { schema: Arc::new(schema), types, identity: selected.identity })
}

fn candidates<'a>(
    patterns: &'a [TablePattern],
    relations: &'a [Relation],
    own_schema: &str,
    selection: &mut Selection,
) -> BTreeMap<&'a TableName, Candidate<'a>> {
    let mut candidates: BTreeMap<&TableName, Candidate<'_>> = BTreeMap::new();
    for pattern in patterns {
        let named = pattern.table.is_some();
        let mut none = true;
        for relation in relations.iter().filter(|relation| pattern.matches(&relation.name)) {
            if !named && refused_schema(&relation.name.schema, own_schema).is_some() {
                continue;
            }
            none = false;
            let candidate = candidates.entry(&relation.name).or_insert_with(|| Candidate {
                relation,
                named: false,
                targets: BTreeSet::new(),
            });
            candidate.named |= named;
            candidate.targets.extend(pattern.target.as_deref());
        }
        if none {
            selection.findings.push(missing(pattern));
        }
    }
    candidates
}

fn missing(pattern: &TablePattern) -> Reason {
    let (object, message) = match &pattern.table {
        Some(table) => {
            let name = format!("{}.{table}", pattern.schema);
            (name.clone(), format!("there is no table {name} in this database"))
        }
        None => {
            (format!("{}.*", pattern.schema), format!("schema {} has no tables, or does not exist", pattern.schema))
        }
    };
    let remedy = "Create it, or correct TABLES. Names are matched exactly, and without quotes they mean lower case.";
    Reason::new("TABLE_MISSING", Class::Wait, object, message, remedy)
}

fn refused_schema(schema: &str, own_schema: &str) -> Option<&'static str> {
    if schema == own_schema {
        Some("holds Sluicegate's own state")
    } else if schema == "information_schema" || schema.starts_with("pg_") {
        Some("belongs to the system")
    } else {
        None
    }
}

/// Whether a relation of this kind can be replicated. If not: a finding if it was asked for by name, else a note,
/// else (views, which nobody means by "every table") nothing.
fn supported(candidate: &Candidate<'_>, own_schema: &str, selection: &mut Selection) -> bool {
    let relation = candidate.relation;
    let name = &relation.name;
    let (why, sql) = match (refused_schema(&name.schema, own_schema), relation.kind, relation.persistence) {
        (Some(why), _, _) => (why, None),
        (_, Kind::View, _) => ("is a view", None),
        (_, Kind::MaterializedView, _) => ("is a materialized view", None),
        (_, Kind::Foreign, _) => ("is a foreign table", None),
        (_, _, Persistence::Temporary) => ("is a temporary table", None),
        (_, _, Persistence::Unlogged) => {
            ("is an unlogged table", Some(format!("ALTER TABLE {} SET LOGGED;", quoted(name))))
        }
        _ if relation.has_heirs => ("has tables that inherit from it", None),
        _ => return true,
    };
    if candidate.named {
        let message = format!("{name} {why}: the server's log does not tell of its rows as one table's");
        let remedy = "Take it out of TABLES, or name the ordinary tables behind it.";
        let reason = Reason::new("TABLE_UNSUPPORTED", Class::Wait, name.to_string(), message, remedy);
        selection.findings.push(reason.with_sql(sql.unwrap_or_default()));
    } else if !matches!(relation.kind, Kind::View | Kind::MaterializedView) {
        selection.notes.push(format!("{name} is left out of {}.*: it {why}", name.schema));
    }
    false
}

fn without_partitions_of_selected<'a>(
    usable: &[&'a Candidate<'a>],
    selection: &mut Selection,
) -> Vec<&'a Candidate<'a>> {
    let partitioned = |candidate: &&&Candidate<'_>| candidate.relation.kind == Kind::Partitioned;
    let mut parents: BTreeMap<u32, &TableName> = BTreeMap::new();
    for candidate in usable.iter().filter(partitioned) {
        parents.entry(candidate.relation.id).or_insert(&candidate.relation.name);
        for leaf in &candidate.relation.leaves {
            parents.entry(leaf.id).or_insert(&candidate.relation.name);
        }
    }
    let mut dropped: BTreeMap<&TableName, usize> = BTreeMap::new();
    let kept = usable.iter().copied().filter(|candidate| {
        let relation = candidate.relation;
        let under = relation.root.and_then(|root| parents.get(&root));
        let parent = under.or_else(|| parents.get(&relation.id)).filter(|parent| ***parent != relation.name);
        if let Some(parent) = parent {
            *dropped.entry(*parent).or_default() += 1;
        }
        parent.is_none()
    });
    let kept = kept.collect();
    for (parent, count) in dropped {
        selection
            .notes
            .push(format!("{count} partitions of {parent} are replicated as part of {parent}, not by themselves"));
    }
    kept
}

fn column_collisions(relation: &Relation) -> Vec<Reason> {
    let mut seen: BTreeMap<String, &str> = BTreeMap::new();
    let mut findings = Vec::new();
    for column in &relation.columns {
        if let Some(other) = seen.insert(column.name.to_lowercase(), &column.name) {
            let object = relation.name.to_string();
            let message = format!("columns {other:?} and {:?} of {object} differ only in case", column.name);
            let remedy = "Rename one of them: the target does not tell them apart.";
            let sql = format!(
                "ALTER TABLE {} RENAME COLUMN {} TO new_name;",
                quoted(&relation.name),
                identifier(&column.name)
            );
            findings.push(Reason::new("COLUMN_COLLISION", Class::Wait, object, message, remedy).with_sql(sql));
        }
    }
    findings
}

fn key_names(relation: &Relation, mode: ReplicaIdentity) -> Result<Vec<String>, Reason> {
    let identity = match mode {
        ReplicaIdentity::Auto => relation.identity,
        ReplicaIdentity::Full => Identity::Full,
    };
    let generated = |name: &String| relation.columns.iter().any(|column| column.name == *name && column.generated);
    match catalog::key(identity, &relation.indexes) {
        Some(index) => match index.columns.iter().find(|name| generated(name)) {
            Some(column) => {
                Err(no_key(relation, format!("its key column {column} is generated and is not replicated")))
            }
            None => Ok(index.columns.clone()),
        },
        None => Err(no_key(relation, why_no_key(relation, mode).to_owned())),
    }
}

fn why_no_key(relation: &Relation, mode: ReplicaIdentity) -> &'static str {
    match (relation.identity, mode) {
        (Identity::Nothing, ReplicaIdentity::Auto) => "its replica identity is NOTHING",
        (Identity::Index, ReplicaIdentity::Auto) => "the index of its replica identity is gone or cannot serve",
        _ if relation.indexes.iter().any(|index| index.primary) => "its primary key is deferrable",
        (Identity::Default, ReplicaIdentity::Auto) => "it has no primary key",
        _ => "it has neither a primary key nor a unique index on columns that are never null",
    }
}

fn no_key(relation: &Relation, why: String) -> Reason {
    let name = quoted(&relation.name);
    let primary = catalog::key(Identity::Default, &relation.indexes);
    let sql = match (primary, catalog::candidate(&relation.indexes)) {
        (Some(_), _) => format!("ALTER TABLE {name} REPLICA IDENTITY DEFAULT;"),
        (None, Some(index)) => format!("ALTER TABLE {name} REPLICA IDENTITY USING INDEX {};", identifier(&index.name)),
        (None, None) => format!("ALTER TABLE {name} ADD PRIMARY KEY (/* columns that are unique and never null */);"),
    };
    let object = relation.name.to_string();
    let message = format!("{object} has no key to find its rows by in the target: {why}");
    let remedy = "Give it a key, or take it out of TABLES. Until then it is not published, since publishing it would \
                  make the application's own UPDATE and DELETE fail.";
    Reason::new("NO_KEY", Class::Wait, object, message, remedy).with_sql(sql)
}

/// A partition logs its changes by its own identity, whatever its root says.
fn partition_findings(relation: &Relation, key: Option<&[String]>, mode: ReplicaIdentity) -> Vec<Reason> {
    let fits = |leaf: &&Leaf| {
        let same_key = || {
            let of_leaf = catalog::key(leaf.identity, &leaf.indexes).map(|index| BTreeSet::from_iter(&index.columns));
            of_leaf.is_some_and(|of_leaf| key.is_none_or(|key| of_leaf == BTreeSet::from_iter(key)))
        };
        mode == ReplicaIdentity::Full
            || leaf.kind == Kind::Foreign
            || leaf.identity == Identity::Full
            || relation.identity != Identity::Full && same_key()
    };
    let finding = |leaf: &Leaf| {
        let object = leaf.name.to_string();
        let message = format!("partition {object} has another replica identity than {}", relation.name);
        let remedy = "Give the partition the identity of its table.";
        let identity = if relation.identity == Identity::Full { "FULL" } else { "DEFAULT" };
        let sql = format!("ALTER TABLE {} REPLICA IDENTITY {identity};", quoted(&leaf.name));
        Reason::new("NO_KEY", Class::Wait, object, message, remedy).with_sql(sql)
    };
    relation.leaves.iter().filter(|leaf| !fits(leaf)).map(finding).collect()
}

/// The table and its partitions whose identity is not FULL, and whether we own them.
fn not_full(relation: &Relation) -> impl Iterator<Item = (&TableName, bool)> {
    let leaves = relation.leaves.iter().filter(|leaf| leaf.kind != Kind::Foreign);
    let all = leaves.map(|leaf| (&leaf.name, leaf.owned, leaf.identity));
    let own = std::iter::once((&relation.name, relation.owned, relation.identity));
    own.chain(all).filter(|(_, _, identity)| *identity != Identity::Full).map(|(name, owned, _)| (name, owned))
}

fn identity_grants(relation: &Relation, mode: ReplicaIdentity) -> Vec<Reason> {
    if mode == ReplicaIdentity::Auto {
        return Vec::new();
    }
    let finding = |(name, _): (&TableName, bool)| {
        let message = format!("REPLICA_IDENTITY=full needs ownership of {name} to change its replica identity");
        let remedy = "Run the statement as the table's owner, or set REPLICA_IDENTITY=auto.";
        let sql = format!("ALTER TABLE {} REPLICA IDENTITY FULL;", quoted(name));
        Reason::new("SOURCE_PRIVILEGE", Class::Wait, name.to_string(), message, remedy).with_sql(sql)
    };
    not_full(relation).filter(|(_, owned)| !owned).map(finding).collect()
}

/// The stream needs no right to read tables; reading single rows again by key does.
fn read_grants(relation: &Relation, role: &str) -> Vec<Reason> {
    let name = &relation.name;
    let grants = [
        (relation.usage, "USAGE", format!("SCHEMA {}", identifier(&name.schema)), format!("schema {}", name.schema)),
        (relation.select, "SELECT", quoted(name), format!("table {name}")),
    ];
    let finding = |(_, right, object, words): (bool, &str, String, String)| {
        let message = format!(
            "role {role} lacks {right} on {words}, needed to read rows again whose large values the stream left out"
        );
        let sql = format!("GRANT {right} ON {object} TO {};", identifier(role));
        Reason::new("SOURCE_PRIVILEGE", Class::Wait, words, message, "Grant it.").with_sql(sql)
    };
    grants.into_iter().filter(|grant| !grant.0).map(finding).collect()
}

/// What stands against reading all rows of a table. Its partitions are read one by one.
pub(super) fn copy_findings(relation: &Relation, role: &str) -> Vec<Reason> {
    let told = |leaf: &&Leaf| leaf.kind == Kind::Table && leaf.persistence == Persistence::Permanent;
    let leaves = || relation.leaves.iter().filter(told);
    let security = leaves().map(|leaf| (leaf.row_security, &leaf.name));
    let hidden = std::iter::once((relation.row_security, &relation.name)).chain(security).find(|(active, _)| *active);
    let mut findings: Vec<Reason> = hidden.map(|(_, name)| survey::row_security(name, role)).into_iter().collect();
    let missing: Vec<&Leaf> = leaves().filter(|leaf| !leaf.usage || !leaf.select).collect();
    if let Some(first) = missing.first() {
        let rights = missing.iter().map(|leaf| (&leaf.name, leaf.usage, leaf.select));
        findings.push(survey::missing_rights(&first.name, role, rights));
    }
    findings
}

fn target_of(candidate: &Candidate<'_>) -> Result<String, Reason> {
    let name = &candidate.relation.name;
    let mut targets = candidate.targets.iter();
    match (targets.next(), targets.next()) {
        (None, _) => Ok(name.name.clone()),
        (Some(target), None) => Ok((*target).to_owned()),
        (Some(first), Some(second)) => {
            let message = format!("TABLES gives {name} two names in the target, {first} and {second}");
            Err(Reason::new("TARGET_COLLISION", Class::Config, name.to_string(), message, "Keep one of them."))
        }
    }
}

/// StarRocks tells table names apart by case, so only equal names collide.
fn target_collisions(tables: &[Selected]) -> Vec<Reason> {
    let mut by_target: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for table in tables {
        by_target.entry(&table.target).or_default().push(table.relation.name.to_string());
    }
    let collision = |(target, names): (&str, Vec<String>)| {
        let message = format!("{} would be written to one target table {target}", names.join(" and "));
        let remedy = format!("Give one of them another name in TABLES: {}=>another_name.", names[names.len() - 1]);
        Reason::new("TARGET_COLLISION", Class::Config, target, message, remedy)
    };
    by_target.into_iter().filter(|(_, names)| names.len() > 1).map(collision).collect()
}

/// Whether changes bring this column. `published` are the columns that the publication tells of, if it tells: generated
/// ones are among them where it publishes them (PostgreSQL 18 and later, `publish_generated_columns`).
fn is_sent(column: &Attribute, published: Option<&BTreeSet<String>>) -> bool {
    published.map_or(!column.generated, |published| published.contains(&column.name))
}

/// What to say of generated columns that changes do not bring.
pub(super) fn unsent_generated(relation: &Relation, published: Option<&BTreeSet<String>>) -> Option<String> {
    let unsent = relation.columns.iter().filter(|column| column.generated && !is_sent(column, published));
    let names: Vec<&str> = unsent.map(|column| column.name.as_str()).collect();
    let told = || format!("generated columns of {} are not replicated: {}", relation.name, names.join(", "));
    (!names.is_empty()).then(told)
}

fn notes_of(relation: &Relation) -> Vec<String> {
    let name = &relation.name;
    let mut notes = Vec::new();
    if relation.row_security {
        notes.push(format!(
            "row security is active on {name} for our role: its changes are all replicated, but rows that must be \
             read from the table may be hidden"
        ));
    }
    for leaf in &relation.leaves {
        let what = match (leaf.kind, leaf.persistence) {
            (Kind::Foreign, _) => "a foreign table",
            (_, Persistence::Unlogged) => "an unlogged table",
            _ => continue,
        };
        notes.push(format!("partition {} of {name} is {what}: its rows are not replicated", leaf.name));
    }
    notes
}

#[cfg(test)]
mod tests {
    use super::super::WireType;
    use super::super::catalog::{Attribute, Index};
    use super::*;
    use crate::model::ColumnType;

    fn name(text: &str) -> TableName {
        let (schema, name) = text.split_once('.').unwrap_or(("public", text));
        TableName { schema: schema.into(), name: name.into() }
    }

    fn primary_key(columns: &[&str]) -> Index {
        Index {
            name: "pk".into(),
            primary: true,
            identity: false,
            usable: true,
            not_null: true,
            columns: columns.iter().map(|column| (*column).into()).collect(),
        }
    }

    fn attribute(name: &str) -> Attribute {
        let int4 = WireType { oid: 23, typmod: -1 };
        Attribute { name: name.into(), wire: int4, ty: ColumnType::Int32, not_null: true, generated: false }
    }

    /// A table `id` of columns `id` and `v` with a primary key.
    fn relation(id: u32, text: &str) -> Relation {
        Relation {
            id,
            name: name(text),
            kind: Kind::Table,
            persistence: Persistence::Permanent,
            has_heirs: false,
            root: None,
            identity: Identity::Default,
            owned: true,
            usage: true,
            select: true,
            row_security: false,
            rows: 0.0,
            columns: vec![attribute("id"), attribute("v")],
            indexes: vec![primary_key(&["id"])],
            leaves: Vec::new(),
        }
    }

    fn leaf(id: u32, text: &str, identity: Identity) -> Leaf {
        let indexes = vec![primary_key(&["id"])];
        Leaf {
            id,
            name: name(text),
            kind: Kind::Table,
            identity,
            persistence: Persistence::Permanent,
            owned: true,
            usage: true,
            select: true,
            row_security: false,
            rows: 0.0,
            indexes,
        }
    }

    type Change = fn(&mut Relation);

    /// What becomes of `shop.t` after a change, named in TABLES and through `shop.*`.
    #[test]
    fn each_obstacle_is_named() {
        let auto = ReplicaIdentity::Auto;
        let cases: [(&str, ReplicaIdentity, Change, &[&str]); 18] = [
            ("plain", auto, |_| (), &[]),
            ("view", auto, |t| t.kind = Kind::View, &["TABLE_UNSUPPORTED"]),
            ("foreign", auto, |t| t.kind = Kind::Foreign, &["TABLE_UNSUPPORTED"]),
            ("unlogged", auto, |t| t.persistence = Persistence::Unlogged, &["TABLE_UNSUPPORTED"]),
            ("temporary", auto, |t| t.persistence = Persistence::Temporary, &["TABLE_UNSUPPORTED"]),
            ("parent", auto, |t| t.has_heirs = true, &["TABLE_UNSUPPORTED"]),
            ("no key", auto, |t| t.indexes.clear(), &["NO_KEY"]),
            ("nothing", auto, |t| t.identity = Identity::Nothing, &["NO_KEY"]),
            ("nothing, to be full", ReplicaIdentity::Full, |t| t.identity = Identity::Nothing, &[]),
            ("not ours, to be full", ReplicaIdentity::Full, |t| t.owned = false, &["SOURCE_PRIVILEGE"]),
            ("not ours, full already", ReplicaIdentity::Full, |t| (t.owned, t.identity) = (false, Identity::Full), &[]),
            ("full without key", ReplicaIdentity::Full, |t| t.indexes.clear(), &["NO_KEY"]),
            ("no rights", auto, |t| (t.usage, t.select) = (false, false), &["SOURCE_PRIVILEGE", "SOURCE_PRIVILEGE"]),
            ("generated key", auto, |t| t.columns[0].generated = true, &["NO_KEY"]),
            ("case", auto, |t| t.columns.push(attribute("V")), &["COLUMN_COLLISION"]),
            (
                "two at once",
                auto,
                |t| (t.columns.push(attribute("V")), t.indexes.clear()).1,
                &["COLUMN_COLLISION", "NO_KEY"],
            ),
            ("partition like its root", auto, |t| t.leaves.push(leaf(2, "shop.t1", Identity::Default)), &[]),
            ("partition unlike", auto, |t| t.leaves.push(leaf(2, "shop.t1", Identity::Nothing)), &["NO_KEY"]),
        ];
        for (case, mode, change, want) in cases {
            let mut changed = relation(1, "shop.t");
            change(&mut changed);
            let patterns = TablePattern::parse_list("shop.t").unwrap();
            let selection = select(&patterns, &[changed], "sluicegate", "cdc", mode);
            let codes: Vec<&str> = selection.findings.iter().map(|reason| reason.code).collect();
            assert_eq!(codes, want, "{case}");
            let sound = want.iter().all(|code| *code == "SOURCE_PRIVILEGE");
            assert_eq!(selection.tables.len(), usize::from(sound), "{case}: selected unless the table is unfit");
        }
    }

    #[test]
    fn what_stands_against_a_copy_is_named() {
        let cases: [(&str, Change, &[&str]); 7] = [
            ("plain", |_| (), &[]),
            ("policies", |t| t.row_security = true, &["ROW_SECURITY"]),
            ("policies of a partition", |t| t.leaves[0].row_security = true, &["ROW_SECURITY"]),
            ("no right on a partition", |t| t.leaves[0].select = false, &["SOURCE_PRIVILEGE"]),
            ("nor on its schema", |t| (t.leaves[0].select, t.leaves[0].usage) = (false, false), &["SOURCE_PRIVILEGE"]),
            ("foreign", |t| (t.leaves[0].select, t.leaves[0].kind) = (false, Kind::Foreign), &[]),
            ("both", |t| (t.row_security, t.leaves[0].select) = (true, false), &["ROW_SECURITY", "SOURCE_PRIVILEGE"]),
        ];
        for (case, change, want) in cases {
            let mut relation = relation(1, "shop.t");
            relation.leaves.push(leaf(2, "shop.t1", Identity::Default));
            change(&mut relation);
            let found = copy_findings(&relation, "cdc");
            assert_eq!(found.iter().map(|reason| reason.code).collect::<Vec<_>>(), want, "{case}");
            assert!(found.iter().all(|reason| reason.sql.contains("cdc")), "{case}: {found:?}");
        }
    }

    #[test]
    fn patterns_meet_relations() {
        let mut view = relation(3, "shop.v");
        view.kind = Kind::View;
        let mut root = relation(4, "shop.root");
        root.kind = Kind::Partitioned;
        root.leaves.push(leaf(5, "shop.leaf", Identity::Default));
        let mut part = relation(5, "shop.leaf");
        part.root = Some(4);
        let relations = [
            relation(1, "shop.a"),
            relation(2, "shop.b"),
            view,
            root,
            part,
            relation(6, "sluicegate.checkpoints"),
            relation(7, "pg_catalog.pg_class"),
            relation(8, "other.a"),
        ];
        // TABLES, selected as name=>target, codes of findings, number of notes
        let cases: [(&str, &[&str], &[&str], usize); 12] = [
            ("shop.a", &["shop.a=>a"], &[], 0),
            ("shop.a,shop.a", &["shop.a=>a"], &[], 0),
            ("shop.*", &["shop.a=>a", "shop.b=>b", "shop.root=>root"], &[], 1),
            ("shop.*,shop.a=>x", &["shop.a=>x", "shop.b=>b", "shop.root=>root"], &[], 1),
            ("shop.leaf", &["shop.leaf=>leaf"], &[], 0),
            ("shop.v", &[], &["TABLE_UNSUPPORTED"], 0),
            ("sluicegate.checkpoints", &[], &["TABLE_UNSUPPORTED"], 0),
            ("sluicegate.*", &[], &["TABLE_MISSING"], 0),
            ("pg_catalog.*,nowhere.*,shop.zzz", &[], &["TABLE_MISSING", "TABLE_MISSING", "TABLE_MISSING"], 0),
            ("shop.a,other.a", &["other.a=>a", "shop.a=>a"], &["TARGET_COLLISION"], 0),
            ("shop.a,other.a=>A", &["other.a=>a", "shop.a=>a"], &["TARGET_COLLISION"], 0),
            ("shop.a=>x,shop.a=>y", &[], &["TARGET_COLLISION"], 0),
        ];
        for (list, want, codes, notes) in cases {
            let selection = select(
                &TablePattern::parse_list(list).unwrap(),
                &relations,
                "sluicegate",
                "cdc",
                ReplicaIdentity::Auto,
            );
            let got: Vec<String> =
                selection.tables.iter().map(|table| format!("{}=>{}", table.relation.name, table.target)).collect();
            assert_eq!(got, want, "{list}");
            assert_eq!(selection.findings.iter().map(|reason| reason.code).collect::<Vec<_>>(), codes, "{list}");
            assert_eq!(selection.notes.len(), notes, "{list}: {:?}", selection.notes);
        }
        let quoted = r#"shop.a,other.a=>"A""#;
        let selection =
            select(&TablePattern::parse_list(quoted).unwrap(), &relations, "sluicegate", "cdc", ReplicaIdentity::Auto);
        assert_eq!(selection.findings, [], "target names are told apart by case");
    }

    #[test]
    fn the_schema_holds_what_is_published() {
        let mut wide = relation(1, "shop.t");
        wide.columns.extend([attribute("g"), attribute("z")]);
        wide.columns[2].generated = true;
        wide.indexes = vec![primary_key(&["z", "id"])];
        let patterns = TablePattern::parse_list("shop.t").unwrap();
        let selection = select(&patterns, &[wide], "sluicegate", "cdc", ReplicaIdentity::Auto);
        let [selected] = &selection.tables[..] else { panic!("{:?}", selection.findings) };
        let columns = |known: &KnownTable| -> Vec<String> {
            known.schema.columns.iter().map(|column| column.name.clone()).collect()
        };
        let all = known(selected, None).unwrap();
        assert_eq!((columns(&all), &all.schema.key[..]), (vec!["id".into(), "v".into(), "z".into()], &[2, 0][..]));
        assert!(unsent_generated(&selected.relation, None).unwrap().ends_with("not replicated: g"));
        let generated_too = ["id", "v", "g", "z"].map(String::from).into();
        assert_eq!(columns(&known(selected, Some(&generated_too)).unwrap()), ["id", "v", "g", "z"]);
        assert_eq!(unsent_generated(&selected.relation, Some(&generated_too)), None);
        let list = ["id", "z"].map(String::from).into();
        let some = known(selected, Some(&list)).unwrap();
        assert_eq!((columns(&some), &some.schema.key[..]), (vec!["id".into(), "z".into()], &[1, 0][..]));
        let keyless = ["id"].map(String::from).into();
        assert_eq!(known(selected, Some(&keyless)).unwrap_err().code, "PUBLICATION_OPTIONS");
    }
}
