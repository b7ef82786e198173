//! How things look to a person: colours, widths, numbers with units.

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

/// Narrowest and widest screen that is laid out for, in columns.
const WIDTH: (usize, usize) = (80, 120);

/// What the output can show.
#[derive(Clone, Copy, Debug)]
pub(super) struct Style {
    /// Whether colours may be used.
    pub colour: bool,
    /// Columns.
    pub width: usize,
}

/// A colour with a meaning.
#[derive(Clone, Copy, Debug)]
pub(super) enum Ink {
    /// Heading.
    Strong,
    /// As it should be.
    Good,
    /// Odd.
    Warn,
    /// Someone must act.
    Bad,
    /// Of less interest.
    Faint,
}

impl Style {
    /// That of a stream of this process: colours only on a terminal, and not if `NO_COLOR` is set (no-color.org).
    pub(super) fn of(stream: &impl IsTerminal) -> Style {
        let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        let dumb = set("TERM").is_some_and(|term| term == "dumb");
        let columns = set("COLUMNS").and_then(|columns| columns.to_str()?.parse().ok());
        Style {
            colour: stream.is_terminal() && set("NO_COLOR").is_none() && !dumb,
            width: columns.unwrap_or(WIDTH.0).clamp(WIDTH.0, WIDTH.1),
        }
    }

    /// Text in a colour.
    pub(super) fn ink(self, ink: Ink, text: &str) -> String {
        if !self.colour {
            return text.to_owned();
        }
        let code = match ink {
            Ink::Strong => "1",
            Ink::Good => "32",
            Ink::Warn => "33",
            Ink::Bad => "1;31",
            Ink::Faint => "2",
        };
        format!("\u{1b}[{code}m{text}\u{1b}[0m")
    }
}

/// Writes to standard output. A reader that has gone away (`| head`) is not our problem.
pub(super) fn print(text: &str) {
    let mut out = io::stdout().lock();
    drop(out.write_all(text.as_bytes()).and_then(|()| out.flush()));
}

/// Writes to standard error.
pub(super) fn complain(text: &str) {
    drop(io::stderr().lock().write_all(text.as_bytes()));
}

/// An error and what caused it, on one line.
pub(super) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| {
        let cause = cause.to_string();
        // Some libraries repeat the cause in their own text.
        if text.ends_with(&cause) { text } else { format!("{text}: {cause}") }
    })
}

/// Text from elsewhere without control characters, so that it cannot steer a terminal.
pub(super) fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

/// At most so many characters; the end of a longer text is left out.
pub(super) fn short(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let kept: String = text.chars().take(width.saturating_sub(1)).collect();
    format!("{kept}…")
}

/// Lines of at most so many characters, broken at blanks, each after an indent that counts.
pub(super) fn wrapped(text: &str, indent: usize, width: usize) -> String {
    let mut out = String::new();
    let mut column = 0;
    for word in text.split_whitespace() {
        let length = word.chars().count();
        if column > 0 && column + 1 + length > width {
            out.push('\n');
            column = 0;
        }
        if column == 0 {
            out.push_str(&" ".repeat(indent));
            column = indent;
        } else {
            out.push(' ');
            column += 1;
        }
        out.push_str(word);
        column += length;
    }
    if !out.is_empty() {
        out.push('\n');
    }
    out
}

/// `12,345`.
pub(super) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `216 B`, `2.0 KiB`, `14 MiB`.
pub(super) fn bytes(number: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if number < 1024 {
        return format!("{number} B");
    }
    let mut value = number as f64 / 1024.0;
    let mut unit = 0;
    // What would be printed as 1024 belongs to the next unit.
    while value >= 1023.5 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    let decimals = usize::from(value < 9.95);
    format!("{value:.decimals$} {}", UNITS[unit])
}

/// `0.4 s`, `12 s`, `3 m 4 s`, `2 h 13 m`, `5 d 3 h`.
pub(super) fn time(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..10 => format!("{}.{} s", seconds, time.subsec_millis() / 100),
        10..60 => format!("{seconds} s"),
        60..3_600 => format!("{} m {} s", seconds / 60, seconds % 60),
        3_600..86_400 => format!("{} h {} m", seconds / 3_600, seconds / 60 % 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds / 3_600 % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_readable() {
        for (number, want) in [(0, "0"), (999, "999"), (1_000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(count(number), want);
        }
        for (number, want) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (10_240, "10 KiB"),
            (1_048_575, "1.0 MiB"),
            (16 << 20, "16 MiB"),
            (5 << 40, "5.0 TiB"),
            (u64::MAX, "16 EiB"),
        ] {
            assert_eq!(bytes(number), want);
        }
        for (millis, want) in [
            (0, "0.0 s"),
            (480, "0.4 s"),
            (12_900, "12 s"),
            (184_000, "3 m 4 s"),
            (7_980_000, "2 h 13 m"),
            (442_800_000, "5 d 3 h"),
        ] {
            assert_eq!(time(Duration::from_millis(millis)), want);
        }
    }

    #[test]
    fn text_from_elsewhere_stays_in_its_place() {
        assert_eq!(plain("a\u{1b}[2Jb\n"), "a?[2Jb?");
        assert_eq!((short("tisch_größe", 20), short("tisch_größe", 8)), ("tisch_größe".into(), "tisch_g…".into()));
        assert_eq!(wrapped("one two  three", 2, 9), "  one two\n  three\n");
        assert_eq!(wrapped("unbreakable", 2, 5), "  unbreakable\n");
        assert_eq!(wrapped(" ", 2, 5), "");
    }
}
