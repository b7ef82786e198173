//! Every parameter libpq knows, and what we do with it.
//!
//! In: the connection string and the environment. Out: the values we honour. Always: a parameter we cannot honour is
//! a problem or a note, never dropped silently. Start at [`TABLE`].

use std::collections::HashMap;

use super::text;

/// What happens to a parameter.
#[derive(Clone, Copy)]
enum Rule {
    /// Its value is used.
    Take,
    /// Only these values have the meaning we give it; others are refused for this reason.
    Only(&'static [&'static str], &'static str),
    /// It changes nothing that a user would miss; a note says why.
    Note(&'static str),
    /// Accepted without a word.
    Skip,
    /// It would have to be honoured and is not.
    Refuse(&'static str),
}

use Rule::{Note, Only, Refuse, Skip, Take};

const NO_GSS: &str = "GSSAPI is not supported";
const OWN_KEEPALIVES: &str = "the connection's keepalives are set by sluicegate";
const NO_CRL: &str = "revocation lists are not supported";
const NO_OAUTH: &str = "OAuth is not supported";

/// Name, environment variable, and rule, in the order of PostgreSQL 18 documentation, 32.1.2 "Parameter Key Words".
const TABLE: &[(&str, &str, Rule)] = &[
    ("host", "PGHOST", Take),
    ("hostaddr", "PGHOSTADDR", Take),
    ("port", "PGPORT", Take),
    ("dbname", "PGDATABASE", Take),
    ("user", "PGUSER", Take),
    ("password", "PGPASSWORD", Take),
    ("passfile", "PGPASSFILE", Take),
    ("require_auth", "PGREQUIREAUTH", Refuse("a list of allowed authentication methods is not supported")),
    ("channel_binding", "PGCHANNELBINDING", Take),
    ("connect_timeout", "PGCONNECT_TIMEOUT", Take),
    ("client_encoding", "PGCLIENTENCODING", Only(&["utf8", "UTF8", "UTF-8", "utf-8"], "text is always read as UTF-8")),
    ("options", "PGOPTIONS", Refuse("session settings are fixed by sluicegate")),
    ("application_name", "PGAPPNAME", Take),
    ("fallback_application_name", "", Note("sluicegate names its sessions itself")),
    ("keepalives", "", Note(OWN_KEEPALIVES)),
    ("keepalives_idle", "", Note(OWN_KEEPALIVES)),
    ("keepalives_interval", "", Note(OWN_KEEPALIVES)),
    ("keepalives_count", "", Note(OWN_KEEPALIVES)),
    ("tcp_user_timeout", "", Note(OWN_KEEPALIVES)),
    ("replication", "", Skip),
    ("gssencmode", "PGGSSENCMODE", Only(&["disable", "prefer"], NO_GSS)),
    ("sslmode", "PGSSLMODE", Take),
    ("requiressl", "PGREQUIRESSL", Refuse("it is long deprecated; use sslmode=require")),
    ("sslnegotiation", "PGSSLNEGOTIATION", Only(&["postgres"], "TLS without asking first is not supported")),
    ("sslcompression", "PGSSLCOMPRESSION", Only(&["0"], "TLS compression is not supported")),
    ("sslcert", "PGSSLCERT", Take),
    ("sslkey", "PGSSLKEY", Take),
    ("sslkeylogfile", "", Refuse("session keys are not written to files")),
    (
        "sslpassword",
        "",
        Refuse("encrypted client keys are not supported; store the key unencrypted and readable by us only"),
    ),
    ("sslcertmode", "PGSSLCERTMODE", Only(&["allow"], "a client certificate is sent if the server asks for one")),
    ("sslrootcert", "PGSSLROOTCERT", Take),
    ("sslcrl", "PGSSLCRL", Refuse(NO_CRL)),
    ("sslcrldir", "PGSSLCRLDIR", Refuse(NO_CRL)),
    ("sslsni", "PGSSLSNI", Only(&["1"], "the host name is always sent in the TLS handshake")),
    ("requirepeer", "PGREQUIREPEER", Refuse("the owner of a unix socket's server is not checked")),
    (
        "ssl_min_protocol_version",
        "PGSSLMINPROTOCOLVERSION",
        Only(&["TLSv1", "TLSv1.1", "TLSv1.2"], "TLS 1.2 and 1.3 are spoken; a higher minimum is not offered"),
    ),
    (
        "ssl_max_protocol_version",
        "PGSSLMAXPROTOCOLVERSION",
        Only(&["TLSv1.3"], "TLS 1.2 and 1.3 are spoken; a lower maximum is not offered"),
    ),
    ("min_protocol_version", "PGMINPROTOCOLVERSION", Only(&["3.0"], "protocol 3.0 is spoken")),
    ("max_protocol_version", "PGMAXPROTOCOLVERSION", Only(&["3.0", "3.2", "latest"], "protocol 3.0 is spoken")),
    ("krbsrvname", "PGKRBSRVNAME", Note(NO_GSS)),
    ("gsslib", "PGGSSLIB", Note(NO_GSS)),
    ("gssdelegation", "PGGSSDELEGATION", Only(&["0"], NO_GSS)),
    ("scram_client_key", "", Refuse("logging in with SCRAM keys is not supported; give the password")),
    ("scram_server_key", "", Refuse("logging in with SCRAM keys is not supported; give the password")),
    ("service", "PGSERVICE", Refuse("connection service files are not supported; give host, user and database")),
    ("servicefile", "", Refuse("connection service files are not supported; give host, user and database")),
    (
        "target_session_attrs",
        "PGTARGETSESSIONATTRS",
        Only(&["any", "read-write"], "logical replication with a checkpoint table needs a server that accepts writes"),
    ),
    ("load_balance_hosts", "PGLOADBALANCEHOSTS", Only(&["disable"], "hosts are tried in the order written")),
    ("oauth_issuer", "", Refuse(NO_OAUTH)),
    ("oauth_client_id", "", Refuse(NO_OAUTH)),
    ("oauth_client_secret", "", Refuse(NO_OAUTH)),
    ("oauth_scope", "", Refuse(NO_OAUTH)),
];

struct Value {
    text: String,
    /// The variable it came from; empty if it was in the connection string.
    variable: &'static str,
}

/// The values to honour, and what was found wrong on the way.
pub(super) struct Parameters {
    values: HashMap<&'static str, Value>,
    /// One sentence each, without secrets.
    pub(super) problems: Vec<String>,
    /// One sentence each.
    pub(super) notes: Vec<String>,
}

impl Parameters {
    /// Reads the string, then the environment for what the string does not name.
    pub(super) fn collect(string: &str, env: &dyn Fn(&str) -> Option<String>) -> Parameters {
        let split = text::split(string);
        let mut found = Parameters { values: HashMap::new(), problems: split.problems, notes: Vec::new() };
        let mut secret_before = split.names_may_be_secret;
        let mut seen = Vec::new();
        for (at, (name, text)) in split.pairs.into_iter().enumerate() {
            match TABLE.iter().find(|(known, ..)| *known == name) {
                None => {
                    let problem = unknown(&name, at + 1, secret_before);
                    found.problem(problem);
                }
                Some((known, ..)) if seen.contains(known) => found.problem(format!("{known} is given twice")),
                Some((known, _, rule)) => {
                    seen.push(*known);
                    found.apply(known, *rule, Value { text, variable: "" });
                }
            }
            secret_before |= name == "password";
        }
        let hosted = ["host", "hostaddr"].iter().any(|name| seen.contains(name));
        for (name, variable, rule) in TABLE {
            // With a host in the string there is nothing a service could be asked for.
            let needless = hosted && *name == "service";
            if variable.is_empty() || seen.contains(name) || needless {
                continue;
            }
            if let Some(text) = env(variable).filter(|text| !text.is_empty()) {
                found.apply(name, *rule, Value { text, variable });
            }
        }
        found
    }

    /// The value of a parameter that was given and is not empty.
    pub(super) fn filled(&self, name: &str) -> Option<String> {
        self.values.get(name).map(|value| value.text.clone()).filter(|text| !text.is_empty())
    }

    /// How to call a parameter in a message: its name, or the variable it came from.
    pub(super) fn origin(&self, name: &'static str) -> &'static str {
        self.values.get(name).map(|value| value.variable).filter(|variable| !variable.is_empty()).unwrap_or(name)
    }

    /// The value of a parameter with a fixed set of words. An empty one is a problem, as in libpq.
    pub(super) fn one_of<T: Copy>(&mut self, name: &'static str, all: &[T], word: fn(T) -> &'static str) -> Option<T> {
        let text = &self.values.get(name)?.text;
        let found = all.iter().copied().find(|one| word(*one) == text);
        if found.is_none() {
            let words: Vec<&str> = all.iter().map(|one| word(*one)).collect();
            let problem = format!("{} is not one of {}", self.origin(name), words.join(", "));
            self.problem(problem);
        }
        found
    }

    /// Adds a problem.
    pub(super) fn problem(&mut self, text: impl Into<String>) {
        self.problems.push(text.into());
    }

    fn apply(&mut self, name: &'static str, rule: Rule, value: Value) {
        let from = if value.variable.is_empty() { name } else { value.variable };
        match rule {
            Take => {}
            Skip => return,
            Only(words, _) if words.contains(&value.text.as_str()) => {}
            Only(words, why) => return self.problem(format!("{from} may only be {}: {why}", words.join(" or "))),
            Refuse(_) if value.text.is_empty() => return,
            Refuse(why) => return self.problem(format!("{from} is refused: {why}")),
            Note(why) => return self.notes.push(format!("{from} is ignored: {why}")),
        }
        self.values.insert(name, value);
    }
}

/// Names an unknown parameter, unless it may be the rest of a password that was not percent-encoded.
fn unknown(name: &str, at: usize, secret_before: bool) -> String {
    let plain = (1..=40).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
    if secret_before || !plain {
        return format!("parameter {at} of the connection string is not one libpq knows");
    }
    match name {
        "ssl" => "parameter ssl may only be true (it then means sslmode=require): use sslmode".to_owned(),
        _ => format!("parameter {name} is not one libpq knows"),
    }
}
