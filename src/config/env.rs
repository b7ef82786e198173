//! Reads the settings' variables from the environment: other names, files, misspelt names.
//!
//! In: an [`Env`]. Out: for each setting its value as text in its one form and where it came from, with everything
//! that is wrong so far. Always: variables of other programs do no harm, whatever their bytes; a value that may hold
//! a secret appears in no message. Not here: what values mean (`options`). Start at [`read`].

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::nearest::nearest;
use super::problem::Problem;
use super::value::{parse_bool, parse_number};
use super::vars::{
    Alias, AliasRule, FAMILIES, FOREIGN, Kind, RETIRED, Retired, RetiredRule, VARS, Var, is_named, open_regular,
};

/// Where variables come from. Tests pass a list.
pub trait Env {
    /// All variables, in no order. If a name is there twice, the first counts.
    fn vars(&self) -> Vec<(OsString, OsString)>;
}

/// The environment of this process.
#[derive(Clone, Copy, Debug)]
pub struct ProcessEnv;

impl Env for ProcessEnv {
    fn vars(&self) -> Vec<(OsString, OsString)> {
        std::env::vars_os().collect()
    }
}

impl<N: AsRef<OsStr>, V: AsRef<OsStr>> Env for Vec<(N, V)> {
    fn vars(&self) -> Vec<(OsString, OsString)> {
        self.iter().map(|(name, value)| (name.as_ref().to_owned(), value.as_ref().to_owned())).collect()
    }
}

/// Where a setting's value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// It is not set.
    Default,
    /// This variable.
    Variable(String),
    /// The file that this variable names.
    File {
        /// The variable.
        variable: String,
        /// The file.
        path: PathBuf,
    },
    /// A part of the value of this variable.
    Within(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Default => f.write_str("default"),
            Origin::Variable(name) => f.write_str(name),
            Origin::File { variable, path } => write!(f, "{variable} ({})", path.display()),
            Origin::Within(name) => write!(f, "part of {name}"),
        }
    }
}

impl Origin {
    /// The variable to name in a message about the value; `setting` if it is not set.
    pub(super) fn variable<'a>(&'a self, setting: &'a str) -> &'a str {
        match self {
            Origin::Default => setting,
            Origin::Variable(name) | Origin::Within(name) | Origin::File { variable: name, .. } => name,
        }
    }
}

/// A setting that is set.
#[derive(Clone)]
pub(super) struct Found {
    /// The value, in its kind's one form.
    pub value: String,
    /// Where it comes from.
    pub origin: Origin,
}

/// What the environment says.
#[derive(Default)]
pub(super) struct Reading {
    /// Settings that are set, to valid values.
    pub found: BTreeMap<&'static str, Found>,
    /// What is wrong so far.
    pub problems: Vec<Problem>,
    /// What a person should know.
    pub notes: Vec<String>,
    /// All variables with a readable name that are not empty; `None` if the value is not UTF-8.
    variables: BTreeMap<String, Option<String>>,
}

/// Reads some settings: all of them in a start, a few in a client.
pub(super) fn read(env: &impl Env, wanted: &[&'static Var]) -> Reading {
    let mut reading = Reading::default();
    for (name, value) in env.vars() {
        let Ok(name) = name.into_string() else { continue };
        let value = value.into_string().ok();
        if value.as_ref().is_none_or(|value| !value.trim().is_empty() && !is_service_link(&name, value)) {
            reading.variables.entry(name).or_insert(value);
        }
    }
    for var in wanted {
        reading.read_var(var);
    }
    reading
}

/// Reads every setting, and looks for names that are retired, unknown or nearly ours.
pub(super) fn read_all(env: &impl Env) -> Reading {
    let mut reading = read(env, &VARS.iter().collect::<Vec<_>>());
    let names: Vec<String> = reading.variables.keys().cloned().collect();
    for name in &names {
        reading.read_other(name);
    }
    reading
}

impl Reading {
    /// A variable that is none of our settings, such as `PGHOST`; `None` if it is not set, empty or not UTF-8.
    pub(super) fn foreign(&self, name: &str) -> Option<String> {
        self.variables.get(name).cloned().flatten()
    }

    /// Names beginning with `prefix` whose values are not UTF-8.
    pub(super) fn unreadable(&self, prefix: &str) -> Vec<String> {
        let named = self.variables.iter().filter(|(name, value)| name.starts_with(prefix) && value.is_none());
        named.map(|(name, _)| name.clone()).collect()
    }

    pub(super) fn problem(&mut self, name: &str, problem: impl Into<String>) {
        self.problems.push(Problem::of(name, problem));
    }

    fn read_var(&mut self, var: &'static Var) {
        let own = Alias { name: var.name, rule: AliasRule::Old };
        let mut first: Option<Found> = None;
        for alias in std::iter::once(&own).chain(var.aliases) {
            if alias.rule == AliasRule::Common && first.is_some() {
                continue;
            }
            let Some(found) = self.read_name(var, alias) else { continue };
            match &first {
                None => first = Some(found),
                Some(known) if known.value == found.value => {}
                // The older sidecar was told both: to copy, and to do nothing else.
                Some(known) if is_part_of(&found.value, &known.value, alias) => {}
                Some(known) => {
                    let name = known.origin.variable(var.name).to_owned();
                    let other = found.origin.variable(alias.name).to_owned();
                    self.problem(
                        &name,
                        format!("and {other} stand for the same setting and differ; keep {}", var.name),
                    );
                }
            }
        }
        if let Some(found) = first {
            self.found.insert(var.name, found);
        }
    }

    /// Reads a setting by one of its names, from the variable itself or the file it names.
    fn read_name(&mut self, var: &'static Var, alias: &Alias) -> Option<Found> {
        let file_name = format!("{}_FILE", alias.name);
        let file = if var.secret { self.variables.get(&file_name).cloned() } else { None };
        let (text, origin) = match (self.variables.get(alias.name).cloned(), file) {
            (None, None) => return None,
            (Some(_), Some(_)) => {
                self.problem(alias.name, format!("and {file_name} are both set; keep one of them"));
                return None;
            }
            (Some(text), None) => (text, Origin::Variable(alias.name.to_owned())),
            (None, Some(Some(path))) => {
                let path = PathBuf::from(path.trim());
                match secret_from(&path) {
                    Ok(text) => (Some(text), Origin::File { variable: file_name, path }),
                    Err(problem) => {
                        self.problem(&file_name, format!("names {}, which {problem}", path.display()));
                        return None;
                    }
                }
            }
            (None, Some(None)) => {
                self.problem(&file_name, "is not UTF-8");
                return None;
            }
        };
        if alias.name != var.name && alias.rule != AliasRule::Common {
            self.notes.push(format!("{} is an old name: use {} instead", origin.variable(alias.name), var.name));
        }
        let Some(text) = text else {
            self.problem(alias.name, "is not UTF-8");
            return None;
        };
        self.canonical(var, alias, &text, origin)
    }

    fn canonical(&mut self, var: &'static Var, alias: &Alias, text: &str, origin: Origin) -> Option<Found> {
        let text = if var.kind == Kind::Password { without_line_break(text) } else { text.trim() };
        let checked = match alias.rule {
            AliasRule::OldPort => loopback(text),
            AliasRule::OldSwitch { yes, no } => match parse_bool(text) {
                Ok(true) => Ok(yes.to_owned()),
                Ok(false) => Ok(no?.to_owned()),
                Err(problem) => Err(problem),
            },
            AliasRule::Old | AliasRule::Common => var.kind.canonical(text),
        };
        match checked {
            Ok(value) => {
                if alias.rule == AliasRule::OldPort {
                    self.notes
                        .push(format!("{} means {}={value}, which only this machine reaches", alias.name, var.name));
                }
                Some(Found { value, origin })
            }
            Err(problem) => {
                let value = (!var.secret).then(|| text.to_owned());
                self.problems.push(Problem { name: origin.variable(alias.name).to_owned(), value, problem });
                None
            }
        }
    }

    /// Looks at a variable that may be none of ours.
    fn read_other(&mut self, name: &str) {
        if is_known(name) || FOREIGN.iter().any(|foreign| is_named(foreign, name)) {
            return;
        }
        if let Some(retired) = RETIRED.iter().find(|retired| is_named(retired.name, name)) {
            return self.read_retired(name, retired);
        }
        if let Some(family) = FAMILIES.iter().find(|family| name.starts_with(*family)) {
            let hint = unknown_hint(name, family);
            return self.problem(name, format!("is not a setting: {hint}"));
        }
        let upper = name.to_ascii_uppercase();
        if upper != name && is_known(&upper) {
            self.notes.push(format!("{name} has no effect: names of settings are written in capitals, {upper}"));
        } else if name.len() >= NEAR_NAME_LEN_MIN
            && let Some(near) = nearest(&upper, VARS.iter().map(|var| var.name), 1)
        {
            self.notes.push(format!("{name} is not a setting and has no effect; did you mean {near}?"));
        }
    }

    fn read_retired(&mut self, name: &str, retired: &Retired) {
        let value = self.foreign(name).unwrap_or_default();
        let value = value.trim();
        let accepted = match retired.rule {
            RetiredRule::Ignored => true,
            RetiredRule::Only(words) => words.iter().any(|word| word.eq_ignore_ascii_case(value)),
        };
        if accepted {
            self.notes.push(format!("{name} is an old name without effect: {}", retired.why));
        } else {
            let value = Some(value.to_owned());
            self.problems.push(Problem {
                name: name.to_owned(),
                value,
                problem: format!("cannot be: {}", retired.why),
            });
        }
    }
}

/// Shorter names of other programs are too likely to be near one of ours by chance.
const NEAR_NAME_LEN_MIN: usize = 6;

/// What to do about an unknown name of one of our families.
fn unknown_hint(name: &str, family: &str) -> String {
    if let Some(bare) = name.strip_prefix("SLUICEGATE_")
        && is_known(bare)
    {
        return format!("settings have no prefix, use {bare}");
    }
    if let Some(bare) = name.strip_suffix("_FILE")
        && VARS.iter().any(|var| var.name == bare)
    {
        return format!("only secrets come from files, use {bare}");
    }
    if let Some(near) = nearest(name, known_names(), 3) {
        return format!("did you mean {near}?");
    }
    let siblings: Vec<&str> = VARS.iter().map(|var| var.name).filter(|name| name.starts_with(family)).collect();
    if siblings.is_empty() {
        return format!("no setting begins with {family}");
    }
    format!("those that begin with {family} are {}", siblings.join(", "))
}

fn known_names() -> impl Iterator<Item = &'static str> {
    VARS.iter().flat_map(|var| std::iter::once(var.name).chain(var.aliases.iter().map(|alias| alias.name)))
}

/// Whether a variable is one that `read_var` has read.
fn is_known(name: &str) -> bool {
    let is_of = |var: &Var, name: &str| var.name == name || var.aliases.iter().any(|alias| alias.name == name);
    VARS.iter()
        .any(|var| is_of(var, name) || (var.secret && name.strip_suffix("_FILE").is_some_and(|bare| is_of(var, bare))))
}

/// Whether Kubernetes or Docker set the variable for a service of this name: `SINK_SERVICE_HOST`,
/// `SINK_PORT_8030_TCP_ADDR`, `SINK_PORT=tcp://10.0.0.7:8030` (Kubernetes documentation, "Service", "Environment
/// variables").
fn is_service_link(name: &str, value: &str) -> bool {
    if name.ends_with("_SERVICE_HOST") || name.contains("_SERVICE_PORT") {
        return true;
    }
    if name.ends_with("_PORT") {
        return ["tcp://", "udp://", "sctp://"].iter().any(|scheme| value.trim_start().starts_with(scheme));
    }
    name.split("_PORT_").skip(1).any(|rest| {
        let after = rest.trim_start_matches(|c: char| c.is_ascii_digit());
        after.len() < rest.len() && ["_TCP", "_UDP", "_SCTP"].iter().any(|protocol| after.starts_with(protocol))
    })
}

/// Whether a former switch only says a part of what is known already.
fn is_part_of(value: &str, known: &str, alias: &Alias) -> bool {
    matches!(alias.rule, AliasRule::OldSwitch { .. }) && (value, known) == ("initial", "only")
}

/// Address of a port that was given alone.
fn loopback(port: &str) -> Result<String, String> {
    match parse_number(port)? {
        port @ 1..=65535 => Ok(format!("127.0.0.1:{port}")),
        _ => Err("is not between 1 and 65535".to_owned()),
    }
}

/// Size of a secret's file, at most.
const SECRET_BYTES_MAX: u64 = 64 << 10;

/// Reads a secret from a file: UTF-8, one line; a byte order mark and one line break at the end do not belong to it.
///
/// # Errors
/// What is wrong with the file, without its content.
pub(super) fn secret_from(path: &Path) -> Result<String, String> {
    let file = open_regular(path)?;
    let mut bytes = Vec::new();
    // The size that the file system tells may be wrong or change, so the reading itself is bounded.
    file.take(SECRET_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(|error| format!("cannot be read: {error}"))?;
    if bytes.len() as u64 > SECRET_BYTES_MAX {
        return Err("is larger than 64 KiB".to_owned());
    }
    let text = String::from_utf8(bytes).map_err(|_| "is not UTF-8".to_owned())?;
    let text = without_line_break(text.strip_prefix('\u{feff}').unwrap_or(&text));
    if text.trim().is_empty() {
        return Err("is empty".to_owned());
    }
    if text.contains(['\n', '\r', '\0']) {
        return Err("holds more than one line".to_owned());
    }
    Ok(text.to_owned())
}

fn without_line_break(text: &str) -> &str {
    text.strip_suffix("\r\n").or_else(|| text.strip_suffix('\n')).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStringExt;
    use std::process::Command;

    use super::*;

    fn problems_of(vars: &[(&str, &str)]) -> Vec<String> {
        read_all(&vars.to_vec()).problems.iter().map(Problem::to_string).collect()
    }

    fn notes_of(vars: &[(&str, &str)]) -> Vec<String> {
        read_all(&vars.to_vec()).notes
    }

    #[test]
    fn values_come_by_any_name_trimmed() {
        let cases: &[(&[(&str, &str)], &str, Option<&str>, &str)] = &[
            (&[("FLUSH_SIZE", " 10 ")], "FLUSH_SIZE", Some("10"), "blanks do not count"),
            (&[("FLUSH_SIZE", "")], "FLUSH_SIZE", None, "empty is not set"),
            (&[("FLUSH_SIZE", " \r\n")], "FLUSH_SIZE", None, "blank is not set"),
            (&[("FLUSH_SIZE", "1"), ("FLUSH_SIZE", "2")], "FLUSH_SIZE", Some("1"), "the first counts, as for getenv"),
            (&[("SLOT_NAME", "s")], "SLOT", Some("s"), "first generation"),
            (&[("SOURCE_SLOT_NAME", "s")], "SLOT", Some("s"), "second generation"),
            (&[("PUBLICATION_NAME", "P q")], "PUBLICATION", Some("P q"), ""),
            (&[("SOURCE_PUBLICATION_NAME", "p")], "PUBLICATION", Some("p"), ""),
            (&[("DATABASE_URL", "postgres://h/d")], "SOURCE_URL", Some("postgres://h/d"), ""),
            (&[("STARROCKS_URL", "http://h")], "SINK_URL", Some("http://h"), ""),
            (&[("STARROCKS_PORT", "9031")], "SINK_PORT", Some("9031"), ""),
            (&[("STARROCKS_DB", "d")], "SINK_DATABASE", Some("d"), ""),
            (&[("STARROCKS_USER", "u")], "SINK_USER", Some("u"), ""),
            (&[("STARROCKS_PASS", "p")], "SINK_PASSWORD", Some("p"), ""),
            (&[("GRPC_PORT", "6000")], "GRPC_ADDR", Some("127.0.0.1:6000"), "a port alone is loopback"),
            (&[("DBMAZZ_CONTROL_PORT", "6001")], "GRPC_ADDR", Some("127.0.0.1:6001"), ""),
            (&[("HTTP_API_PORT", "6002")], "METRICS_ADDR", Some("127.0.0.1:6002"), ""),
            (&[("RUST_LOG", "debug")], "LOG", Some("debug"), ""),
            (&[("RUST_LOG", "debug"), ("LOG", "warn")], "LOG", Some("warn"), "our own name is nearer"),
            (&[("SLOT", "s"), ("SLOT_NAME", "s")], "SLOT", Some("s"), "equal values agree"),
            (&[("SINK_PASSWORD", " p w \n")], "SINK_PASSWORD", Some(" p w "), "a password keeps its blanks"),
            (&[("SINK_PASSWORD", "p\r\n")], "SINK_PASSWORD", Some("p"), ""),
            (&[("SINK_PASSWORD", "p\n\n")], "SINK_PASSWORD", Some("p\n"), "one line break, not all"),
            (&[("SINK_PORT", "tcp://10.0.0.7:8030")], "SINK_PORT", None, "Kubernetes set it for a service named sink"),
            (&[("STARROCKS_PORT", "tcp://10.0.0.7:8030")], "SINK_PORT", None, "and for one named starrocks"),
        ];
        for (vars, name, want, why) in cases {
            let reading = read_all(&vars.to_vec());
            assert_eq!(reading.problems, [], "{vars:?} {why}");
            assert_eq!(reading.found.get(name).map(|found| found.value.as_str()), *want, "{vars:?} {why}");
        }
    }

    #[test]
    fn what_is_wrong_is_said_by_name() {
        let cases: &[(&[(&str, &str)], &[&str])] = &[
            (&[("FLUSH_SIZE", "10k")], &[r#"FLUSH_SIZE="10k" is not a whole number"#]),
            (
                &[("SLOT", "a"), ("SLOT_NAME", "b")],
                &["SLOT and SLOT_NAME stand for the same setting and differ; keep SLOT"],
            ),
            (
                &[("SINK_PASSWORD", "CANARY"), ("STARROCKS_PASS", "CANARY2")],
                &["SINK_PASSWORD and STARROCKS_PASS stand for the same setting and differ; keep SINK_PASSWORD"],
            ),
            (
                &[("SINK_PASSWORD", "CANARY"), ("SINK_PASSWORD_FILE", "/x")],
                &["SINK_PASSWORD and SINK_PASSWORD_FILE are both set; keep one of them"],
            ),
            (&[("GRPC_PORT", "0")], &[r#"GRPC_PORT="0" is not between 1 and 65535"#]),
            (&[("GRPC_PORT", "x")], &[r#"GRPC_PORT="x" is not a whole number"#]),
            (&[("SINK_ULR", "CANARY")], &["SINK_ULR is not a setting: did you mean SINK_URL?"]),
            (&[("FLUSH_SIZES", "1")], &["FLUSH_SIZES is not a setting: did you mean FLUSH_SIZE?"]),
            (
                &[("FLUSH_SIZE_FILE", "/x")],
                &["FLUSH_SIZE_FILE is not a setting: only secrets come from files, use FLUSH_SIZE"],
            ),
            (
                &[("SLUICEGATE_TABLES", "x")],
                &["SLUICEGATE_TABLES is not a setting: settings have no prefix, use TABLES"],
            ),
            (
                &[("FLUSH_WHATEVER_ELSE", "x")],
                &["FLUSH_WHATEVER_ELSE is not a setting: those that begin with FLUSH_ are FLUSH_SIZE, FLUSH_BYTES, \
                   FLUSH_INTERVAL_MS"],
            ),
            (
                &[("METRICS_PREFIX_X", "x")],
                &["METRICS_PREFIX_X is not a setting: those that begin with METRICS_ are METRICS_ADDR"],
            ),
            (
                &[("PUBLICATION_X_Y_Z", "x")],
                &["PUBLICATION_X_Y_Z is not a setting: no setting begins with PUBLICATION_"],
            ),
            (&[("SOURCE_TYPE", "mysql")], &[r#"SOURCE_TYPE="mysql" cannot be: PostgreSQL is the only source"#]),
            (&[("SINK_TYPE", "kafka")], &[r#"SINK_TYPE="kafka" cannot be: StarRocks is the only sink"#]),
            (
                &[("DO_SNAPSHOT", "soon"), ("FLUSH_INTERVAL_MS", "5s")],
                &[r#"DO_SNAPSHOT="soon" is neither true nor false"#, r#"FLUSH_INTERVAL_MS="5s" is not a whole number"#],
            ),
            (
                &[("SNAPSHOT", "only"), ("DO_SNAPSHOT", "no")],
                &["SNAPSHOT and DO_SNAPSHOT stand for the same setting and differ; keep SNAPSHOT"],
            ),
        ];
        for (vars, want) in cases {
            assert_eq!(problems_of(vars), *want, "{vars:?}");
        }
    }

    #[test]
    fn old_names_are_noted_once_each() {
        let cases: &[(&[(&str, &str)], &[&str])] = &[
            (&[("SLOT_NAME", "s")], &["SLOT_NAME is an old name: use SLOT instead"]),
            (
                &[("GRPC_PORT", "6000")],
                &[
                    "GRPC_PORT is an old name: use GRPC_ADDR instead",
                    "GRPC_PORT means GRPC_ADDR=127.0.0.1:6000, which only this machine reaches",
                ],
            ),
            (&[("RUST_LOG", "info")], &[]),
            (
                &[("SOURCE_TYPE", "Postgres")],
                &["SOURCE_TYPE is an old name without effect: PostgreSQL is the only source"],
            ),
            (&[("SINK_TYPE", "starrocks")], &["SINK_TYPE is an old name without effect: StarRocks is the only sink"]),
            (
                &[("SNAPSHOT_CHUNK_SIZE", "1")],
                &[
                    "SNAPSHOT_CHUNK_SIZE is an old name without effect: it counted rows; reads are cut by bytes and time \
                   now, see SNAPSHOT_CHUNK_BYTES",
                ],
            ),
            (
                &[("SINK_SNOWFLAKE_PRIVATE_KEY", "CANARY")],
                &["SINK_SNOWFLAKE_PRIVATE_KEY is an old name without effect: Snowflake is not a sink of this version"],
            ),
            (
                &[("flush_size", "1")],
                &["flush_size has no effect: names of settings are written in capitals, FLUSH_SIZE"],
            ),
            (
                &[("MEMORY_BUGDET", "1")],
                &["MEMORY_BUGDET is not a setting and has no effect; did you mean MEMORY_BUDGET?"],
            ),
            (&[("PATH", "/bin"), ("HOME", "/"), ("PGHOST", "h"), ("LANG", "C"), ("TERM", "xterm")], &[]),
        ];
        for (vars, want) in cases {
            assert_eq!(problems_of(vars), [""; 0], "{vars:?}");
            assert_eq!(notes_of(vars), *want, "{vars:?}");
        }
        for name in [
            "DO_SNAPSHOT",
            "INITIAL_SNAPSHOT_ONLY",
            "SNAPSHOT_PARALLEL_WORKERS",
            "SINK_SCHEMA",
            "MYSQL_SERVER_ID",
            "MYSQL_GTID_ENABLED",
            "MYSQL_TLS_SKIP_VERIFY",
        ] {
            assert_eq!(problems_of(&[(name, "1")]), [""; 0]);
            assert_eq!(notes_of(&[(name, "1")]).len(), 1, "{name}");
        }
    }

    #[test]
    fn former_switches_stand_for_one_setting() {
        let cases: &[(&[(&str, &str)], Option<&str>)] = &[
            (&[("DO_SNAPSHOT", "true")], Some("initial")),
            (&[("DO_SNAPSHOT", "false")], Some("never")),
            (&[("INITIAL_SNAPSHOT_ONLY", "true")], Some("only")),
            (&[("INITIAL_SNAPSHOT_ONLY", "false")], None),
            (&[("DO_SNAPSHOT", "true"), ("INITIAL_SNAPSHOT_ONLY", "true")], Some("only")),
            (&[("DO_SNAPSHOT", "true"), ("INITIAL_SNAPSHOT_ONLY", "false")], Some("initial")),
            (&[("DO_SNAPSHOT", "no"), ("SNAPSHOT", "never")], Some("never")),
        ];
        for (vars, want) in cases {
            let reading = read_all(&vars.to_vec());
            assert_eq!(reading.problems, [], "{vars:?}");
            assert_eq!(reading.found.get("SNAPSHOT").map(|found| found.value.as_str()), *want, "{vars:?}");
        }
    }

    #[test]
    fn names_of_other_programs_do_no_harm() {
        let vars = [
            ("GRPC_VERBOSITY", "debug"),
            ("GRPC_GO_LOG_SEVERITY_LEVEL", "info"),
            ("SOURCE_DATE_EPOCH", "0"),
            ("SLUICEGATE_FAILPOINT", "x:1"),
            ("SINK_SERVICE_HOST", "10.0.0.7"),
            ("SINK_SERVICE_PORT", "8030"),
            ("SINK_SERVICE_PORT_HTTP", "8030"),
            ("SINK_PORT_8030_TCP", "tcp://10.0.0.7:8030"),
            ("SINK_PORT_8030_TCP_ADDR", "10.0.0.7"),
            ("SOURCE_PORT", "tcp://10.0.0.7:8030"),
            ("SINK_EMPTY", ""),
        ];
        assert_eq!(problems_of(&vars), [""; 0]);
        assert_eq!(notes_of(&vars), [""; 0]);
        assert_eq!(problems_of(&[("SINK_PORT_OLD_TCP", "x")]).len(), 1, "no port number, so none of theirs");
    }

    #[test]
    fn bytes_that_are_not_text_matter_only_in_our_variables() {
        let bad = || OsString::from_vec(vec![b'a', 0xff]);
        let vars = vec![(OsString::from("EDITOR"), bad()), (bad(), OsString::from("x"))];
        assert_eq!(read_all(&vars).problems, []);
        for name in ["FLUSH_SIZE", "SINK_PASSWORD", "SINK_PASSWORD_FILE", "SLOT_NAME"] {
            let found = read_all(&vec![(OsString::from(name), bad())]).problems;
            assert_eq!(found, [Problem::of(name, "is not UTF-8")]);
        }
    }

    #[test]
    fn secrets_come_from_one_line_files() {
        let folder = tempfile::tempdir().unwrap();
        let cases: &[(&str, &[u8], Result<&str, &str>)] = &[
            ("plain", b"CANARY", Ok("CANARY")),
            ("newline", b"CANARY\n", Ok("CANARY")),
            ("crlf", b"CANARY\r\n", Ok("CANARY")),
            ("bom", b"\xef\xbb\xbfCANARY\n", Ok("CANARY")),
            ("blanks", b" CANARY ", Ok(" CANARY ")),
            ("utf8", "päss".as_bytes(), Ok("päss")),
            ("empty", b"", Err("is empty")),
            ("blank", b" \n", Err("is empty")),
            ("lines", b"CANARY\nCANARY\n", Err("holds more than one line")),
            ("bytes", b"CANARY\xff", Err("is not UTF-8")),
            ("most", &[b'x'; SECRET_BYTES_MAX as usize], Ok(std::str::from_utf8(&[b'x'; 64 << 10]).unwrap())),
            ("more", &[b'x'; SECRET_BYTES_MAX as usize + 1], Err("is larger than 64 KiB")),
        ];
        for (name, content, want) in cases {
            let path = folder.path().join(name);
            std::fs::write(&path, content).unwrap();
            assert_eq!(secret_from(&path), want.map(str::to_owned).map_err(str::to_owned), "{name}");
        }
        let fifo = folder.path().join("fifo");
        assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
        assert_eq!(secret_from(&fifo), Err("is not a regular file".to_owned()));
        assert_eq!(secret_from(folder.path()), Err("is a directory".to_owned()));
        let missing = folder.path().join("missing");
        let text = problems_of(&[("SINK_PASSWORD_FILE", missing.to_str().unwrap())]).concat();
        assert_eq!(
            text,
            format!(
                "SINK_PASSWORD_FILE names {}, which cannot be opened: No such file or directory (os error 2)",
                missing.display()
            )
        );
    }

    #[test]
    fn files_work_for_old_names_too() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pass");
        std::fs::write(&path, "CANARY\n").unwrap();
        let reading = read_all(&vec![("STARROCKS_PASS_FILE", path.to_str().unwrap())]);
        assert_eq!(reading.problems, []);
        assert_eq!(reading.notes, ["STARROCKS_PASS_FILE is an old name: use SINK_PASSWORD instead"]);
        let found = &reading.found["SINK_PASSWORD"];
        assert_eq!(found.value, "CANARY");
        assert_eq!(found.origin, Origin::File { variable: "STARROCKS_PASS_FILE".into(), path });
    }
}
