//! Rows of a JSON body.
//!
//! In: an array of objects, or objects one after the other. Out: rows for the sink.
//! Always: keys are compared with regard to case; unknown ones are skipped; of a repeated key the first counts; a syntax
//! error ends the load (StarRocks source, `json_scanner.cpp`).

use std::collections::HashMap;

use super::path::{Found, JsonPath};
use super::plan::Plan;
use super::row_sink::{FieldValue, RowSink};
use crate::json::{JsonError, Reader, Token, unescape};

/// Reads the whole body. An error is the load's `Message`.
pub(super) fn read(plan: &Plan, body: &[u8], sink: &mut RowSink<'_>) -> Result<(), String> {
    let mut rows = JsonRows::new(plan);
    let mut reader = Reader::new(body);
    let strip = plan.request.strip_outer_array;
    match reader.peek() {
        None => Ok(()),
        // With a root the outer array is opened by itself.
        Some(b'[') if strip || plan.root.is_some() => {
            reader.elements::<RowError>(|token| rows.document(token, sink))?;
            match reader.peek() {
                None => Ok(()),
                Some(_) => Err(RowError::from(after_the_end(&mut reader)).into()),
            }
        }
        Some(b'[') => {
            Err("The value is array type in json document stream, you can set strip_outer_array=true to parse \
                           each element of the array as individual rows"
                .to_string())
        }
        Some(b'{') if strip && plan.root.is_none() => {
            let value = reader.value().map_err(RowError::from)?;
            let Token::Object(raw) = value else { return Ok(()) };
            let start = String::from_utf8_lossy(&raw[..raw.len().min(80)]).into_owned();
            Err(format!("the value should be array type with strip_outer_array=true, value: {start}"))
        }
        Some(b'{') => {
            while reader.peek().is_some() {
                let token = reader.value().map_err(RowError::from)?;
                rows.document(token, sink)?;
            }
            Ok(())
        }
        Some(other) => Err(format!("illegal json started with [{}]", char::from(other))),
    }
}

fn after_the_end(reader: &mut Reader<'_>) -> JsonError {
    match reader.value() {
        Err(error) => error,
        Ok(_) => JsonError { what: "The JSON document has more than one value", at: 0 },
    }
}

/// An error that ends the load.
enum RowError {
    Json(JsonError),
    NotAnObject,
}

impl From<JsonError> for RowError {
    fn from(error: JsonError) -> RowError {
        RowError::Json(error)
    }
}

impl From<RowError> for String {
    fn from(error: RowError) -> String {
        match error {
            RowError::Json(error) => format!("Failed to iterate document stream as object. error: {error}"),
            RowError::NotAnObject => "the value should be object type in json document stream".to_string(),
        }
    }
}

struct JsonRows<'p> {
    plan: &'p Plan,
    by_name: HashMap<&'p [u8], usize>,
    /// Keys of the object before, in its order: most bodies repeat them.
    before: Vec<(Vec<u8>, Option<usize>)>,
}

impl<'p> JsonRows<'p> {
    fn new(plan: &'p Plan) -> JsonRows<'p> {
        let by_name = plan.fields.iter().enumerate().rev().map(|(at, name)| (name.as_bytes(), at)).collect();
        JsonRows { plan, by_name, before: Vec::new() }
    }

    /// One element of the outer array, or one document of the stream.
    fn document(&mut self, token: Token<'_>, sink: &mut RowSink<'_>) -> Result<(), RowError> {
        let Some(root) = &self.plan.root else { return self.object(token, sink) };
        match root.find(token)? {
            Found::Value(Token::Array(raw)) if self.plan.request.strip_outer_array => {
                Reader::new(raw).elements::<RowError>(|token| self.object(token, sink))
            }
            Found::Value(token) => self.object(token, sink),
            Found::Nothing | Found::ThroughScalar => Err(RowError::NotAnObject),
        }
    }

    fn object(&mut self, token: Token<'_>, sink: &mut RowSink<'_>) -> Result<(), RowError> {
        let Token::Object(raw) = token else { return Err(RowError::NotAnObject) };
        match &self.plan.paths {
            Some(paths) => self.by_path(paths, token, raw, sink),
            None => self.by_key(raw, sink),
        }
    }

    fn by_key(&mut self, raw: &[u8], sink: &mut RowSink<'_>) -> Result<(), RowError> {
        let mut values = vec![FieldValue::Null; self.plan.fields.len()];
        let mut seen = vec![false; values.len()];
        let mut place = 0;
        Reader::new(raw).members::<JsonError>(|key, value| {
            let at = self.field_of(key, place)?;
            place += 1;
            if let Some(at) = at
                && !std::mem::replace(&mut seen[at], true)
            {
                values[at] = FieldValue::Json(value);
            }
            Ok(())
        })?;
        sink.row(&values, raw);
        Ok(())
    }

    /// Which field a key means, with the key at the same place of the object before as the first guess.
    fn field_of(&mut self, key: &[u8], place: usize) -> Result<Option<usize>, JsonError> {
        if let Some((before, at)) = self.before.get(place)
            && before == key
        {
            return Ok(*at);
        }
        let at = self.by_name.get(unescape(key)?.as_ref()).copied();
        let guess = (key.to_vec(), at);
        match self.before.get_mut(place) {
            Some(before) => *before = guess,
            None => self.before.push(guess),
        }
        Ok(at)
    }

    /// Fewer paths than fields leave the rest NULL.
    fn by_path(&self, paths: &[JsonPath], row: Token<'_>, raw: &[u8], sink: &mut RowSink<'_>) -> Result<(), RowError> {
        let mut values = vec![FieldValue::Null; self.plan.fields.len()];
        for (value, path) in values.iter_mut().zip(paths) {
            match path.find(row)? {
                Found::Value(token) => *value = FieldValue::Json(token),
                Found::Nothing => {}
                Found::ThroughScalar => {
                    sink.filtered("Failed to find the json path: a step leads through a value that is no object", raw);
                    return Ok(());
                }
            }
        }
        sink.row(&values, raw);
        Ok(())
    }
}
