//! JSON paths of `jsonpaths` and `json_root`: `$.a.b[0]`, `$["a.b"]`.

use crate::json::{JsonError, Reader, Token, unescape};

/// One step.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Key(Vec<u8>),
    Index(usize),
}

/// A path from the row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct JsonPath {
    steps: Vec<Step>,
}

/// Where a path led.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found<'a> {
    Value(Token<'a>),
    /// No such key or element: NULL.
    Nothing,
    /// A key of something that is no object: the row is filtered.
    ThroughScalar,
}

impl JsonPath {
    /// Reads the array of paths of the `jsonpaths` header.
    pub(super) fn parse_list(text: &str) -> Result<Vec<JsonPath>, String> {
        let wrong = |error: JsonError| format!("Invalid json path: {text}, error: {error}");
        let mut paths = Vec::new();
        let mut bad = None;
        Reader::new(text.as_bytes())
            .elements::<JsonError>(|token| {
                match token {
                    Token::Text(inside) => match JsonPath::parse(&String::from_utf8_lossy(&unescape(inside)?)) {
                        Ok(path) => paths.push(path),
                        Err(error) => bad = Some(error),
                    },
                    _ => bad = Some(format!("Invalid json path: {text}, error: a path must be a string")),
                }
                Ok(())
            })
            .map_err(wrong)?;
        bad.map_or(Ok(paths), Err)
    }

    pub(super) fn parse(text: &str) -> Result<JsonPath, String> {
        let wrong = || format!("Invalid json path: {text}");
        let mut rest = text.trim().strip_prefix('$').ok_or_else(wrong)?;
        let mut steps = Vec::new();
        while !rest.is_empty() {
            if let Some(after) = rest.strip_prefix('.') {
                let end = after.find(['.', '[']).unwrap_or(after.len());
                steps.push(Step::Key(after[..end].trim_matches('"').as_bytes().to_vec()));
                rest = &after[end..];
            } else {
                let (inside, after) = rest.strip_prefix('[').and_then(|r| r.split_once(']')).ok_or_else(wrong)?;
                let key = inside.trim_matches(['"', '\'']);
                steps.push(match inside.parse() {
                    Ok(index) => Step::Index(index),
                    Err(_) if key.len() < inside.len() => Step::Key(key.as_bytes().to_vec()),
                    Err(_) => return Err(wrong()),
                });
                rest = after;
            }
        }
        Ok(JsonPath { steps })
    }

    pub(super) fn find<'a>(&self, from: Token<'a>) -> Result<Found<'a>, JsonError> {
        let mut token = from;
        for step in &self.steps {
            let next = match (step, token) {
                (Step::Key(key), Token::Object(raw)) => member(raw, key)?,
                (Step::Index(index), Token::Array(raw)) => element(raw, *index)?,
                (_, Token::Null) => None,
                (Step::Index(0), other) => Some(other),
                _ => return Ok(Found::ThroughScalar),
            };
            match next {
                Some(found) => token = found,
                None => return Ok(Found::Nothing),
            }
        }
        Ok(Found::Value(token))
    }
}

fn member<'a>(raw: &'a [u8], key: &[u8]) -> Result<Option<Token<'a>>, JsonError> {
    let mut found = None;
    Reader::new(raw).members::<JsonError>(|name, value| {
        if found.is_none() && unescape(name)?.as_ref() == key {
            found = Some(value);
        }
        Ok(())
    })?;
    Ok(found)
}

fn element(raw: &[u8], index: usize) -> Result<Option<Token<'_>>, JsonError> {
    let (mut at, mut found) = (0, None);
    Reader::new(raw).elements::<JsonError>(|value| {
        if at == index {
            found = Some(value);
        }
        at += 1;
        Ok(())
    })?;
    Ok(found)
}
