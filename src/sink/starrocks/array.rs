//! Arrays as PostgreSQL writes them (`array_out` of arrayfuncs.c), as JSON arrays.
//!
//! In: the text of an array. Out: a JSON array, each element written by the caller's rule. Always: elements are found
//! exactly, whatever they hold; what JSON cannot tell (elements that are not numbered from 1) is refused. Not here:
//! how an element is written (`element`, `value`).

use super::quoted::quoted;
use super::value::Unfit;

/// Most dimensions of an array in PostgreSQL (`MAXDIM`).
pub(super) const DIMENSIONS_MAX: usize = 6;

/// Appends the array, which may have so many dimensions. NULL elements become `null`.
///
/// # Errors
/// Those of `element`; or that the array is of another form, or one that cannot be told.
pub(super) fn write(
    text: &[u8],
    delimiter: u8,
    dimensions_max: usize,
    out: &mut Vec<u8>,
    element: impl Fn(&[u8], &mut Vec<u8>) -> Result<(), Unfit>,
) -> Result<(), Unfit> {
    if text.first() == Some(&b'[') {
        return Err(Unfit::ArrayBounds);
    }
    simdutf8::basic::from_utf8(text).map_err(|_| Unfit::NotUtf8)?;
    let (mut rest, mut depth) = (open(text, 0, dimensions_max, out)?, 1);
    if let Some(after) = rest.strip_prefix(b"}") {
        out.push(b']');
        return if after.is_empty() { Ok(()) } else { Err(Unfit::Malformed) };
    }
    loop {
        while rest.first() == Some(&b'{') {
            rest = open(rest, depth, dimensions_max, out)?;
            depth += 1;
        }
        rest = one(rest, delimiter, out, &element)?;
        while let Some(after) = rest.strip_prefix(b"}") {
            out.push(b']');
            depth -= 1;
            if depth == 0 {
                return if after.is_empty() { Ok(()) } else { Err(Unfit::Malformed) };
            }
            rest = after;
        }
        rest = rest.strip_prefix(&[delimiter]).ok_or(Unfit::Malformed)?;
        out.push(b',');
    }
}

/// Opens one more dimension.
fn open<'a>(text: &'a [u8], depth: usize, dimensions_max: usize, out: &mut Vec<u8>) -> Result<&'a [u8], Unfit> {
    let rest = text.strip_prefix(b"{").ok_or(Unfit::Malformed)?;
    if depth == dimensions_max {
        return Err(if dimensions_max == DIMENSIONS_MAX { Unfit::Malformed } else { Unfit::ArrayDimensions });
    }
    out.push(b'[');
    Ok(rest)
}

/// Appends the element that `text` begins with; what follows it.
fn one<'a>(
    text: &'a [u8],
    delimiter: u8,
    out: &mut Vec<u8>,
    element: impl Fn(&[u8], &mut Vec<u8>) -> Result<(), Unfit>,
) -> Result<&'a [u8], Unfit> {
    if text.first() == Some(&b'"') {
        let (value, rest) = quoted(text).ok_or(Unfit::Malformed)?;
        element(&value, out)?;
        return Ok(rest);
    }
    let end = memchr::memchr2(delimiter, b'}', text).filter(|end| *end > 0).ok_or(Unfit::Malformed)?;
    let (value, rest) = text.split_at(end);
    match value {
        // Text that reads NULL is quoted.
        b"NULL" => out.extend_from_slice(b"null"),
        value => element(value, out)?,
    }
    Ok(rest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::starrocks::escape;
    use proptest::prelude::*;

    fn as_strings(text: &[u8], delimiter: u8, dimensions_max: usize) -> Result<String, Unfit> {
        let mut out = Vec::new();
        write(text, delimiter, dimensions_max, &mut out, |element, out| {
            escape::string(element, out);
            Ok(())
        })?;
        Ok(String::from_utf8(out).unwrap())
    }

    #[test]
    fn every_form_of_array() {
        // As PostgreSQL 15 prints them.
        let cases = [
            ("{}", Ok("[]")),
            ("{1}", Ok(r#"["1"]"#)),
            ("{1,NULL,3}", Ok(r#"["1",null,"3"]"#)),
            (r#"{"NULL",null}"#, Ok(r#"["NULL","null"]"#)),
            (r#"{"","a b","a,b","a\"b","a\\b","{}"}"#, Ok(r#"["","a b","a,b","a\"b","a\\b","{}"]"#)),
            ("{{1,2},{3,4}}", Ok(r#"[["1","2"],["3","4"]]"#)),
            ("{{{a},{b}},{{c},{NULL}}}", Ok(r#"[[["a"],["b"]],[["c"],[null]]]"#)),
            ("{{{{{{1}}}}}}", Ok(r#"[[[[[["1"]]]]]]"#)),
            ("[2:4]={1,2,3}", Err(Unfit::ArrayBounds)),
            ("[0:0][1:1]={{1}}", Err(Unfit::ArrayBounds)),
            ("{{{{{{{1}}}}}}}", Err(Unfit::Malformed)),
            ("", Err(Unfit::Malformed)),
            ("1", Err(Unfit::Malformed)),
            ("{", Err(Unfit::Malformed)),
            ("{1", Err(Unfit::Malformed)),
            ("{1,}", Err(Unfit::Malformed)),
            ("{,1}", Err(Unfit::Malformed)),
            ("{1}}", Err(Unfit::Malformed)),
            ("{1}x", Err(Unfit::Malformed)),
            ("{}x", Err(Unfit::Malformed)),
            ("{{}}", Err(Unfit::Malformed)),
            (r#"{"a"b}"#, Err(Unfit::Malformed)),
            (r#"{"a}"#, Err(Unfit::Malformed)),
        ];
        for (text, want) in cases {
            assert_eq!(as_strings(text.as_bytes(), b',', DIMENSIONS_MAX), want.map(str::to_owned), "{text}");
        }
        let boxes = as_strings(b"{(1,1),(0,0);(3,3),(2,2)}", b';', DIMENSIONS_MAX);
        assert_eq!(boxes.unwrap(), r#"["(1,1),(0,0)","(3,3),(2,2)"]"#);
        assert_eq!(as_strings(b"{{1}}", b',', 1), Err(Unfit::ArrayDimensions));
        assert_eq!(as_strings(b"{\xff}", b',', 1), Err(Unfit::NotUtf8));
    }

    /// As `array_out` quotes an element.
    fn printed(elements: &[Option<String>]) -> String {
        let one = |element: &Option<String>| match element {
            None => "NULL".to_owned(),
            Some(text) => format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"")),
        };
        format!("{{{}}}", elements.iter().map(one).collect::<Vec<_>>().join(","))
    }

    proptest! {
        #[test]
        fn any_text_comes_back(elements in proptest::collection::vec(proptest::option::of(".{0,12}"), 0..8)) {
            let json = as_strings(printed(&elements).as_bytes(), b',', 1).unwrap();
            let back: Vec<Option<String>> = sonic_rs::from_str(&json).unwrap();
            prop_assert_eq!(back, elements);
        }

        #[test]
        fn no_bytes_panic(text in proptest::collection::vec(proptest::sample::select(&b"{}[],\"\\a1 N"[..]), 0..24)) {
            let _ = as_strings(&text, b',', DIMENSIONS_MAX);
        }
    }
}
