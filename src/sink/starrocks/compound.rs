//! The common spelling of values that have parts: arrays and hstore.
//!
//! In: PostgreSQL's text of the value. Out: the spelling of the document or array that StarRocks is to hold. Always:
//! `None` if the text has another form. Not here: what StarRocks prints, which is JSON already (`canonical_json`).

use std::collections::BTreeMap;

use super::canonical_json::{self, Strings};
use super::quoted::quoted;
use super::spelling;

/// How the elements of an array are spelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leaf {
    /// `true` and `false`.
    Bool,
    /// 1 and 0, as StarRocks prints booleans of an ARRAY.
    Bit,
    /// A number where the text is one, else a string.
    Number,
    /// The digits of an amount of money.
    Money,
    Document,
    Hstore,
    /// A moment; with `+00` at the end of its text or without.
    Moment,
    Text,
}

impl Leaf {
    /// How StarRocks' strings within such an array are read.
    pub(super) fn strings(self) -> Strings {
        match self {
            Leaf::Number | Leaf::Money => Strings::Numbers,
            Leaf::Moment => Strings::Moments,
            Leaf::Bool | Leaf::Bit | Leaf::Document | Leaf::Hstore | Leaf::Text => Strings::Themselves,
        }
    }

    fn append(self, text: &[u8], out: &mut Vec<u8>) -> Option<()> {
        match (self, text) {
            (Leaf::Bool, b"t") => out.extend_from_slice(b"true"),
            (Leaf::Bool, b"f") => out.extend_from_slice(b"false"),
            (Leaf::Bit, b"t") => out.push(b'1'),
            (Leaf::Bit, b"f") => out.push(b'0'),
            (Leaf::Document, _) => canonical_json::append(text, Strings::Themselves, out),
            (Leaf::Number, _) => canonical_json::number_or_string(text, out),
            (Leaf::Money, _) => canonical_json::number_or_string(&spelling::amount(text), out),
            (Leaf::Hstore, _) => hstore(text, out)?,
            (Leaf::Moment, _) => {
                canonical_json::string(spelling::without_empty_fraction(text.strip_suffix(b"+00").unwrap_or(text)), out)
            }
            (Leaf::Bool | Leaf::Bit | Leaf::Text, _) => canonical_json::string(text, out),
        }
        Some(())
    }
}

/// Appends an array of any dimension.
pub(super) fn array(text: &[u8], delimiter: u8, leaf: Leaf, out: &mut Vec<u8>) -> Option<()> {
    let mut rest = dimension(text, delimiter, leaf, out)?;
    rest = rest.trim_ascii_end();
    rest.is_empty().then_some(())
}

/// Appends what stands between braces; what follows.
fn dimension<'a>(text: &'a [u8], delimiter: u8, leaf: Leaf, out: &mut Vec<u8>) -> Option<&'a [u8]> {
    let mut rest = text.strip_prefix(b"{")?;
    out.push(b'[');
    if let Some(after) = rest.strip_prefix(b"}") {
        out.push(b']');
        return Some(after);
    }
    loop {
        rest = match rest.first()? {
            b'{' => dimension(rest, delimiter, leaf, out)?,
            b'"' => {
                let (value, after) = quoted(rest)?;
                leaf.append(&value, out)?;
                after
            }
            _ => {
                let end = rest.iter().position(|byte| *byte == delimiter || *byte == b'}')?;
                let (value, after) = rest.split_at(end);
                match value {
                    b"NULL" => out.extend_from_slice(b"null"),
                    value => leaf.append(value, out)?,
                }
                after
            }
        };
        let (mark, after) = rest.split_first()?;
        rest = after;
        match *mark {
            b'}' => {
                out.push(b']');
                return Some(rest);
            }
            mark if mark == delimiter => out.push(b','),
            _ => return None,
        }
    }
}

/// Appends `"a"=>"1", "b"=>NULL` as an object.
pub(super) fn hstore(text: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let mut members: BTreeMap<Vec<u8>, Vec<u8>> = BTreeMap::new();
    let mut rest = text;
    while !rest.is_empty() {
        let (key, after) = quoted(rest)?;
        rest = after.strip_prefix(b"=>")?;
        let (mut name, mut value) = (Vec::new(), Vec::new());
        canonical_json::string(&key, &mut name);
        if let Some(after) = rest.strip_prefix(b"NULL") {
            value.extend_from_slice(b"null");
            rest = after;
        } else {
            let (text, after) = quoted(rest)?;
            canonical_json::string(&text, &mut value);
            rest = after;
        }
        members.insert(name, value);
        rest = rest.strip_prefix(b", ").unwrap_or(rest);
    }
    canonical_json::object(members, out);
    Some(())
}
