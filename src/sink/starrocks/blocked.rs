//! What a person is told of a value that makes its table wait.
//!
//! In: the fault, and where it is. Out: a reason that names the column, the class, the setting and, where there is
//! one, the statement that cures it. Always: neither the value nor the row's key is told.

use super::ddl::{self, ColumnDef};
use super::encode::{BadValue, EncodeError};
use super::policy::{BadClass, Policy};
use super::reasons::Code;
use super::target::Target;
use super::value::Unfit;
use crate::model::Reason;

/// The target table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) database: String,
    pub(super) table: String,
}

/// What a row that cannot be sent means.
pub(super) fn unencodable(object: &str, place: &Place, error: &EncodeError) -> Reason {
    match error {
        EncodeError::Value(bad) => {
            let BadValue { column, key, nullable, ways, unfit, wider, .. } = &**bad;
            let class = unfit.class();
            let named = class.map_or(String::new(), |class| format!(" (class {})", class.row().name));
            let reason = Code::Value.reason(object, format!("{error}{named}"));
            let reason = Reason { remedy: remedy(*unfit, *key, ways, wider.is_some()), ..reason };
            match wider {
                Some(ty) => reason.with_sql(alter(place, column, ty, *key, *nullable)),
                None => reason,
            }
        }
        EncodeError::KeyTooLong { .. } => Code::KeyTooLong.reason(object, error.to_string()),
        EncodeError::Unchanged { .. }
        | EncodeError::Columns { .. }
        | EncodeError::DeleteAmongRows
        | EncodeError::RowAmongDeletes
        | EncodeError::Compress(_) => Code::Contract.reason(object, error.to_string()),
    }
}

fn alter(place: &Place, column: &str, ty: &Target, key: bool, nullable: bool) -> String {
    let definition = ColumnDef { name: column.to_owned(), ty: ty.clone(), key: key || !nullable };
    let statement = ddl::modify_column(&place.database, &place.table, &definition);
    // Only a key column is called one.
    if key { statement + ";" } else { statement.replace(" KEY NOT NULL", " NOT NULL") + ";" }
}

fn remedy(unfit: Unfit, key: bool, ways: &[Policy], has_statement: bool) -> String {
    let Some(class) = unfit.class() else {
        return match unfit {
            Unfit::Null => "Let the target column be NULL; it goes on by itself then.".to_owned(),
            _ => "Compare the column's type on both sides. No policy helps here: it would hide a mistake.".to_owned(),
        };
    };
    let widen = match (has_statement, class) {
        (true, _) => "Change the column as the statement says; it goes on by itself then.",
        (false, BadClass::DateRange | BadClass::DateInfinite) => {
            "StarRocks changes no date column into text: create the table anew with a VARCHAR column to keep such values."
        }
        (false, _) => "No column of StarRocks that this one can be changed to holds such a value.",
    };
    let log = "Correcting the value in the source is not enough, because the log still holds the change as it was.";
    format!("{widen} {} {log}", by_policy(class, key, ways))
}

/// Which setting would load something else.
fn by_policy(class: BadClass, key: bool, ways: &[Policy]) -> String {
    if key {
        return "Key columns follow no ON_BAD_VALUE policy: two rows could become one.".to_owned();
    }
    let row = class.row();
    let way = |policy: &Policy| {
        let loads = match policy {
            Policy::Block => "nothing",
            Policy::Null => "NULL",
            Policy::Clamp => row.clamp.unwrap_or("the nearest value"),
            Policy::Text => "the text as a JSON string",
        };
        format!("{}={} (loads {loads})", row.name, policy.name())
    };
    match ways {
        [] => "No ON_BAD_VALUE policy can be followed in this column.".to_owned(),
        ways => format!("Or start again with ON_BAD_VALUE={}.", ways.iter().map(way).collect::<Vec<_>>().join(" or ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::starrocks::policy::Abilities;
    use crate::sink::starrocks::value::Writer;

    fn told(unfit: Unfit, key: bool, nullable: bool, wider: Option<Target>) -> Reason {
        let place = Place { database: "shop".into(), table: "t`s".into() };
        let key_hash = "0123456789abcdef".to_owned();
        let column = Abilities { writer: Writer::Json, nullable, key, prose: true };
        let ways = unfit.class().map(|class| column.ways(class)).unwrap_or_default();
        let error =
            EncodeError::Value(Box::new(BadValue { column: "c".into(), key, nullable, ways, key_hash, unfit, wider }));
        unencodable("public.t", &place, &error)
    }

    #[test]
    fn column_class_setting_and_statement_are_named() {
        let decimal = || Some(Target::Decimal { precision: 6, scale: 2 });
        let varchar = || Some(Target::Varchar(128));
        let too_long = Unfit::TooLong { bytes: 9, max: 4 };
        // fault, key, nullable, wider; in the message, in the remedy, statement
        let cases = [
            (
                (Unfit::OutOfRange, false, true, decimal()),
                "column c in the row with key hash 0123456789abcdef is outside the range of the column (class numeric_range)",
                "ON_BAD_VALUE=numeric_range=null (loads NULL) or numeric_range=clamp",
                "ALTER TABLE `shop`.`t``s` MODIFY COLUMN `c` DECIMAL(6,2) NULL;",
            ),
            (
                (Unfit::OutOfRange, false, false, decimal()),
                "(class numeric_range)",
                "ON_BAD_VALUE=numeric_range=clamp",
                "ALTER TABLE `shop`.`t``s` MODIFY COLUMN `c` DECIMAL(6,2) NOT NULL;",
            ),
            (
                (too_long, true, false, varchar()),
                "(class text_length)",
                "Key columns follow no ON_BAD_VALUE policy",
                "ALTER TABLE `shop`.`t``s` MODIFY COLUMN `c` VARCHAR(128) KEY NOT NULL;",
            ),
            ((Unfit::DateInfinite, false, true, None), "(class date_infinite)", "changes no date column into text", ""),
            (
                (Unfit::BadEscape, false, true, Some(Target::Varchar(1_048_576))),
                "(class json_escape)",
                "json_escape=null (loads NULL) or json_escape=text",
                "ALTER TABLE `shop`.`t``s` MODIFY COLUMN `c` VARCHAR(1048576) NULL;",
            ),
            (
                (Unfit::NotANumber, false, false, None),
                "(class numeric_nan)",
                "No ON_BAD_VALUE policy can be followed",
                "",
            ),
            ((Unfit::Malformed, false, true, None), "form of its type", "No policy helps here", ""),
            ((Unfit::Null, false, false, None), "is NULL", "Let the target column be NULL", ""),
        ];
        for ((unfit, key, nullable, wider), message, remedy, sql) in cases {
            let reason = told(unfit, key, nullable, wider);
            assert_eq!((reason.code, reason.object.as_str()), ("VALUE_OUT_OF_RANGE", "public.t"));
            assert!(reason.message.contains(message), "{}", reason.message);
            assert!(reason.remedy.contains(remedy), "{}", reason.remedy);
            assert_eq!(reason.sql, sql, "{unfit:?}");
        }
    }
}
