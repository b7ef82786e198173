//! Rows of a CSV body: both of StarRocks' parsers.
//!
//! Without `enclose` and `escape` a row is a pure split: there is no quoting. With either, enclosed fields may hold
//! separators and row ends, a doubled enclose is one, and `escape` takes the next byte as it is.
//! Always: a field that reads `\N` when quoting is gone is NULL; empty lines are skipped
//! (StarRocks source, `csv_reader.cpp`, `csv_scanner.cpp`).

use std::borrow::Cow;

use memchr::memmem;

use super::plan::Plan;
use super::request::LoadRequest;
use super::row_sink::{FieldValue, RowSink};

/// Reads the whole body.
pub(super) fn read(plan: &Plan, body: &[u8], sink: &mut RowSink<'_>) {
    let request = &plan.request;
    let mut row = |fields: &[Cow<'_, [u8]>], raw: &[u8]| one_row(plan, fields, raw, sink);
    if request.enclose.is_some() || request.escape.is_some() {
        quoted_rows(request, body, &mut row);
    } else {
        split_rows(request, body, &mut row);
    }
}

fn one_row(plan: &Plan, fields: &[Cow<'_, [u8]>], raw: &[u8], sink: &mut RowSink<'_>) {
    if std::str::from_utf8(raw).is_err() {
        return sink.filtered("Invalid UTF-8 row", raw);
    }
    if fields.len() != plan.fields.len() {
        return sink.filtered(
            &format!(
                "Target column count: {} doesn't match source value column count: {}. Column separator: '{}', Row \
                 delimiter: '{}'",
                plan.fields.len(),
                fields.len(),
                plan.request.column_separator.escape_ascii(),
                plan.request.row_delimiter.escape_ascii()
            ),
            raw,
        );
    }
    let values: Vec<_> = fields.iter().map(|field| field_value(field)).collect();
    sink.row(&values, raw);
}

fn field_value(field: &[u8]) -> FieldValue<'_> {
    if field == b"\\N" { FieldValue::Null } else { FieldValue::Text(field) }
}

type RowTaker<'a> = &'a mut dyn FnMut(&[Cow<'_, [u8]>], &[u8]);

fn split_rows(request: &LoadRequest, body: &[u8], row: RowTaker<'_>) {
    let mut rest = body;
    let mut lines = 0;
    while !rest.is_empty() {
        let end = memmem::find(rest, &request.row_delimiter).unwrap_or(rest.len());
        let line = &rest[..end];
        rest = rest.get(end + request.row_delimiter.len()..).unwrap_or_default();
        lines += 1;
        if lines <= request.skip_header || line.is_empty() {
            continue;
        }
        row(&split_fields(request, line), line);
    }
}

fn split_fields<'a>(request: &LoadRequest, line: &'a [u8]) -> Vec<Cow<'a, [u8]>> {
    let mut fields = Vec::new();
    let mut start = 0;
    for at in memmem::find_iter(line, &request.column_separator) {
        fields.push(trimmed(request, &line[start..at]));
        start = at + request.column_separator.len();
    }
    fields.push(trimmed(request, &line[start..]));
    fields
}

fn trimmed<'a>(request: &LoadRequest, field: &'a [u8]) -> Cow<'a, [u8]> {
    Cow::Borrowed(if request.trim_space { trim_blanks(field) } else { field })
}

fn trim_blanks(mut field: &[u8]) -> &[u8] {
    while let [b' ', rest @ ..] | [rest @ .., b' '] = field {
        field = rest;
    }
    field
}

fn quoted_rows(request: &LoadRequest, body: &[u8], row: RowTaker<'_>) {
    let mut at = 0;
    let mut lines = 0;
    while at < body.len() {
        let start = at;
        let (fields, end, next) = quoted_row(request, body, at);
        at = next;
        lines += 1;
        let raw = &body[start..end];
        if lines > request.skip_header && !raw.is_empty() {
            row(&fields, raw);
        }
    }
}

/// The fields of the row at `at`, where it ends, and where the next one begins.
fn quoted_row<'a>(request: &LoadRequest, body: &'a [u8], mut at: usize) -> (Vec<Cow<'a, [u8]>>, usize, usize) {
    let mut fields = Vec::new();
    loop {
        let (field, end) = quoted_field(request, body, at);
        fields.push(field);
        if body[end..].starts_with(&request.column_separator) {
            at = end + request.column_separator.len();
        } else {
            return (fields, end, (end + request.row_delimiter.len()).min(body.len()));
        }
    }
}

/// The field at `at` and where its separator, its row end or the body's end is.
fn quoted_field<'a>(request: &LoadRequest, body: &'a [u8], start: usize) -> (Cow<'a, [u8]>, usize) {
    let mut at = start;
    if request.trim_space {
        at += body[at..].iter().take_while(|byte| **byte == b' ').count();
    }
    let mut out = Vec::new();
    let mut enclosed = request.enclose.is_some() && body.get(at).copied() == request.enclose;
    let was_enclosed = enclosed;
    at += usize::from(enclosed);
    while at < body.len() {
        let rest = &body[at..];
        if request.escape == Some(rest[0]) && rest.len() > 1 {
            out.push(rest[1]);
            at += 2;
        } else if enclosed && request.enclose == Some(rest[0]) {
            let doubled = rest.get(1).copied() == request.enclose;
            if doubled {
                out.push(rest[0]);
            } else {
                enclosed = false;
            }
            at += 1 + usize::from(doubled);
        } else if !enclosed && (rest.starts_with(&request.column_separator) || rest.starts_with(&request.row_delimiter))
        {
            break;
        } else {
            out.push(rest[0]);
            at += 1;
        }
    }
    if request.trim_space && !was_enclosed {
        out = trim_blanks(&out).to_vec();
    }
    (Cow::Owned(out), at)
}
