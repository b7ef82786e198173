//! Dates and times as PostgreSQL writes them under `DateStyle=ISO` and `TimeZone=UTC`, checked against what StarRocks
//! stores: years 1 to 9999 of our era, microseconds, no zone.
//!
//! StarRocks reads the first characters and ignores what follows them, ` BC` and offsets included, so that what does
//! not have exactly the expected form must not be sent.

/// Whether the text is `YYYY-MM-DD` and a day that exists.
pub(super) fn is_date(text: &[u8]) -> bool {
    let [y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2] = text else { return false };
    let Some(year) = number(&[*y1, *y2, *y3, *y4]) else { return false };
    let (Some(month), Some(day)) = (number(&[*m1, *m2]), number(&[*d1, *d2])) else { return false };
    year >= 1 && is_day(year, month, day)
}

/// Whether the day exists. The year counts 1 BC as 0, or as any other year with the same leap day.
fn is_day(year: u32, month: u32, day: u32) -> bool {
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let days = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if leap => 29,
        2 => 28,
        _ => 0,
    };
    (1..=days).contains(&day)
}

/// Whether the text is `YYYY-MM-DD HH:MM:SS` with up to six fraction digits, and exists.
pub(super) fn is_datetime(text: &[u8]) -> bool {
    text.split_at_checked(10).is_some_and(|(date, time)| is_date(date) && is_time(time))
}

/// Whether the text is ` HH:MM:SS` with up to six fraction digits, and exists.
fn is_time(text: &[u8]) -> bool {
    let (clock, fraction) = match text {
        [b' ', h1, h2, b':', m1, m2, b':', s1, s2, fraction @ ..] => ([*h1, *h2, *m1, *m2, *s1, *s2], fraction),
        _ => return false,
    };
    let clock_ok = number(&clock[..2]).is_some_and(|hour| hour < 24)
        && number(&clock[2..4]).is_some_and(|minute| minute < 60)
        && number(&clock[4..]).is_some_and(|second| second < 60);
    let fraction_ok = match fraction {
        [] => true,
        [b'.', digits @ ..] => (1..=6).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    clock_ok && fraction_ok
}

/// How a date or time of PostgreSQL's is none of StarRocks'.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Beyond {
    Infinite {
        negative: bool,
    },
    /// Before the year 1.
    Before,
    /// After the year 9999.
    After,
}

/// How a date is beyond what StarRocks stores; `None` if it is not, or is no date.
pub(super) fn beyond_date(text: &[u8]) -> Option<Beyond> {
    beyond(text, <[u8]>::is_empty)
}

/// The same for a date and time that ends with `zone`.
pub(super) fn beyond_datetime(text: &[u8], zone: &[u8]) -> Option<Beyond> {
    beyond(text, |rest| rest.strip_suffix(zone).is_some_and(is_time))
}

/// `rest` judges what stands between the day and ` BC`.
fn beyond(text: &[u8], rest_ok: impl Fn(&[u8]) -> bool) -> Option<Beyond> {
    match text {
        b"infinity" => return Some(Beyond::Infinite { negative: false }),
        b"-infinity" => return Some(Beyond::Infinite { negative: true }),
        _ => {}
    }
    let (text, before) = text.strip_suffix(b" BC").map_or((text, false), |text| (text, true));
    let year_length = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (year, after) = text.split_at_checked(year_length).filter(|(year, _)| (4..=7).contains(&year.len()))?;
    let ([b'-', m1, m2, b'-', d1, d2], rest) = after.split_at_checked(6)? else { return None };
    let (year, month, day) = (number(year)?, number(&[*m1, *m2])?, number(&[*d1, *d2])?);
    // The calendar repeats every 400 years; 1 BC is the year before 1.
    let in_cycle = if before { (400 * 25 + 1 - year.min(400 * 25)) % 400 } else { year };
    let there = if before { Beyond::Before } else { Beyond::After };
    let is_beyond = (before && (1..=400 * 25).contains(&year)) || (!before && year > 9999);
    (is_beyond && is_day(in_cycle, month, day) && rest_ok(rest)).then_some(there)
}

fn number(digits: &[u8]) -> Option<u32> {
    digits.iter().try_fold(0, |number, digit| digit.is_ascii_digit().then(|| number * 10 + u32::from(digit - b'0')))
}

/// A moment as StarRocks reads it: `YYYY-MM-DD HH:MM:SS.ffffff`, UTC.
pub(super) fn written(micros_since_1970: u64) -> String {
    let moment = time::OffsetDateTime::UNIX_EPOCH
        .checked_add(time::Duration::microseconds(micros_since_1970.min(i64::MAX as u64) as i64))
        .unwrap_or(time::OffsetDateTime::UNIX_EPOCH);
    let (date, clock) = (moment.date(), moment.time());
    format!(
        "{:04}-{:02}-{:02} {:02}:{:02}:{:02}.{:06}",
        date.year(),
        u8::from(date.month()),
        date.day(),
        clock.hour(),
        clock.minute(),
        clock.second(),
        clock.microsecond()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_starrocks_stores_passes() {
        let good = ["0001-01-01", "2024-02-29", "2000-02-29", "9999-12-31", "2023-12-31"];
        let bad = [
            "0000-01-01",
            "2023-02-29",
            "1900-02-29",
            "2023-13-01",
            "2023-00-01",
            "2023-04-31",
            "2023-01-00",
            "10000-01-01",
            "0044-03-15 BC",
            "infinity",
            "-infinity",
            "2023-1-1",
            "20230101",
            "",
            "2023-01-01 ",
        ];
        for (dates, want) in [(&good[..], true), (&bad[..], false)] {
            for date in dates {
                assert_eq!(is_date(date.as_bytes()), want, "{date}");
                assert_eq!(is_datetime(format!("{date} 12:34:56").as_bytes()), want, "{date}");
            }
        }
        let times = [
            ("00:00:00", true),
            ("23:59:59.999999", true),
            ("23:59:59.1", true),
            ("24:00:00", false),
            ("23:60:00", false),
            ("23:59:60", false),
            ("23:59:59.", false),
            ("23:59:59.1234567", false),
            ("23:59:59+00", false),
            ("23:59", false),
            ("12:34:56 BC", false),
        ];
        for (time, want) in times {
            assert_eq!(is_datetime(format!("2024-05-06 {time}").as_bytes()), want, "{time}");
        }
    }

    #[test]
    fn what_lies_beyond_is_told_from_what_is_no_date() {
        let (before, after) = (Some(Beyond::Before), Some(Beyond::After));
        let cases = [
            ("infinity", Some(Beyond::Infinite { negative: false })),
            ("-infinity", Some(Beyond::Infinite { negative: true })),
            ("10000-01-01", after),
            ("5874897-12-31", after),
            ("10000-02-29", after),
            ("10001-02-29", None),
            ("0044-03-15 BC", before),
            ("4713-01-01 BC", before),
            ("0001-12-31 BC", before),
            ("0001-02-29 BC", before),
            ("0005-02-29 BC", before),
            ("0004-02-29 BC", None),
            ("0101-02-29 BC", None),
            ("0401-02-29 BC", before),
            ("0000-01-01", None),
            ("0000-01-01 BC", None),
            ("2024-01-01", None),
            ("10000-13-01", None),
            ("0044-03-15 AD", None),
            ("123-01-01 BC", None),
            ("12345678-01-01", None),
            ("99999999999-01-01", None),
            ("Infinity", None),
            ("", None),
        ];
        for (date, want) in cases {
            assert_eq!(beyond_date(date.as_bytes()), want, "{date}");
            let (day, era) = date.split_once(' ').map_or((date, String::new()), |(day, era)| (day, format!(" {era}")));
            if !date.to_ascii_lowercase().contains("infinity") {
                for (zone, time) in [("", " 12:34:56.5"), ("+00", " 12:34:56.5+00")] {
                    let text = format!("{day}{time}{era}");
                    assert_eq!(beyond_datetime(text.as_bytes(), zone.as_bytes()), want, "{text}");
                    assert_eq!(beyond_datetime(text.as_bytes(), b"+05"), None, "{text}");
                }
            }
        }
    }

    #[test]
    fn what_is_written_is_accepted() {
        for (micros, want) in [
            (0, "1970-01-01 00:00:00.000000"),
            (1_763_671_944_000_001, "2025-11-20 20:52:24.000001"),
            (951_827_696_789_000, "2000-02-29 12:34:56.789000"),
        ] {
            assert_eq!(written(micros), want);
            assert!(is_datetime(want.as_bytes()));
        }
        assert!(is_datetime(written(u64::MAX).as_bytes()));
    }
}
