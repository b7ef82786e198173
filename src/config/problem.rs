//! What is wrong with the settings.

use std::fmt;

/// One thing wrong with one setting. Never holds a secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name}{} {problem}", shown(.value))]
pub struct Problem {
    /// The variable as it was set (an old name, or `..._FILE`, if that was used).
    pub name: String,
    /// Its value, if it may be shown.
    pub value: Option<String>,
    /// What is wrong, what was expected.
    pub problem: String,
}

/// Characters of a value that a message shows.
const VALUE_CHARS_SHOWN: usize = 80;

fn shown(value: &Option<String>) -> String {
    let Some(value) = value else { return String::new() };
    let mut start: String = value.chars().take(VALUE_CHARS_SHOWN).collect();
    if start.len() < value.len() {
        start.push('…');
    }
    format!("={start:?}")
}

impl Problem {
    /// A problem that does not show the value.
    pub(super) fn of(name: impl Into<String>, problem: impl Into<String>) -> Self {
        Problem { name: name.into(), value: None, problem: problem.into() }
    }
}

/// Everything wrong with the settings, and what would have been noted had they been right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems {
    /// At least one, in order of the variables' names in the reference.
    pub list: Vec<Problem>,
    /// As `Settings::notes`.
    pub notes: Vec<String>,
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.list.len();
        write!(f, "{count} problem{} with the settings", if count == 1 { "" } else { "s" })?;
        self.list.iter().try_for_each(|problem| write!(f, "\n  - {problem}"))
    }
}

impl std::error::Error for Problems {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_shown_quoted_and_in_part() {
        let problem = |value: Option<&str>| {
            Problem { name: "X".into(), value: value.map(Into::into), problem: "is odd".into() }.to_string()
        };
        assert_eq!(problem(None), "X is odd");
        assert_eq!(problem(Some("a\nb\u{1b}[0m")), r#"X="a\nb\u{1b}[0m" is odd"#);
        assert_eq!(problem(Some(&"é".repeat(200))), format!("X=\"{}…\" is odd", "é".repeat(80)));
    }
}
