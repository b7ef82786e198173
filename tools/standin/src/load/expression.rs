//! Expressions of the `columns` header: the few a load needs.
//!
//! In: fields as text. Out: text, bytes or NULL, which the target column then reads. Always: a function that is not
//! modelled fails the load in plain words; StarRocks knows many more.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use super::columns::{split_top_level, unquoted};

/// Deepest nesting of calls.
const DEPTH_MAX: usize = 16;

/// An expression.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Expression {
    /// A field by name.
    Field(String),
    /// `NULL`.
    Null,
    /// `'text'`.
    Text(String),
    /// `42`.
    Number(String),
    /// `to_binary(x, 'encode64' | 'hex' | 'utf8')`.
    ToBinary(Box<Expression>, BinaryCoding),
    /// `parse_json(x)`, which here is what a JSON column does with text anyway.
    ParseJson(Box<Expression>),
}

/// Second argument of `to_binary`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BinaryCoding {
    Encode64,
    Hex,
    Utf8,
}

impl Expression {
    pub(super) fn parse(text: &str) -> Result<Expression, String> {
        Expression::parse_within(text, DEPTH_MAX)
    }

    /// `depth`: how many calls may still lie within each other.
    fn parse_within(text: &str, depth: usize) -> Result<Expression, String> {
        let text = text.trim();
        let quoted = |quote: char| text.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote));
        if let Some(inside) = quoted('\'').or_else(|| quoted('"')) {
            return Ok(Expression::Text(inside.to_string()));
        }
        if text.eq_ignore_ascii_case("null") {
            return Ok(Expression::Null);
        }
        if text.starts_with(|c: char| c.is_ascii_digit() || c == '-' || c == '+') && text.parse::<f64>().is_ok() {
            return Ok(Expression::Number(text.to_string()));
        }
        if let Some((name, rest)) = text.split_once('(')
            && let Some(arguments) = rest.strip_suffix(')')
        {
            let inner = depth.checked_sub(1).ok_or("starrocks-standin does not model expressions as deep as this")?;
            return call(name.trim(), arguments, inner);
        }
        if text.starts_with('`') || text.chars().all(|c| c.is_alphanumeric() || c == '_') && !text.is_empty() {
            return Ok(Expression::Field(unquoted(text)));
        }
        Err(format!("starrocks-standin does not model the expression: {text}"))
    }

    /// Names of the fields it reads.
    pub(super) fn fields(&self) -> Option<&str> {
        match self {
            Expression::Field(name) => Some(name),
            Expression::ToBinary(inner, _) | Expression::ParseJson(inner) => inner.fields(),
            Expression::Null | Expression::Text(_) | Expression::Number(_) => None,
        }
    }

    /// Its value; `field` gives a field's text, `None` for NULL.
    pub(super) fn evaluate(&self, field: &dyn Fn(&str) -> Option<Vec<u8>>) -> Option<Vec<u8>> {
        match self {
            Expression::Field(name) => field(name),
            Expression::Null => None,
            Expression::Text(text) | Expression::Number(text) => Some(text.clone().into_bytes()),
            Expression::ParseJson(inner) => inner.evaluate(field),
            // Input that does not decode is an empty value, not an error.
            Expression::ToBinary(inner, coding) => {
                let bytes = inner.evaluate(field)?;
                Some(match coding {
                    BinaryCoding::Utf8 => bytes,
                    BinaryCoding::Encode64 => BASE64_STANDARD.decode(&bytes).unwrap_or_default(),
                    BinaryCoding::Hex => from_hex(&bytes).unwrap_or_default(),
                })
            }
        }
    }

    /// Whether its value is bytes for a VARBINARY column, not text to be read.
    pub(super) fn is_binary(&self) -> bool {
        matches!(self, Expression::ToBinary(..))
    }
}

fn call(name: &str, arguments: &str, depth: usize) -> Result<Expression, String> {
    let arguments = split_top_level(arguments, ',');
    match (name.to_ascii_lowercase().as_str(), arguments.as_slice()) {
        ("to_binary", [value]) => {
            Ok(Expression::ToBinary(Box::new(Expression::parse_within(value, depth)?), BinaryCoding::Hex))
        }
        ("to_binary", [value, coding]) => {
            let coding = match Expression::parse_within(coding, depth)? {
                Expression::Text(text) => match text.to_ascii_lowercase().as_str() {
                    "encode64" => BinaryCoding::Encode64,
                    "utf8" => BinaryCoding::Utf8,
                    _ => BinaryCoding::Hex,
                },
                _ => return Err("to_binary wants a constant format".to_string()),
            };
            Ok(Expression::ToBinary(Box::new(Expression::parse_within(value, depth)?), coding))
        }
        ("parse_json", [value]) => Ok(Expression::ParseJson(Box::new(Expression::parse_within(value, depth)?))),
        _ => Err(format!("starrocks-standin does not model the function {name} in columns")),
    }
}

fn from_hex(digits: &[u8]) -> Option<Vec<u8>> {
    if !digits.len().is_multiple_of(2) {
        return None;
    }
    let pairs = digits.chunks(2).map(|pair| {
        let pair = std::str::from_utf8(pair).ok().filter(|pair| pair.bytes().all(|b| b.is_ascii_hexdigit()))?;
        u8::from_str_radix(pair, 16).ok()
    });
    pairs.collect()
}
