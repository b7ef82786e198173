//! One target table: what it must look like, and what is wrong with the one that exists.
//!
//! In: a source schema and what the server says of the target. Out: every finding, each with statements to paste, or
//! the plan by which rows are written. Always: a column that the source has and the target lacks is a finding, never
//! dropped: StarRocks ignores JSON keys it does not know. Not here: asking the server (`prepare`).

use std::collections::BTreeSet;

use super::ddl::{self, ColumnDef};
use super::options::Options;
use super::plan::{Audit, Plan, PlanColumn};
use super::reasons::Code;
use super::types::{Fit, Target, created, fit};
use super::value::Writer;
use crate::model::{Column, Reason, TableSchema};

/// Names StarRocks keeps for itself in Primary Key tables.
const RESERVED: [&str; 3] = ["__op", "__row", "___count___"];
/// Longest column name in characters.
const NAME_MAX: usize = 1024;

/// A target table as the server describes it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Described {
    pub(super) columns: Vec<DescribedColumn>,
    /// `TABLE_MODEL`, if the server tells.
    pub(super) model: Option<String>,
    /// Names of the key columns.
    pub(super) key: Vec<String>,
}

/// A column as `DESC` tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct DescribedColumn {
    pub(super) name: String,
    pub(super) ty: Target,
    pub(super) nullable: bool,
    /// Whether it gets a value when a load leaves it out: it has a default, or the server makes its values.
    pub(super) filled: bool,
}

impl Described {
    /// Column names compare without case in StarRocks.
    pub(super) fn column(&self, name: &str) -> Option<&DescribedColumn> {
        self.columns.iter().find(|column| same(&column.name, name))
    }

    /// A name for the digits of this column within a load, which no column has.
    fn unused(&self, name: &str) -> String {
        let mut unused = format!("{name}__hex");
        while self.column(&unused).is_some() {
            unused.push('_');
        }
        unused
    }
}

fn same(one: &str, other: &str) -> bool {
    one.to_lowercase() == other.to_lowercase()
}

/// The audit columns and their types, as they are written.
pub(super) fn audit_columns(prefix: &str) -> [ColumnDef; 4] {
    [
        ("op_type", Target::Int(1)),
        ("is_deleted", Target::Boolean),
        ("synced_at", Target::Datetime),
        ("cdc_version", Target::Int(8)),
    ]
    .map(|(name, ty)| ColumnDef { name: format!("{prefix}{name}"), ty, key: false })
}

/// The columns of a table to create: the key first, in key order, then the others, then the audit columns.
pub(super) fn wanted(schema: &TableSchema, options: &Options) -> Vec<ColumnDef> {
    let column = |at: usize, key: bool| -> Option<ColumnDef> {
        let Column { name, ty, .. } = schema.columns.get(at)?;
        Some(ColumnDef { name: name.clone(), ty: created(ty, key, &options.types), key })
    };
    let values = (0..schema.columns.len()).filter(|at| !schema.is_key(*at));
    let keys = schema.key.iter().filter_map(|at| column(*at, true));
    let audit = options.audit_prefix.iter().flat_map(|prefix| audit_columns(prefix));
    keys.chain(values.filter_map(|at| column(at, false))).chain(audit).collect()
}

/// What is wrong with the source's names before any target is looked at.
pub(super) fn names(schema: &TableSchema, options: &Options) -> Vec<Reason> {
    let object = schema.name.to_string();
    let finding = |message: String, remedy: &str| Reason {
        remedy: remedy.to_owned(),
        ..Code::Schema.reason(object.clone(), message)
    };
    let rename = "Rename the column in the source, or leave it out of the publication.";
    let mut findings = Vec::new();
    let mut seen = BTreeSet::new();
    let audit = options.audit_prefix.iter().flat_map(|prefix| audit_columns(prefix)).map(|column| column.name);
    seen.extend(audit.map(|name| name.to_lowercase()));
    let audit_count = seen.len();
    for column in &schema.columns {
        let name = &column.name;
        let lower = name.to_lowercase();
        if RESERVED.contains(&lower.as_str()) {
            findings.push(finding(format!("column {name:?} has a name that StarRocks keeps for itself"), rename));
        }
        let illegal = |c: char| c.is_control() || "=<>!*".contains(c);
        if name.is_empty() || name.chars().count() > NAME_MAX || name.chars().any(illegal) {
            findings.push(finding(format!("column {name:?} has a name that StarRocks does not allow"), rename));
        }
        if !seen.insert(lower) {
            let message =
                format!("column {name:?} has the name of another one, as StarRocks compares names without case");
            let remedy = if audit_count > 0 {
                "Rename the column in the source, or set another AUDIT_COLUMN_PREFIX."
            } else {
                rename
            };
            findings.push(finding(message, remedy));
        }
    }
    if schema.key.is_empty() || schema.key.iter().any(|at| *at >= schema.columns.len()) {
        findings.push(Code::Contract.reason(object.clone(), "the table came without a usable key"));
    }
    findings
}

/// The audit columns that the target lacks.
pub(super) fn missing_audit(described: &Described, options: &Options) -> Vec<ColumnDef> {
    let audit = options.audit_prefix.iter().flat_map(|prefix| audit_columns(prefix));
    audit.filter(|column| described.column(&column.name).is_none()).collect()
}

/// The plan for a table that fits.
///
/// # Errors
/// Everything that does not.
pub(super) fn fitted(schema: &TableSchema, described: &Described, options: &Options) -> Result<Plan, Vec<Reason>> {
    let target = schema.name.to_string();
    let mut findings: Vec<Reason> = model_finding(&target, described).into_iter().collect();
    if !findings.is_empty() {
        // Such a table must be made anew; what else is wrong with it does not matter.
        return Err(findings);
    }
    findings.extend(key_finding(&target, schema, described));
    let mut columns = Vec::new();
    let mut missing = Vec::new();
    for (at, column) in schema.columns.iter().enumerate() {
        let key = schema.is_key(at);
        let wanted = ColumnDef { name: column.name.clone(), ty: created(&column.ty, key, &options.types), key };
        match described.column(&column.name) {
            None => missing.push(wanted),
            Some(there) => match Writer::new(&column.ty, key, &there.ty) {
                Some(writer) => {
                    let planned = PlanColumn::new(&there.name, writer, there.nullable, key)
                        .with_policies(&options.on_bad_value, &column.ty);
                    columns.push(match writer {
                        Writer::Hex(_) => planned.sent_as(described.unused(&there.name)),
                        _ => planned,
                    });
                }
                None => findings.push(type_finding(&target, options, schema, column, key, there)),
            },
        }
    }
    findings.extend(missing_finding(&target, options, schema, &missing));
    findings.extend(extra_findings(&target, options, schema, described));
    let audit = audit_plan(&target, options, schema, described, &mut findings);
    match findings.is_empty() {
        true => Ok(Plan {
            columns,
            key: schema.key.clone(),
            audit,
            hard_deletes: options.hard_deletes(),
            key_alone_fits: described
                .columns
                .iter()
                .all(|column| column.nullable || described.key.iter().any(|key| same(key, &column.name))),
        }),
        false => {
            let there = format!("{}.{}", options.database, schema.target);
            let placed = |finding: Reason| Reason { message: format!("in {there}, {}", finding.message), ..finding };
            Err(findings.into_iter().map(placed).collect())
        }
    }
}

fn model_finding(target: &str, described: &Described) -> Option<Reason> {
    let model = described.model.as_deref()?;
    // The documentation says PRI_KEYS, the server PRIMARY_KEYS.
    let primary = ["PRIMARY_KEYS", "PRI_KEYS"].contains(&model.to_ascii_uppercase().as_str());
    (!primary).then(|| Code::TableModel.reason(target, format!("the table is no Primary Key table but {model}")))
}

fn key_finding(target: &str, schema: &TableSchema, described: &Described) -> Option<Reason> {
    let source: BTreeSet<String> =
        schema.key.iter().filter_map(|at| schema.columns.get(*at)).map(|c| c.name.to_lowercase()).collect();
    let there: BTreeSet<String> = described.key.iter().map(|name| name.to_lowercase()).collect();
    (source != there).then(|| {
        let list = |names: &BTreeSet<String>| names.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
        Code::Key
            .reason(target, format!("the table's key is ({}) where the source's is ({})", list(&there), list(&source)))
    })
}

fn type_finding(
    target: &str,
    options: &Options,
    schema: &TableSchema,
    column: &Column,
    key: bool,
    there: &DescribedColumn,
) -> Reason {
    let wanted = ColumnDef { name: there.name.clone(), ty: created(&column.ty, key, &options.types), key };
    let how = match fit(&column.ty, key, &there.ty) {
        Fit::Narrow => "is too narrow for",
        Fit::Fits | Fit::Wrong => "cannot take the values of",
    };
    let message = format!(
        "column {} of type {} {how} the source's column {} of type {}, which needs {}",
        there.name, there.ty, column.name, column.ty, wanted.ty
    );
    let reason = Code::Type.reason(target, message);
    let modify = ddl::modify_column(&options.database, &schema.target, &wanted) + ";";
    match there.ty.can_become(&wanted.ty, key) {
        true => reason.with_sql(modify),
        false if key => {
            Reason { remedy: "StarRocks cannot change a key column: create the table anew.".into(), ..reason }
        }
        false => Reason {
            remedy: format!(
                "StarRocks cannot change {} to {} in place: create the table anew, or drop the column if its values are \
                 not needed, so that it can be added as {}.",
                there.ty, wanted.ty, wanted.ty
            ),
            ..reason
        },
    }
}

fn missing_finding(target: &str, options: &Options, schema: &TableSchema, missing: &[ColumnDef]) -> Option<Reason> {
    let names: Vec<&str> = missing.iter().map(|column| column.name.as_str()).collect();
    (!missing.is_empty()).then(|| {
        let message = format!("the table lacks {}, which the source has", names.join(", "));
        let remedy = "Add what is missing. Rows that are already in the table will hold NULL there until they are \
                      copied again.";
        let reason = Reason { remedy: remedy.to_owned(), ..Code::Schema.reason(target, message) };
        match missing.iter().any(|column| column.key) {
            true => reason,
            false => reason.with_sql(ddl::add_columns(&options.database, &schema.target, missing) + ";"),
        }
    })
}

/// A column that only the target has must be able to stay without a value.
fn extra_findings(target: &str, options: &Options, schema: &TableSchema, described: &Described) -> Vec<Reason> {
    let audit: Vec<ColumnDef> = options.audit_prefix.iter().flat_map(|prefix| audit_columns(prefix)).collect();
    let ours = |name: &str| {
        schema.columns.iter().any(|column| same(&column.name, name)) || audit.iter().any(|c| same(&c.name, name))
    };
    let extra = described.columns.iter().filter(|column| !column.nullable && !column.filled && !ours(&column.name));
    extra
        .map(|column| {
            let message = format!("column {} must not be NULL, has no default, and the source lacks it", column.name);
            let sql = format!(
                "ALTER TABLE {} MODIFY COLUMN {} {} NULL;",
                ddl::table(&options.database, &schema.target),
                ddl::name(&column.name),
                column.ty
            );
            Code::Schema.reason(target, message).with_sql(sql)
        })
        .collect()
}

/// The audit columns as the target spells them; findings where one is missing or of another type.
fn audit_plan(
    target: &str,
    options: &Options,
    schema: &TableSchema,
    described: &Described,
    findings: &mut Vec<Reason>,
) -> Option<Audit> {
    let columns = audit_columns(options.audit_prefix.as_deref()?);
    let lacking = missing_audit(described, options);
    if !lacking.is_empty() {
        let names: Vec<&str> = lacking.iter().map(|column| column.name.as_str()).collect();
        let message = format!("the table lacks the audit columns {}", names.join(", "));
        let sql = ddl::add_columns(&options.database, &schema.target, &lacking) + ";";
        findings.push(Code::Schema.reason(target, message).with_sql(sql));
        return None;
    }
    let spelled = columns.map(|wanted| {
        let there = described.column(&wanted.name);
        let fits = there.is_some_and(|there| match (&wanted.ty, &there.ty) {
            (Target::Int(need), Target::Int(has)) => has >= need,
            (need, has) => need == has,
        });
        if !fits {
            let found = there.map_or_else(String::new, |there| there.ty.to_string());
            let message = format!("audit column {} is {found} where it must be {}", wanted.name, wanted.ty);
            let sql = ddl::modify_column(&options.database, &schema.target, &wanted) + ";";
            findings.push(Code::Type.reason(target, message).with_sql(sql));
        }
        there.map_or(wanted.name, |there| there.name.clone())
    });
    let [op_type, is_deleted, synced_at, cdc_version] = spelled;
    Some(Audit { op_type, is_deleted, synced_at, cdc_version })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Class, ColumnType, TableId, TableName};
    use crate::sink::starrocks::tests::options;

    fn schema(columns: &[(&str, ColumnType)], key: &[usize]) -> TableSchema {
        let columns = columns
            .iter()
            .map(|(name, ty)| Column { name: (*name).to_owned(), ty: ty.clone(), nullable: true })
            .collect();
        let name = TableName { schema: "shop".into(), name: "orders".into() };
        TableSchema { id: TableId(1), name, target: "orders".into(), columns, key: key.to_vec(), complete: true }
    }

    fn described(columns: &[(&str, &str, bool)], key: &[&str]) -> Described {
        Described {
            columns: columns
                .iter()
                .map(|(name, ty, nullable)| DescribedColumn {
                    name: (*name).to_owned(),
                    ty: Target::read(ty),
                    nullable: *nullable,
                    filled: false,
                })
                .collect(),
            model: Some("PRIMARY_KEYS".into()),
            key: key.iter().map(|name| (*name).to_owned()).collect(),
        }
    }

    /// A described table from what we would create.
    fn own(schema: &TableSchema, options: &Options) -> Described {
        let columns = wanted(schema, options);
        Described {
            key: columns.iter().filter(|column| column.key).map(|column| column.name.clone()).collect(),
            model: Some("PRIMARY_KEYS".into()),
            columns: columns
                .into_iter()
                .map(|column| DescribedColumn {
                    name: column.name,
                    ty: column.ty,
                    nullable: !column.key,
                    filled: false,
                })
                .collect(),
        }
    }

    #[test]
    fn what_we_create_fits() {
        let schema = schema(&[("note", ColumnType::Text), ("b", ColumnType::Int32), ("a", ColumnType::Uuid)], &[2, 1]);
        let options = options();
        let wanted: Vec<String> = wanted(&schema, &options).into_iter().map(|column| column.name).collect();
        let want = ["a", "b", "note", "sluice_op_type", "sluice_is_deleted", "sluice_synced_at", "sluice_cdc_version"];
        assert_eq!(wanted, want);
        let plan = fitted(&schema, &own(&schema, &options), &options).unwrap();
        assert_eq!(plan.columns.iter().map(|column| column.name.as_str()).collect::<Vec<_>>(), ["note", "b", "a"]);
        assert!(plan.key_alone_fits && plan.audit.is_some() && !plan.hard_deletes);
    }

    #[test]
    fn the_targets_spelling_is_used() {
        let schema = schema(&[("Id", ColumnType::Int32), ("Größe", ColumnType::Text)], &[0]);
        let mut options = options();
        options.audit_prefix = None;
        let there = described(&[("ID", "int", false), ("größe", "string", true)], &["ID"]);
        let plan = fitted(&schema, &there, &options).unwrap();
        assert_eq!(plan.columns.iter().map(|column| column.name.as_str()).collect::<Vec<_>>(), ["ID", "größe"]);
        assert!(plan.hard_deletes, "without audit columns a delete has no other trace");
    }

    #[test]
    fn every_finding_names_the_column_and_what_to_paste() {
        let schema = schema(
            &[("id", ColumnType::Int64), ("name", ColumnType::Varchar { chars: Some(10) }), ("n", ColumnType::Int32)],
            &[0],
        );
        let mut options = options();
        options.audit_prefix = None;
        let good = [("id", "bigint", false), ("name", "varchar(40)", true), ("n", "int", true)];
        let with = |change: (usize, (&'static str, &'static str, bool))| {
            let mut columns = good.to_vec();
            columns.truncate(change.0);
            columns.push(change.1);
            columns.extend(&good[change.0 + 1..]);
            columns
        };
        let cases = [
            (
                "SINK_TYPE",
                described(&with((1, ("name", "varchar(30)", true))), &["id"]),
                "column name of type VARCHAR(30) is too narrow for the source's column name of type varchar(10), which \
                 needs VARCHAR(40)",
                "MODIFY COLUMN `name` VARCHAR(40) NULL;",
            ),
            (
                "SINK_TYPE",
                described(&with((2, ("n", "smallint", true))), &["id"]),
                "column n of type SMALLINT is too narrow for the source's column n of type integer, which needs INT",
                "MODIFY COLUMN `n` INT NULL;",
            ),
            (
                "SINK_TYPE",
                described(&with((2, ("n", "date", true))), &["id"]),
                "column n of type DATE cannot take the values of the source's column n of type integer",
                "",
            ),
            (
                "SINK_TYPE",
                described(&with((0, ("id", "int", false))), &["id"]),
                "column id of type INT is too narrow for the source's column id of type bigint, which needs BIGINT",
                "",
            ),
            ("SINK_SCHEMA", described(&good[..2], &["id"]), "lacks n", "ADD COLUMN (`n` INT NULL);"),
            (
                "SINK_SCHEMA",
                described(&[&good[..], &[("extra", "int", false)]].concat(), &["id"]),
                "extra must not be NULL",
                "MODIFY COLUMN `extra` INT NULL;",
            ),
            ("SINK_KEY", described(&good, &["id", "n"]), "(id, n) where the source's is (id)", ""),
            (
                "SINK_TABLE_MODEL",
                Described { model: Some("DUP_KEYS".into()), ..described(&good, &["id"]) },
                "DUP_KEYS",
                "",
            ),
        ];
        for (code, there, message, sql) in cases {
            let findings = fitted(&schema, &there, &options).unwrap_err();
            let [finding] = &findings[..] else { panic!("{code}: {findings:?}") };
            assert_eq!((finding.code, finding.class), (code, Class::Wait));
            assert!(finding.message.contains(message), "{}", finding.message);
            assert!(finding.sql.contains(sql) && !finding.remedy.is_empty(), "{}", finding.sql);
        }
        let all = described(&[("id", "date", false), ("extra", "int", false)], &["extra"]);
        let codes: Vec<_> = fitted(&schema, &all, &options).unwrap_err().iter().map(|finding| finding.code).collect();
        assert_eq!(codes, ["SINK_KEY", "SINK_TYPE", "SINK_SCHEMA", "SINK_SCHEMA"]);
        assert!(fitted(&schema, &described(&good, &["id"]), &options).is_ok());
    }

    #[test]
    fn audit_columns_are_missed_and_checked() {
        let schema = schema(&[("id", ColumnType::Int64)], &[0]);
        let options = options();
        let bare = described(&[("id", "bigint", false)], &["id"]);
        assert_eq!(missing_audit(&bare, &options).len(), 4);
        assert_eq!(fitted(&schema, &bare, &options).unwrap_err().len(), 1);
        let mut other = own(&schema, &options);
        other.columns[3].ty = Target::Date;
        let findings = fitted(&schema, &other, &options).unwrap_err();
        assert!(findings[0].message.contains("sluice_synced_at is DATE where it must be DATETIME"), "{findings:?}");
        other.columns[3].ty = Target::Datetime;
        other.columns[1].ty = Target::Int(4);
        assert!(fitted(&schema, &other, &options).is_ok(), "a wider number is fine");
    }

    #[test]
    fn bad_names_are_told() {
        let cases = [
            ("__op", "keeps for itself"),
            ("a=b", "does not allow"),
            ("a\nb", "does not allow"),
            ("ID", "of another one"),
            ("sluice_Op_Type", "of another one"),
        ];
        for (name, want) in cases {
            let schema = schema(&[("id", ColumnType::Int64), (name, ColumnType::Text)], &[0]);
            let findings = names(&schema, &options());
            let [finding] = &findings[..] else { panic!("{name}: {findings:?}") };
            assert!(finding.message.contains(want) && finding.code == "SINK_SCHEMA", "{finding:?}");
        }
        assert!(
            names(&schema(&[("id", ColumnType::Int64), ("größe 1", ColumnType::Text)], &[0]), &options()).is_empty()
        );
    }
}
