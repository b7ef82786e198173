//! Words of SQL that carry names and values, and what a failed statement means.
//!
//! In: names and values as they are. Out: SQL that means exactly them, under every setting of the session. Always:
//! whatever is put into a statement's text goes through [`identifier`] or [`literal`]; everything else is a
//! parameter. Not here: the statements (each module holds its own). Start at [`identifier`].

use tokio_postgres::Error;

use crate::model::{Class, Reason, TableName};

/// A name in double quotes, as PostgreSQL reads it back unchanged (documentation, 4.1.1 "Identifiers and Key Words").
pub(super) fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A table's name, qualified and quoted.
pub(super) fn table(name: &TableName) -> String {
    format!("{}.{}", identifier(&name.schema), identifier(&name.name))
}

/// A value in single quotes. Backslashes get the `E` form, which means the same whether
/// `standard_conforming_strings` is on or off (documentation, 4.1.2 "Constants").
pub(super) fn literal(value: &str) -> String {
    let quoted = value.replace('\'', "''");
    if quoted.contains('\\') { format!("E'{}'", quoted.replace('\\', "\\\\")) } else { format!("'{quoted}'") }
}

/// What a failed statement means. `doing` completes "failed to ...": `read the slot`. Only for statements that carry
/// no row values: the server's message is passed on.
pub(super) fn failed(doing: &str, error: &Error) -> Reason {
    let (state, said) = match error.as_db_error() {
        Some(db) => (db.code().code(), format!("{} (SQLSTATE {})", db.message(), db.code().code())),
        None => ("", error.to_string()),
    };
    reason(doing, state, &said)
}

/// Like [`failed`], for statements that carry row values: only the server's code is passed on.
pub(super) fn failed_with_values(doing: &str, error: &Error) -> Reason {
    match error.as_db_error() {
        Some(db) => reason(doing, db.code().code(), &format!("SQLSTATE {}", db.code().code())),
        None => reason(doing, "", "the connection broke or the answer could not be read"),
    }
}

/// The table of SQLSTATEs (PostgreSQL documentation, appendix A). Classes first, single codes where they differ.
fn reason(doing: &str, state: &str, said: &str) -> Reason {
    let (code, class, remedy) = match state {
        "53300" | "53400" => ("SOURCE_LIMIT", Class::Wait, "raise the limit the server names, or free what holds it"),
        "42501" => ("SOURCE_PRIVILEGE", Class::Wait, "grant the right to the role, or run the statement as its owner"),
        "25006" => ("SOURCE_READ_ONLY", Class::Wait, "connect to the primary server, and let the role write"),
        "40001" | "40P01" | "55P03" | "55006" | "57014" => ("SOURCE_BUSY", Class::Retry, "it is tried again"),
        _ if state.starts_with("28") => ("SOURCE_AUTH", Class::Wait, "check role, password and pg_hba.conf"),
        _ if state.is_empty() || state.starts_with("08") || state.starts_with("57P") || state.starts_with("53") => {
            ("SOURCE_UNREACHABLE", Class::Retry, "it is tried again until the server answers")
        }
        _ => ("SOURCE_QUERY", Class::Wait, "see the server's log for the statement; it is tried again"),
    };
    Reason::new(code, class, "", format!("failed to {doing}: {said}"), remedy)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Reads a quoted word back by PostgreSQL's rule; `None` if the quote ends early.
    fn read_back(quoted: &str, quote: char) -> Option<String> {
        let inner = quoted.strip_prefix(quote)?.strip_suffix(quote)?;
        let mut read = String::new();
        let mut rest = inner.chars();
        while let Some(c) = rest.next() {
            if c == quote && rest.next() != Some(quote) {
                return None;
            }
            read.push(c);
        }
        Some(read)
    }

    proptest! {
        #[test]
        fn a_quoted_name_is_the_name(name in any::<String>()) {
            prop_assert_eq!(read_back(&identifier(&name), '"'), Some(name));
        }

        #[test]
        fn a_quoted_value_is_the_value(value in "[\\PC'\\\\]*") {
            let quoted = literal(&value);
            let (body, escaped) = quoted.strip_prefix('E').map_or((&quoted[..], false), |body| (body, true));
            prop_assert_eq!(escaped, value.contains('\\'));
            let read = read_back(body, '\'').expect("closed exactly at its end");
            // The E form halves pairs of backslashes, and there must be nothing but pairs.
            let read = if escaped {
                prop_assert!(!read.replace("\\\\", "").contains('\\'));
                read.replace("\\\\", "\\")
            } else {
                read
            };
            prop_assert_eq!(read, value);
        }
    }

    #[test]
    fn codes_decide_what_may_be_done() {
        let cases = [
            ("", "SOURCE_UNREACHABLE", Class::Retry),
            ("57P01", "SOURCE_UNREACHABLE", Class::Retry),
            ("57P03", "SOURCE_UNREACHABLE", Class::Retry),
            ("53200", "SOURCE_UNREACHABLE", Class::Retry),
            ("53300", "SOURCE_LIMIT", Class::Wait),
            ("53400", "SOURCE_LIMIT", Class::Wait),
            ("28P01", "SOURCE_AUTH", Class::Wait),
            ("42501", "SOURCE_PRIVILEGE", Class::Wait),
            ("25006", "SOURCE_READ_ONLY", Class::Wait),
            ("57014", "SOURCE_BUSY", Class::Retry),
            ("42P01", "SOURCE_QUERY", Class::Wait),
        ];
        for (state, code, class) in cases {
            let reason = reason("look", state, "x");
            assert_eq!((reason.code, reason.class), (code, class), "{state}");
        }
    }
}
