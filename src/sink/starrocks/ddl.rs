//! The text of every statement that names something: quoting and table definitions. Runs nothing.

use super::types::Target;

/// An identifier in back-quotes.
pub(super) fn name(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

/// A string literal.
pub(super) fn text(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}

/// `database.table`, quoted.
pub(super) fn table(database: &str, table: &str) -> String {
    format!("{}.{}", name(database), name(table))
}

/// One column of a definition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ColumnDef {
    pub(super) name: String,
    pub(super) ty: Target,
    /// Key columns must not be NULL; all others may, so that partial rows and deletes by key are accepted.
    pub(super) key: bool,
}

impl ColumnDef {
    fn definition(&self) -> String {
        let null = if self.key { "NOT NULL" } else { "NULL" };
        format!("{} {} {null}", name(&self.name), self.ty)
    }
}

/// `CREATE TABLE` of a Primary Key table. The key columns come first in `columns`, in key order. Buckets are left to
/// the server (StarRocks documentation, CREATE TABLE, "distribution_desc").
pub(super) fn create_table(database: &str, target: &str, columns: &[ColumnDef], replication: Option<u16>) -> String {
    let definitions: Vec<String> = columns.iter().map(|column| format!("  {}", column.definition())).collect();
    let key: Vec<String> = columns.iter().filter(|column| column.key).map(|column| name(&column.name)).collect();
    let key = key.join(", ");
    let properties = replication.map_or(String::new(), |n| format!("\nPROPERTIES (\"replication_num\" = \"{n}\")"));
    format!(
        "CREATE TABLE IF NOT EXISTS {} (\n{}\n) ENGINE=OLAP\nPRIMARY KEY ({key})\nDISTRIBUTED BY HASH ({key}){properties}",
        table(database, target),
        definitions.join(",\n"),
    )
}

/// `ALTER TABLE … ADD COLUMN (…)`. There is no `IF NOT EXISTS` for columns.
pub(super) fn add_columns(database: &str, target: &str, columns: &[ColumnDef]) -> String {
    let definitions: Vec<String> = columns.iter().map(ColumnDef::definition).collect();
    format!("ALTER TABLE {} ADD COLUMN ({})", table(database, target), definitions.join(", "))
}

/// `ALTER TABLE … MODIFY COLUMN`.
pub(super) fn modify_column(database: &str, target: &str, column: &ColumnDef) -> String {
    let key = if column.key { " KEY NOT NULL" } else { " NULL" };
    format!("ALTER TABLE {} MODIFY COLUMN {} {}{key}", table(database, target), name(&column.name), column.ty)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(name: &str, ty: Target, key: bool) -> ColumnDef {
        ColumnDef { name: name.to_owned(), ty, key }
    }

    #[test]
    fn statements() {
        let id = column("id", Target::Int(8), true);
        let odd = column("a`b", Target::Decimal { precision: 10, scale: 2 }, false);
        let created = create_table("shop", "orders", &[id.clone(), odd.clone()], Some(1));
        let want = "CREATE TABLE IF NOT EXISTS `shop`.`orders` (\n  `id` BIGINT NOT NULL,\n  `a``b` DECIMAL(10,2) NULL\n) \
                    ENGINE=OLAP\nPRIMARY KEY (`id`)\nDISTRIBUTED BY HASH (`id`)\nPROPERTIES (\"replication_num\" = \"1\")";
        assert_eq!(created, want);
        assert!(!create_table("d", "t", std::slice::from_ref(&id), None).contains("PROPERTIES"));
        let added = add_columns("shop", "orders", &[odd.clone(), column("c", Target::Json, false)]);
        assert_eq!(added, "ALTER TABLE `shop`.`orders` ADD COLUMN (`a``b` DECIMAL(10,2) NULL, `c` JSON NULL)");
        assert_eq!(
            modify_column("shop", "orders", &column("v", Target::Varchar(40), false)),
            "ALTER TABLE `shop`.`orders` MODIFY COLUMN `v` VARCHAR(40) NULL"
        );
        assert_eq!(text("it's \\ 5"), r"'it\'s \\ 5'");
    }
}
