//! When a stored value is PostgreSQL's own: the rules of docs/types.md, worked out plainly and apart from the product.
//!
//! In: PostgreSQL's text of a value and what the target printed. Out: whether they are the same value. Numbers compare
//! by all their digits, floating-point ones by their bits, documents by their members and elements, all else by bytes.

use std::collections::BTreeMap;

use serde::Deserialize;
use sonic_rs::{JsonContainerTrait, JsonValueTrait, Value as Json};

/// What a column's values are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rule {
    Bytes,
    Bool,
    /// Exact numbers: the target adds zeros up to its scale.
    Number,
    Money,
    Single,
    Double,
    /// Moments: the target leaves out an empty fraction, or writes six digits of one.
    Moment,
    /// The same, and the source's text ends with the zone.
    Utc,
    Document,
    /// An array as a document, by what its elements are, and what PostgreSQL writes between them.
    List(Leaf, char),
    Hstore,
}

/// What an array's elements are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leaf {
    Text,
    Bool,
    Number,
    Float,
    Document,
    Hstore,
}

/// The rule for a column of this type, as SQL spells it.
pub(super) fn rule(ty: &str) -> Rule {
    if let Some(element) = ty.strip_suffix("[]") {
        let leaf = match rule(element) {
            Rule::Bool => Leaf::Bool,
            _ if element.starts_with("numeric") => Leaf::Number,
            Rule::Number => Leaf::Number,
            Rule::Single | Rule::Double => Leaf::Float,
            Rule::Document => Leaf::Document,
            Rule::Hstore => Leaf::Hstore,
            _ => Leaf::Text,
        };
        return Rule::List(leaf, if element == "box" { ';' } else { ',' });
    }
    match ty.split('(').next().unwrap_or(ty) {
        "boolean" => Rule::Bool,
        "smallint" | "integer" | "bigint" | "oid" | "xid" | "cid" | "xid8" | "price" | "net_price" => Rule::Number,
        // Those that a DECIMAL cannot hold are kept as they are written.
        "numeric" if !matches!(ty, "numeric" | "numeric(60,30)" | "numeric(1000,500)") => Rule::Number,
        "money" => Rule::Money,
        "real" => Rule::Single,
        "double precision" => Rule::Double,
        "timestamp" => Rule::Moment,
        "timestamptz" => Rule::Utc,
        "json" | "jsonb" => Rule::Document,
        "prices" => Rule::List(Leaf::Number, ','),
        "ext.hstore" => Rule::Hstore,
        _ => Rule::Bytes,
    }
}

impl Rule {
    /// The rule where numbers without a precision stand in a DECIMAL.
    pub(super) fn kept_as_number(self, ty: &str) -> Rule {
        if ty == "numeric" { Rule::Number } else { self }
    }

    /// The rule where the column is the key: what has no counterpart among the types of a key is kept as its text.
    pub(super) fn in_key(self, ty: &str) -> Rule {
        match self {
            Rule::Bool | Rule::Moment | Rule::Utc => self,
            Rule::Number if !ty.starts_with("numeric") && !ty.ends_with("price") => self,
            _ => Rule::Bytes,
        }
    }

    /// Whether the target's value is the source's.
    pub(super) fn same(self, source: Option<&str>, target: Option<&[u8]>) -> bool {
        let target = match target.map(std::str::from_utf8) {
            None => None,
            Some(Ok(text)) => Some(text),
            Some(Err(_)) => return false,
        };
        match (self.source(source), target) {
            (None, None) => true,
            (Some(source), Some(target)) => self.target(target).is_some_and(|target| target == source),
            _ => false,
        }
    }

    /// The source's value in one spelling; `None` is NULL, which the document `null` is as well.
    fn source(self, text: Option<&str>) -> Option<String> {
        let text = text?;
        Some(match self {
            Rule::Bool => if text == "t" { "1" } else { "0" }.to_owned(),
            Rule::Money => number(&text.replace(['$', ','], "")),
            Rule::Utc => moment(text.strip_suffix("+00").expect("a moment in UTC")),
            Rule::Document if text.trim() == "null" => return None,
            Rule::List(leaf, delimiter) => {
                let mut rest = text;
                let list = list(&mut rest, leaf, delimiter);
                assert_eq!(rest, "", "PostgreSQL's array {text} was read to its end");
                list
            }
            Rule::Hstore => members(text),
            _ => self.target(text)?,
        })
    }

    /// The target's value in the same spelling; `None` if it has not the form of its type.
    fn target(self, text: &str) -> Option<String> {
        match self {
            Rule::Bytes | Rule::Bool => Some(text.to_owned()),
            Rule::Number | Rule::Money => Some(number(text)),
            Rule::Single => text.parse::<f32>().ok().map(|n| format!("{:08x}", n.to_bits())),
            Rule::Double => text.parse::<f64>().ok().map(|n| format!("{:016x}", n.to_bits())),
            Rule::Moment | Rule::Utc => Some(moment(text)),
            Rule::Document | Rule::Hstore => Some(document(&json(text)?)),
            Rule::List(leaf, _) => Some(elements(&json(text)?, leaf)),
        }
    }
}

/// A number by its digits from the first to the last that is not zero, and the power of ten of the last.
fn number(text: &str) -> String {
    let lower = text.to_ascii_lowercase();
    let (mantissa, exponent) = lower.split_once('e').unwrap_or((&lower, "0"));
    let (negative, digits) = mantissa.strip_prefix('-').map_or((false, mantissa), |digits| (true, digits));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let all = format!("{whole}{fraction}");
    let (Ok(exponent), true) = (exponent.parse::<i64>(), all.bytes().all(|b| b.is_ascii_digit()) && !all.is_empty())
    else {
        return text.to_owned();
    };
    let kept = all.trim_end_matches('0');
    let power = exponent - fraction.len() as i64 + (all.len() - kept.len()) as i64;
    match kept.trim_start_matches('0') {
        "" => "0".to_owned(),
        kept => format!("{}{kept}e{power}", if negative { "-" } else { "" }),
    }
}

fn moment(text: &str) -> String {
    match text.split_once('.') {
        Some((seconds, fraction)) => format!("{seconds}.{fraction:0<6}"),
        None => format!("{text}.000000"),
    }
}

fn json(text: &str) -> Option<Json> {
    let mut reader = sonic_rs::Deserializer::from_str(text).use_rawnumber();
    let value = Json::deserialize(&mut reader).ok()?;
    reader.end().ok()?;
    Some(value)
}

/// A document with its members in order of their names, the last of equal ones alone.
fn document(json: &Json) -> String {
    if let Some(object) = json.as_object() {
        let members: BTreeMap<&str, String> = object.iter().map(|(name, value)| (name, document(value))).collect();
        return format!("{members:?}");
    }
    if let Some(array) = json.as_array() {
        return format!("[{}]", array.iter().map(document).collect::<Vec<_>>().join(","));
    }
    match json.as_raw_number() {
        Some(digits) => number(digits.as_str()),
        None => json.as_str().map_or_else(|| json.to_string(), |text| format!("{text:?}")),
    }
}

/// A document that holds an array: its elements by what they stand for.
fn elements(json: &Json, leaf: Leaf) -> String {
    match json.as_array() {
        // An element that is a document may be an array itself; arrays of documents here have none at their top.
        Some(array) if leaf != Leaf::Document || array.iter().next().is_some() => {
            format!("[{}]", array.iter().map(|item| elements(item, leaf)).collect::<Vec<_>>().join(","))
        }
        _ if json.is_null() => "NULL".to_owned(),
        _ if matches!(leaf, Leaf::Document | Leaf::Hstore) => document(json),
        _ => {
            let digits = json.as_raw_number().map(|digits| digits.as_str().to_owned());
            element(&digits.or_else(|| json.as_str().map(str::to_owned)).unwrap_or_else(|| json.to_string()), leaf)
        }
    }
}

/// One element by its text.
fn element(text: &str, leaf: Leaf) -> String {
    match leaf {
        Leaf::Text => format!("{text:?}"),
        Leaf::Bool => match text {
            "t" => "true".to_owned(),
            "f" => "false".to_owned(),
            other => other.to_owned(),
        },
        Leaf::Number => number(text),
        Leaf::Float => text.parse::<f64>().map_or_else(|_| text.to_owned(), |n| format!("{:016x}", n.to_bits())),
        Leaf::Document if text == "null" => "NULL".to_owned(),
        Leaf::Document => document(&json(text).expect("PostgreSQL's document")),
        Leaf::Hstore => members(text),
    }
}

/// An array as PostgreSQL writes it.
fn list(rest: &mut &str, leaf: Leaf, delimiter: char) -> String {
    let mut items = Vec::new();
    *rest = rest.strip_prefix('{').expect("an array begins with a brace");
    while !rest.starts_with('}') {
        items.push(if rest.starts_with('{') {
            list(rest, leaf, delimiter)
        } else if rest.starts_with('"') {
            element(&quoted(rest), leaf)
        } else {
            let end = rest.find([delimiter, '}']).expect("an element ends");
            let (word, after) = rest.split_at(end);
            *rest = after;
            if word == "NULL" { "NULL".to_owned() } else { element(word, leaf) }
        });
        *rest = rest.strip_prefix(delimiter).unwrap_or(rest);
    }
    *rest = &rest[1..];
    format!("[{}]", items.join(","))
}

/// Text in quotes, in which a backslash stands before what is meant.
fn quoted(rest: &mut &str) -> String {
    let (mut text, mut escaped) = (String::new(), false);
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            '\\' if !escaped => escaped = true,
            '"' if !escaped => {
                *rest = &rest[at + 1..];
                return text;
            }
            c => {
                text.push(c);
                escaped = false;
            }
        }
    }
    panic!("text in quotes does not end: {rest}");
}

/// What the extension hstore writes, as the object it becomes.
fn members(text: &str) -> String {
    let (mut rest, mut members) = (text, BTreeMap::new());
    while !rest.is_empty() {
        let name = quoted(&mut rest);
        rest = rest.strip_prefix("=>").expect("a name has a value");
        let value = match rest.strip_prefix("NULL") {
            Some(after) => {
                rest = after;
                "null".to_owned()
            }
            None => format!("{:?}", quoted(&mut rest)),
        };
        members.insert(name, value);
        rest = rest.strip_prefix(", ").unwrap_or(rest);
    }
    format!("{members:?}")
}

#[test]
fn the_rules_tell_equal_from_different() {
    // type, source, target, whether they are the same
    let cases = [
        ("boolean", "t", "1", true),
        ("boolean", "t", "0", false),
        ("numeric(10,2)", "1.5", "1.50", true),
        ("numeric(10,2)", "100", "1", false),
        ("numeric(10,2)", "-0.10", "0.10", false),
        ("numeric", "1.5", "1.50", false),
        ("money", "-$1,234.50", "-1234.50", true),
        ("double precision", "1e+22", "1e22", true),
        ("double precision", "-0", "0", false),
        ("double precision", "0.1", "0.10000000000000002", false),
        ("real", "NaN", "nan", true),
        ("timestamptz", "2024-01-01 00:00:00.5+00", "2024-01-01 00:00:00.500000", true),
        ("timestamp", "2024-01-01 00:00:00", "2024-01-01 00:00:00.000001", false),
        ("jsonb", r#"{"a": 1.50, "b": [null]}"#, r#"{"b": [null], "a": 1.5}"#, true),
        ("jsonb", "18446744073709551615", "18446744073709551614", false),
        ("jsonb", "12345678901234567890123", "12345678901234567890124", false),
        ("jsonb", "1", r#""1""#, false),
        ("json", r#""\u00e9""#, "\"é\"", true),
        ("integer[]", "{{1,NULL},{2,3}}", "[[1, null], [2, 3]]", true),
        ("integer[]", "{1,2}", "[2, 1]", false),
        ("numeric[]", "{1.50,NaN}", r#"[1.5, "NaN"]"#, true),
        ("text[]", r#"{"a\"b","NULL",NULL}"#, r#"["a\"b", "NULL", null]"#, true),
        ("text[]", "{NULL}", r#"["NULL"]"#, false),
        ("boolean[]", "{t,f}", "[true, false]", true),
        ("box[]", "{(1,1),(0,0);(3,3),(2,2)}", r#"["(1,1),(0,0)", "(3,3),(2,2)"]"#, true),
        ("ext.hstore", r#""a"=>"1", "b\"c"=>NULL"#, r#"{"b\"c": null, "a": "1"}"#, true),
        ("ext.hstore", r#""a"=>NULL"#, r#"{"a": "NULL"}"#, false),
        ("text", "a ", "a", false),
    ];
    for (ty, source, target, same) in cases {
        assert_eq!(rule(ty).same(Some(source), Some(target.as_bytes())), same, "{ty}: {source} and {target}");
        assert!(!rule(ty).same(Some(source), None) && !rule(ty).same(None, Some(target.as_bytes())), "{ty}");
    }
    assert!(rule("json").same(Some("null"), None) && rule("text").same(None, None));
    assert!(!rule("text").same(Some("\u{FFFD}"), Some(b"\xff")));
    assert_eq!(rule("numeric(10,2)").in_key("numeric(10,2)"), Rule::Bytes);
    assert_eq!(rule("bigint").in_key("bigint"), Rule::Number);
}
