//! The grammars of settings' values: text in, value or what is wrong with it out.
//!
//! Always: what `print_*` writes, `parse_*` reads back as the same value; an error says what was expected, never what
//! was found (the caller knows whether that may be shown). Not here: which setting has which grammar (`vars`).

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// Binary and decimal units, largest first; the first that divides a number evenly prints it.
const SIZE_UNITS: &[(&str, u64)] = &[
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1_000),
    ("B", 1),
];

/// Units of time in milliseconds, largest first.
const TIME_UNITS: &[(&str, u64)] = &[("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// A whole number: decimal digits, no sign, no separators.
///
/// # Errors
/// What was expected.
pub(super) fn parse_number(text: &str) -> Result<u64, String> {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return Err("is not a whole number".to_owned());
    }
    text.parse().map_err(|_| "is too large a number".to_owned())
}

/// Yes or no: `true false 1 0 yes no on off`, in any case.
///
/// # Errors
/// What was expected.
pub(super) fn parse_bool(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Ok(true),
        "false" | "0" | "no" | "off" => Ok(false),
        _ => Err("is neither true nor false".to_owned()),
    }
}

/// A time: a whole number and one of `ms s m h d`, nothing between them.
///
/// # Errors
/// What was expected.
pub(super) fn parse_duration(text: &str) -> Result<Duration, String> {
    let millis = with_unit(text, TIME_UNITS, |unit, known| unit == known)
        .map_err(|problem| problem.unwrap_or("is not a time such as 500ms, 5s, 2m or 1h"))?;
    Ok(Duration::from_millis(millis))
}

/// A size in bytes: a whole number and one of `B kB MB GB KiB MiB GiB` (in any case), nothing between them.
///
/// # Errors
/// What was expected.
pub(super) fn parse_size(text: &str) -> Result<u64, String> {
    with_unit(text, SIZE_UNITS, str::eq_ignore_ascii_case)
        .map_err(|problem| problem.unwrap_or("is not a size such as 64MiB, 10MB or 512KiB").to_owned())
}

/// A number times its unit; `Err(None)` if there is no such number and unit.
fn with_unit(
    text: &str,
    units: &[(&str, u64)],
    same: impl Fn(&str, &str) -> bool,
) -> Result<u64, Option<&'static str>> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    if number.is_empty() {
        return Err(None);
    }
    if unit.is_empty() {
        return Err(Some("has no unit"));
    }
    let (_, factor) = units.iter().find(|(known, _)| same(unit, known)).ok_or(None)?;
    number.parse::<u64>().ok().and_then(|n| n.checked_mul(*factor)).ok_or(Some("is too large"))
}

/// A time as [`parse_duration`] reads it. Parts of a millisecond are dropped.
pub(super) fn print_duration(time: Duration) -> String {
    let millis = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    if millis == 0 {
        return "0s".to_owned();
    }
    in_largest_unit(millis, TIME_UNITS)
}

/// A size as [`parse_size`] reads it.
pub(super) fn print_size(bytes: u64) -> String {
    if bytes == 0 { "0B".to_owned() } else { in_largest_unit(bytes, SIZE_UNITS) }
}

fn in_largest_unit(number: u64, units: &[(&str, u64)]) -> String {
    let even = units.iter().find(|(_, factor)| number.is_multiple_of(*factor));
    even.map_or_else(|| number.to_string(), |(unit, factor)| format!("{}{unit}", number / factor))
}

/// An address to listen at: `127.0.0.1:50051`, `[::1]:50051`, `localhost:50051`. Port 0 lets the system choose.
///
/// # Errors
/// What was expected.
pub(super) fn parse_address(text: &str) -> Result<SocketAddr, String> {
    let loopback = text.strip_prefix("localhost:").map(|port| format!("127.0.0.1:{port}"));
    loopback
        .as_deref()
        .unwrap_or(text)
        .parse()
        .map_err(|_| "is not an address and a port such as 127.0.0.1:50051 or [::1]:50051".to_owned())
}

/// Names or addresses, separated by commas.
///
/// # Errors
/// Which entry is wrong, by its place.
pub(super) fn parse_hosts(text: &str) -> Result<Vec<String>, String> {
    entries(text).map(|(place, entry)| host(entry).ok_or_else(|| not_a_host(place))).collect()
}

/// `from=to` pairs of `host` or `host:port`, separated by commas.
///
/// # Errors
/// Which entry is wrong, by its place.
pub(super) fn parse_host_map(text: &str) -> Result<Vec<(String, String)>, String> {
    let mut map: Vec<(String, String)> = Vec::new();
    for (place, entry) in entries(text) {
        let (from, to) = entry.split_once('=').ok_or_else(|| format!("entry {place} is not of the form from=to"))?;
        let (Some(from), Some(to)) = (place_of(from.trim()), place_of(to.trim())) else {
            return Err(format!("entry {place} holds something that is neither host nor host:port"));
        };
        if map.iter().any(|(known, _)| *known == from) {
            return Err(format!("entry {place} maps a host that an earlier entry maps"));
        }
        map.push((from, to));
    }
    Ok(map)
}

fn entries(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.split(',').map(str::trim).enumerate().map(|(index, entry)| (index + 1, entry))
}

fn not_a_host(place: usize) -> String {
    format!("entry {place} is not a host name or address (without a port)")
}

/// A host as [`host`] has it, and its port if it has one: `be1`, `be1:8040`, `::1`, `[::1]:8040`.
fn place_of(text: &str) -> Option<String> {
    if let Some(bare) = host(text) {
        return Some(bare);
    }
    let (name, port) = text.rsplit_once(':')?;
    let port: u16 = port.parse().ok().filter(|port| *port != 0 && text.is_ascii())?;
    let name = host(name)?;
    Some(if name.contains(':') { format!("[{name}]:{port}") } else { format!("{name}:{port}") })
}

/// A host in lower case; an IPv6 address without its brackets.
fn host(text: &str) -> Option<String> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    if bare.contains(':') {
        return bare.parse::<IpAddr>().ok().map(|address| address.to_string());
    }
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._".contains(&b);
    (!text.is_empty() && text.bytes().all(plain)).then(|| text.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_are_digits_only() {
        let cases = [
            ("0", Ok(0)),
            ("500000", Ok(500_000)),
            ("18446744073709551615", Ok(u64::MAX)),
            ("18446744073709551616", Err("is too large a number")),
            ("", Err("is not a whole number")),
            ("-1", Err("is not a whole number")),
            ("+1", Err("is not a whole number")),
            ("1e3", Err("is not a whole number")),
            ("10k", Err("is not a whole number")),
            ("1.0", Err("is not a whole number")),
            ("1_000", Err("is not a whole number")),
            ("٣", Err("is not a whole number")),
        ];
        for (text, want) in cases {
            assert_eq!(parse_number(text), want.map_err(str::to_owned), "{text:?}");
        }
    }

    #[test]
    fn bools_have_four_words_each() {
        for text in ["true", "TRUE", "1", "yes", "Yes", "on"] {
            assert_eq!(parse_bool(text), Ok(true), "{text:?}");
        }
        for text in ["false", "False", "0", "no", "NO", "off"] {
            assert_eq!(parse_bool(text), Ok(false), "{text:?}");
        }
        for text in ["", "t", "y", "2", "enabled", "truee"] {
            assert_eq!(parse_bool(text), Err("is neither true nor false".to_owned()), "{text:?}");
        }
    }

    #[test]
    fn times_need_a_unit() {
        let form = "is not a time such as 500ms, 5s, 2m or 1h";
        let cases = [
            ("500ms", Ok(500)),
            ("5s", Ok(5_000)),
            ("2m", Ok(120_000)),
            ("1h", Ok(3_600_000)),
            ("7d", Ok(604_800_000)),
            ("0s", Ok(0)),
            ("5000", Err("has no unit")),
            ("5 s", Err(form)),
            ("5S", Err(form)),
            ("5min", Err(form)),
            ("-5s", Err(form)),
            ("1.5s", Err(form)),
            ("s", Err(form)),
            ("", Err(form)),
            ("1m30s", Err(form)),
            ("99999999999999999999s", Err("is too large")),
            ("18446744073709551615h", Err("is too large")),
        ];
        for (text, want) in cases {
            let want = want.map(Duration::from_millis).map_err(str::to_owned);
            assert_eq!(parse_duration(text), want, "{text:?}");
        }
    }

    #[test]
    fn sizes_need_a_unit() {
        let form = "is not a size such as 64MiB, 10MB or 512KiB";
        let cases = [
            ("64MiB", Ok(64 << 20)),
            ("10MB", Ok(10_000_000)),
            ("512KiB", Ok(512 << 10)),
            ("1GiB", Ok(1 << 30)),
            ("3kb", Ok(3_000)),
            ("3KB", Ok(3_000)),
            ("12B", Ok(12)),
            ("64mib", Ok(64 << 20)),
            ("67108864", Err("has no unit")),
            ("64M", Err(form)),
            ("64 MiB", Err(form)),
            ("1.5GiB", Err(form)),
            ("-1MB", Err(form)),
            ("MB", Err(form)),
            ("", Err(form)),
            ("99999999999GiB", Err("is too large")),
        ];
        for (text, want) in cases {
            assert_eq!(parse_size(text), want.map_err(str::to_owned), "{text:?}");
        }
    }

    #[test]
    fn addresses_are_numeric_or_localhost() {
        for (text, want) in [
            ("127.0.0.1:50051", "127.0.0.1:50051"),
            ("localhost:1", "127.0.0.1:1"),
            ("[::1]:9464", "[::1]:9464"),
            ("0.0.0.0:0", "0.0.0.0:0"),
        ] {
            assert_eq!(parse_address(text).map(|a| a.to_string()), Ok(want.to_owned()));
        }
        for text in
            ["", "50051", ":50051", "127.0.0.1", "127.0.0.1:99999", "db:50051", "::1:5", "127.0.0.1:-1", "localhost:"]
        {
            assert!(parse_address(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn hosts_come_without_ports() {
        let cases = [
            ("starrocks", Ok(vec!["starrocks"])),
            (" BE1.example , 10.0.0.7 ", Ok(vec!["be1.example", "10.0.0.7"])),
            ("[::1],fe80::1", Ok(vec!["::1", "fe80::1"])),
            ("be1:8040", Err("entry 1 is not a host name or address (without a port)")),
            ("be1,,be2", Err("entry 2 is not a host name or address (without a port)")),
            ("be1,http://be2", Err("entry 2 is not a host name or address (without a port)")),
        ];
        for (text, want) in cases {
            let want = want.map(|hosts| hosts.into_iter().map(str::to_owned).collect::<Vec<_>>());
            assert_eq!(parse_hosts(text), want.map_err(str::to_owned), "{text:?}");
        }
    }

    #[test]
    fn host_maps_are_pairs() {
        let cases = [
            ("127.0.0.1=starrocks", Ok(vec![("127.0.0.1", "starrocks")])),
            ("a = b , c=[::1]", Ok(vec![("a", "b"), ("c", "::1")])),
            ("a", Err("entry 1 is not of the form from=to")),
            ("a=b,a=c", Err("entry 2 maps a host that an earlier entry maps")),
            ("127.0.0.1:8040=BE:8041", Ok(vec![("127.0.0.1:8040", "be:8041")])),
            ("::1=[::1]:8040", Ok(vec![("::1", "[::1]:8040")])),
            ("a=b:0", Err("entry 1 holds something that is neither host nor host:port")),
            ("a=http://b", Err("entry 1 holds something that is neither host nor host:port")),
            ("a=", Err("entry 1 holds something that is neither host nor host:port")),
            ("a=b,", Err("entry 2 is not of the form from=to")),
        ];
        for (text, want) in cases {
            let own = |pairs: Vec<(&str, &str)>| {
                pairs.into_iter().map(|(from, to)| (from.to_owned(), to.to_owned())).collect::<Vec<_>>()
            };
            assert_eq!(parse_host_map(text), want.map(own).map_err(str::to_owned), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn printed_times_and_sizes_read_back(number in any::<u64>(), small in 0u64..100_000) {
            for n in [number, small, small * 1000, small * 1024] {
                let time = Duration::from_millis(n);
                prop_assert_eq!(parse_duration(&print_duration(time)), Ok(time));
                prop_assert_eq!(parse_size(&print_size(n)), Ok(n));
            }
        }

        #[test]
        fn no_text_panics(text in "\\PC*") {
            let _ = (parse_number(&text), parse_bool(&text), parse_duration(&text), parse_size(&text));
            let _ = (parse_address(&text), parse_hosts(&text), parse_host_map(&text));
        }
    }
}
