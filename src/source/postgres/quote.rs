//! Quoting, for the commands that take no parameters (PostgreSQL 18 documentation, 4.1 "Lexical Structure").
//!
//! In: any text without a zero byte. Out: one token that stands for exactly that text, in SQL and in replication
//! commands. Always: sessions pin `standard_conforming_strings`, so a backslash is a plain character. A zero byte
//! cannot be sent at all: building the message fails on it.

/// A quoted identifier: `"Odd ""Name"""`.
pub(super) fn identifier(name: &str) -> String {
    quoted(name, '"')
}

/// A string literal: `'it''s'`.
pub(super) fn literal(text: &str) -> String {
    quoted(text, '\'')
}

fn quoted(text: &str, mark: char) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push(mark);
    for c in text.chars() {
        if c == mark {
            quoted.push(mark);
        }
        quoted.push(c);
    }
    quoted.push(mark);
    quoted
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Reads a token as PostgreSQL's lexer does: up to the first mark that is not doubled.
    fn unquoted(token: &str, mark: char) -> Option<String> {
        let mut chars = token.strip_prefix(mark)?.chars().peekable();
        let mut text = String::new();
        while let Some(c) = chars.next() {
            match c {
                c if c != mark => text.push(c),
                _ if chars.next_if_eq(&mark).is_some() => text.push(mark),
                _ => return chars.next().is_none().then_some(text),
            }
        }
        None
    }

    proptest! {
        #[test]
        fn a_token_ends_where_it_ends_and_stands_for_its_text(text in r#"(\PC|['"\\]){0,20}"#) {
            prop_assert_eq!(unquoted(&identifier(&text), '"'), Some(text.clone()));
            prop_assert_eq!(unquoted(&literal(&text), '\''), Some(text));
        }
    }
}
