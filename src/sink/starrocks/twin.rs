//! The plain twin of the encoder: what must come out, worked out slowly and another way, for values at random.

use proptest::prelude::*;

use super::encode::tests::with_policies;
use super::policy::{Policies, Policy};
use super::target::Target;
use crate::model::ColumnType;

/// What is loaded for a value, and the classes it was counted under, in alphabetical order; `None` if it blocks.
fn loaded(ty: &ColumnType, target: &Target, policy: Policy, value: &[u8]) -> Option<(String, Vec<&'static str>)> {
    let (body, counted) = with_policies(ty, target, true, Policies::all(policy), value).ok()?;
    let json = body.strip_prefix(r#"[{"id":1,"v":"#).and_then(|rest| rest.strip_suffix("}]")).expect("one row");
    let mut classes: Vec<_> = counted
        .into_iter()
        .map(|(class, values)| {
            assert_eq!(values, 1);
            class
        })
        .collect();
    classes.sort_unstable();
    Some((json.to_owned(), classes))
}

/// Holds what each policy makes of a value against what it should: `exact` if it is loaded as it is, else its classes
/// and what `clamp` loads.
fn check(ty: &ColumnType, target: &Target, value: &[u8], exact: bool, json: &str, classes: &[&'static str]) {
    let shown = String::from_utf8_lossy(value);
    let counted = classes.to_vec();
    let want = |json: &str, classes: Vec<&'static str>| Some((json.to_owned(), classes));
    if exact {
        for policy in Policy::ALL {
            assert_eq!(loaded(ty, target, policy, value), want(json, vec![]), "{shown} for {target} by {policy:?}");
        }
        return;
    }
    assert_eq!(loaded(ty, target, Policy::Block, value), None, "{shown} for {target} blocks");
    let null = loaded(ty, target, Policy::Null, value).expect("NULL is loaded");
    assert!(null.0 == "null" && classes.contains(&null.1[0]) && null.1.len() == 1, "{shown} for {target}: {null:?}");
    assert_eq!(loaded(ty, target, Policy::Clamp, value), want(json, counted), "{shown} for {target} clamped");
}

/// A natural number's digits, without leading zeros.
fn trimmed(digits: &str) -> &str {
    digits.trim_start_matches('0')
}

/// Adds 5 to the digit at `place` from the right, by hand.
fn plus_five(digits: &str, place: usize) -> String {
    let mut reversed: Vec<u32> = digits.chars().rev().map(|c| c.to_digit(10).unwrap()).collect();
    reversed.resize(reversed.len().max(place + 1), 0);
    let mut carry = 5;
    for digit in &mut reversed[place..] {
        carry += *digit;
        *digit = carry % 10;
        carry /= 10;
    }
    let rest = if carry > 0 { carry.to_string() } else { String::new() };
    rest + &reversed.iter().rev().map(u32::to_string).collect::<String>()
}

/// What a DECIMAL makes of `digits` with `source_scale` of them after the point, as an integer of the target's scale;
/// the class if that is not the number itself.
fn decimal(digits: &str, source_scale: usize, precision: usize, scale: usize) -> (String, Option<&'static str>) {
    let grown = digits.to_owned() + &"0".repeat(scale.saturating_sub(source_scale));
    let dropped = source_scale.saturating_sub(scale);
    let split = |digits: &str| {
        let padded = "0".repeat(dropped) + digits;
        let (kept, cut) = padded.split_at(padded.len() - dropped);
        (trimmed(kept).to_owned(), cut.contains(|c| c != '0'))
    };
    let (kept, inexact) = split(&grown);
    let largest = "9".repeat(precision);
    if kept.len() > precision {
        return (largest, Some("numeric_range"));
    }
    if !inexact {
        return (kept, None);
    }
    let (rounded, _) = split(&plus_five(&grown, dropped - 1));
    (if rounded.len() > precision { largest } else { rounded }, Some("numeric_scale"))
}

/// As PostgreSQL writes a double: the fewest digits, an exponent of two digits where it is below -4 or above 14.
fn float_text(number: f64, shortest: &str) -> String {
    if number.is_nan() {
        return "NaN".into();
    }
    if number.is_infinite() {
        return if number > 0.0 { "Infinity".into() } else { "-Infinity".into() };
    }
    let (mantissa, exponent) = shortest.split_once('e').unwrap();
    let exponent: i32 = exponent.parse().unwrap();
    if (-4..15).contains(&exponent) {
        // `Display` never writes an exponent.
        return format!("{number}");
    }
    format!("{mantissa}e{}{:02}", if exponent < 0 { '-' } else { '+' }, exponent.abs())
}

/// The day so many days after 1970-01-01: year (1 BC is 0), month, day. By counting years and months.
fn civil(days: i64) -> (i64, u32, u32) {
    const CYCLE: i64 = 146_097;
    let (cycle, mut rest) = (days.div_euclid(CYCLE), days.rem_euclid(CYCLE));
    let leap = |year: i64| year.rem_euclid(4) == 0 && (year.rem_euclid(100) != 0 || year.rem_euclid(400) == 0);
    let mut year = 1970 + cycle * 400;
    while rest >= if leap(year) { 366 } else { 365 } {
        rest -= if leap(year) { 366 } else { 365 };
        year += 1;
    }
    let months = [31, if leap(year) { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let mut month = 0;
    while rest >= months[month] {
        rest -= months[month];
        month += 1;
    }
    (year, month as u32 + 1, rest as u32 + 1)
}

/// A day of this year: its text, and that of PostgreSQL with what stands between day and era.
fn day_text(days: i64, between: &str) -> (i64, String) {
    let (year, month, day) = civil(days);
    let era = if year < 1 { " BC" } else { "" };
    let shown = if year < 1 { 1 - year } else { year };
    (year, format!("{shown:04}-{month:02}-{day:02}{between}{era}"))
}

/// Whether a year is one of StarRocks', and what `clamp` loads if not.
fn of_year(year: i64, same: String, first: &str, last: &str) -> (bool, String) {
    match year {
        1..=9999 => (true, same),
        ..1 => (false, first.to_owned()),
        _ => (false, last.to_owned()),
    }
}

/// A JSON string, character by character (RFC 8259, section 7).
fn json_string(text: &str) -> String {
    let escaped = text.chars().map(|c| match c {
        '"' => "\\\"".to_owned(),
        '\\' => "\\\\".to_owned(),
        '\n' => "\\n".to_owned(),
        '\r' => "\\r".to_owned(),
        '\t' => "\\t".to_owned(),
        c if u32::from(c) < 32 => format!("\\u{:04x}", u32::from(c)),
        c => c.to_string(),
    });
    format!("\"{}\"", escaped.collect::<String>())
}

fn cut(text: &str, bytes: usize) -> String {
    let mut kept = String::new();
    for c in text.chars() {
        if kept.len() + c.len_utf8() > bytes {
            break;
        }
        kept.push(c);
    }
    kept
}

/// Pieces of text that are awkward: controls, quotes, neighbours of surrogates, the ends of planes, long clean runs.
fn awkward_bytes() -> impl Strategy<Value = Vec<u8>> {
    let pieces = prop_oneof![
        any::<char>().prop_map(|c| c.to_string().into_bytes()),
        (0_u8..0x24).prop_map(|byte| vec![byte]),
        prop::sample::select(vec![
            '\u{D7FF}',
            '\u{E000}',
            '\u{FFFD}',
            '\u{FFFE}',
            '\u{FFFF}',
            '\u{10000}',
            '\u{10FFFF}',
            '\u{7F}',
            '\u{80}',
            '\u{7FF}',
            '\u{800}',
            '\u{2028}',
            '\u{FEFF}',
            '\\',
            '"'
        ])
        .prop_map(|c| c.to_string().into_bytes()),
        (1_usize..70).prop_map(|length| vec![b'x'; length]),
        // Halves of surrogate pairs, overlong forms, characters cut short.
        prop::sample::select(vec![
            &b"\xED\xA0\x80"[..],
            b"\xED\xBF\xBF",
            b"\xC0\x80",
            b"\xFF",
            b"\xE2\x82",
            b"\xF4\x90\x80\x80"
        ])
        .prop_map(<[u8]>::to_vec),
    ];
    let clean = pieces.clone().prop_filter("UTF-8", |piece| std::str::from_utf8(piece).is_ok());
    prop_oneof![
        3 => proptest::collection::vec(clean, 0..12),
        1 => proptest::collection::vec(pieces, 0..12),
    ]
    .prop_map(|pieces| pieces.concat())
}

/// An array with elements of a type, as PostgreSQL writes it and as the document that it is.
#[derive(Clone, Debug)]
enum Items {
    Null,
    /// The element's text, and as JSON.
    One(String, String),
    Many(Vec<Items>),
}

impl Items {
    /// As `array_out` writes it; an element is quoted where it must be, or `always`.
    fn source(&self, delimiter: char, always: bool) -> String {
        match self {
            Items::Null => "NULL".into(),
            Items::One(text, _) => {
                let plain =
                    |c: char| !c.is_ascii_whitespace() && c != '\u{b}' && !"{}\"\\".contains(c) && c != delimiter;
                match !always && !text.is_empty() && !text.eq_ignore_ascii_case("null") && text.chars().all(plain) {
                    true => text.clone(),
                    false => format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"")),
                }
            }
            Items::Many(items) => {
                let items: Vec<String> = items.iter().map(|item| item.source(delimiter, always)).collect();
                format!("{{{}}}", items.join(&delimiter.to_string()))
            }
        }
    }

    fn document(&self) -> String {
        match self {
            Items::Null => "null".into(),
            Items::One(_, json) => json.clone(),
            Items::Many(items) => format!("[{}]", items.iter().map(Items::document).collect::<Vec<_>>().join(",")),
        }
    }

    /// The elements folded into so many to a dimension, the last one first; what does not fill a row is left out.
    fn folded(mut items: Vec<Items>, sizes: &[usize]) -> Items {
        for size in sizes {
            let rows = items.chunks_exact(*size).map(|row| Items::Many(row.to_vec())).collect::<Vec<_>>();
            if !rows.is_empty() {
                items = rows;
            }
        }
        Items::Many(items)
    }
}

/// Elements of a type, some of them NULL: what JSON has a number for, and keeps, is one.
fn items_of_a_type() -> impl Strategy<Value = (ColumnType, Vec<Items>)> {
    let number = |text: String| Items::One(text.clone(), text);
    let string = |text: String| Items::One(text.clone(), json_string(&text));
    let text = awkward_bytes().prop_filter_map("text of PostgreSQL", |bytes| {
        String::from_utf8(bytes).ok().filter(|text| !text.contains('\0'))
    });
    let decimal = prop_oneof![
        any::<i64>().prop_map(move |n| number(n.to_string())),
        "-?(0|[1-9][0-9]{0,6})\\.[0-9]{1,8}".prop_map(number),
        "[1-9][0-9]{20,60}".prop_map(string),
        "[1-9][0-9]{3,9}\\.[0-9]{16,40}".prop_map(string),
        Just(string("NaN".into())),
        Just(string("-Infinity".into())),
    ];
    let double = any::<u64>().prop_map(f64::from_bits).prop_map(move |n| {
        let text = float_text(n, &format!("{n:e}"));
        match text.as_str() {
            "-0" => Items::One(text, "-0.0".into()),
            _ if n.is_finite() => number(text),
            _ => string(text),
        }
    });
    let truth = any::<bool>().prop_map(|b| Items::One(if b { "t" } else { "f" }.into(), b.to_string()));
    let whole = any::<i64>().prop_map(move |n| number(n.to_string()));
    let of = |ty: ColumnType, items: BoxedStrategy<Items>| {
        let items = prop_oneof![5 => items, 1 => Just(Items::Null)];
        proptest::collection::vec(items, 0..24).prop_map(move |items| (ty.clone(), items)).boxed()
    };
    prop_oneof![
        of(ColumnType::Text, text.prop_map(string).boxed()),
        of(ColumnType::Numeric { digits: None }, decimal.boxed()),
        of(ColumnType::Float64, double.boxed()),
        of(ColumnType::Bool, truth.boxed()),
        of(ColumnType::Int64, whole.boxed()),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn arrays_of_any_dimension_come_back(
        (element, items) in items_of_a_type(),
        sizes in proptest::collection::vec(1_usize..4, 0..6),
        delimiter in prop_oneof![Just(','), Just(';')],
        always in any::<bool>(),
    ) {
        let array = Items::folded(items, &sizes);
        let ty = ColumnType::Array { element: Box::new(element), delimiter: delimiter as u8 };
        let text = array.source(delimiter, always);
        check(&ty, &Target::Json, text.as_bytes(), true, &array.document(), &[]);
    }

    #[test]
    fn numerics_of_all_scales(
        negative in any::<bool>(),
        digits in prop_oneof!["[0-9]{1,60}", "[09]{1,45}", "[45]{1,45}", "0{0,20}[1-9]{0,20}0{1,20}"],
        source_scale in 0_usize..50,
        precision in 1_usize..=38,
        scale in 0_usize..=38,
    ) {
        let scale = scale.min(precision);
        let digits = "0".repeat((source_scale + 1).saturating_sub(digits.len())) + &digits;
        let (whole, fraction) = digits.split_at(digits.len() - source_scale);
        let sign = if negative { "-" } else { "" };
        let point = if fraction.is_empty() { "" } else { "." };
        let text = format!("{sign}{whole}{point}{fraction}");
        let (kept, class) = decimal(&digits, source_scale, precision, scale);
        let target = Target::Decimal { precision: precision as u16, scale: scale as u16 };
        let ty = ColumnType::Numeric { digits: None };
        let padded = "0".repeat((scale + 1).saturating_sub(kept.len())) + &kept;
        let (whole, fraction) = padded.split_at(padded.len() - scale);
        let sign = if negative && !trimmed(&kept).is_empty() { "-" } else { "" };
        let point = if scale == 0 { "" } else { "." };
        let nearest = format!("\"{sign}{whole}{point}{fraction}\"");
        match class {
            None => check(&ty, &target, text.as_bytes(), true, &format!("\"{text}\""), &[]),
            Some(class) => check(&ty, &target, text.as_bytes(), false, &nearest, &[class]),
        }
    }

    #[test]
    fn doubles_come_back_bit_by_bit(number in prop_oneof![any::<u64>().prop_map(f64::from_bits),
        (0_u64..1 << 52).prop_map(f64::from_bits), any::<i32>().prop_map(f64::from), Just(-0.0), Just(f64::MAX)])
    {
        let text = float_text(number, &format!("{number:e}"));
        let (json, classes) = loaded(&ColumnType::Float64, &Target::Double, Policy::Block, text.as_bytes()).unwrap();
        prop_assert!(classes.is_empty());
        match number.is_finite() {
            true => {
                let read: f64 = json.parse().unwrap();
                prop_assert_eq!(read.to_bits(), number.to_bits(), "{}", text);
                prop_assert!(number != 0.0 || number.is_sign_positive() || json.contains('.'), "an integer has no -0");
            }
            false => prop_assert_eq!(json, format!("\"{text}\"")),
        }
    }

    #[test]
    fn floats_come_back_bit_by_bit(number in prop_oneof![any::<u32>().prop_map(f32::from_bits),
        (0_u32..1 << 23).prop_map(f32::from_bits), Just(-0.0), Just(f32::MIN_POSITIVE)])
    {
        prop_assume!(number.is_finite());
        let text = if number == 0.0 { format!("{number}") } else { format!("{number:e}") };
        let (json, _) = loaded(&ColumnType::Float32, &Target::Float, Policy::Block, text.as_bytes()).unwrap();
        let read: f64 = json.parse().unwrap();
        prop_assert_eq!((read as f32).to_bits(), number.to_bits(), "{}", text);
    }

    #[test]
    fn timestamps_over_the_whole_range(micros in prop_oneof![
        -211_813_488_000_000_000_i64..9_223_371_331_200_000_000,
        -64_000_000_000_000_000_i64..-62_000_000_000_000_000,
        252_000_000_000_000_000_i64..254_000_000_000_000_000,
        (-2_500_000_i64..100_000_000).prop_map(|days| days * 86_400_000_000),
    ]) {
        // PostgreSQL counts from 2000-01-01.
        let (days, of_day) = (micros.div_euclid(86_400_000_000) + 10_957, micros.rem_euclid(86_400_000_000));
        let (seconds, fraction) = (of_day / 1_000_000, of_day % 1_000_000);
        let fraction = if fraction == 0 { String::new() } else { format!(".{fraction:06}") };
        let clock = format!(" {:02}:{:02}:{:02}{}", seconds / 3600, seconds / 60 % 60, seconds % 60,
            fraction.trim_end_matches('0'));
        let (first, last) = ("\"0001-01-01 00:00:00\"", "\"9999-12-31 23:59:59.999999\"");
        for (ty, zone) in [(ColumnType::Timestamp, ""), (ColumnType::TimestampTz, "+00")] {
            let (year, text) = day_text(days, &format!("{clock}{zone}"));
            let (exact, json) = of_year(year, format!("\"{}\"", text.trim_end_matches("+00")), first, last);
            check(&ty, &Target::Datetime, text.as_bytes(), exact, &json, &["date_range"]);
        }
        let (year, text) = day_text(days, "");
        let (exact, json) = of_year(year, format!("\"{text}\""), "\"0001-01-01\"", "\"9999-12-31\"");
        check(&ColumnType::Date, &Target::Date, text.as_bytes(), exact, &json, &["date_range"]);
    }

    #[test]
    fn dates_over_the_whole_range(days in -2_451_545_i64 + 10_957..=2_145_031_949) {
        let (year, text) = day_text(days, "");
        let (exact, json) = of_year(year, format!("\"{text}\""), "\"0001-01-01\"", "\"9999-12-31\"");
        check(&ColumnType::Date, &Target::Date, text.as_bytes(), exact, &json, &["date_range"]);
    }

    #[test]
    fn text_with_all_of_unicode_and_bytes_that_are_none(bytes in awkward_bytes(), max in 0_u32..200) {
        let (mut classes, mut fixed) = (Vec::new(), String::from_utf8_lossy(&bytes).into_owned());
        if std::str::from_utf8(&bytes).is_err() {
            classes.push("text_encoding");
        }
        if fixed.len() > max as usize {
            classes.push("text_length");
            fixed = cut(&fixed, max as usize);
        }
        if fixed.contains('\0') {
            classes.push("text_nul");
            fixed = fixed.replace('\0', "");
        }
        check(&ColumnType::Text, &Target::Varchar(max), &bytes, classes.is_empty(), &json_string(&fixed), &classes);
    }
}

#[test]
fn the_twin_knows_the_calendar() {
    for (days, want) in [
        (0, "1970-01-01"),
        (-1, "1969-12-31"),
        (11_016, "2000-02-29"),
        (-719_162, "0001-01-01"),
        (-719_163, "0001-12-31 BC"),
        (2_932_896, "9999-12-31"),
        (2_932_897, "10000-01-01"),
        (-2_440_588, "4714-11-24 BC"),
    ] {
        assert_eq!(day_text(days, "").1, want);
    }
}
