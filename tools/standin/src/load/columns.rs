//! The `columns` header: fields of the source in order, and columns computed from them.
//!
//! In: `a, tmp, b = to_binary(tmp, 'encode64'), __op = 'delete'`. Out: `ColumnList`.
//! (StarRocks docs, STREAM LOAD, "columns"; StarRocks source, `Load.java`.)

use super::expression::Expression;

/// What the header says.
#[derive(Debug, Default, PartialEq)]
pub(super) struct ColumnList {
    /// Names that stand for the fields of the source.
    pub(super) fields: Vec<String>,
    /// `name = expression`.
    pub(super) computed: Vec<(String, Expression)>,
}

impl ColumnList {
    pub(super) fn parse(text: &str) -> Result<ColumnList, String> {
        let mut list = ColumnList::default();
        for part in split_top_level(text, ',') {
            let sides = split_top_level(part, '=');
            let name = unquoted(sides[0].trim());
            match sides.len() {
                _ if name.is_empty() => return Err(format!("Invalid column mapping: {text}")),
                1 if list.has_field(&name) => return Err(format!("Duplicate column: {name}")),
                1 => list.fields.push(name),
                _ if list.computed.iter().any(|(other, _)| other.eq_ignore_ascii_case(&name)) => {
                    return Err(format!("Duplicate column mapping: {name}"));
                }
                _ => {
                    let expression = part[sides[0].len() + 1..].trim();
                    list.computed.push((name, Expression::parse(expression)?));
                }
            }
        }
        Ok(list)
    }

    pub(super) fn has_field(&self, name: &str) -> bool {
        self.fields.iter().any(|field| field.eq_ignore_ascii_case(name))
    }
}

/// A name without its back quotes.
pub(super) fn unquoted(name: &str) -> String {
    name.strip_prefix('`').and_then(|rest| rest.strip_suffix('`')).unwrap_or(name).to_string()
}

/// Splits at `separator` outside of quotes and brackets.
pub(super) fn split_top_level(text: &str, separator: char) -> Vec<&str> {
    let mut parts = Vec::new();
    let (mut start, mut depth, mut quote) = (0, 0_i32, None);
    for (at, character) in text.char_indices() {
        match (quote, character) {
            (Some(open), _) if open == character => quote = None,
            (Some(_), _) => {}
            (None, '\'' | '"' | '`') => quote = Some(character),
            (None, '(') => depth += 1,
            (None, ')') => depth -= 1,
            (None, _) if character == separator && depth == 0 => {
                parts.push(&text[start..at]);
                start = at + character.len_utf8();
            }
            (None, _) => {}
        }
    }
    parts.push(&text[start..]);
    parts
}
