//! Splits a connection string into names and values, as libpq does (PostgreSQL 18 documentation, 32.1.1).
//!
//! In: the string. Out: pairs in the order written. Always: no problem's text holds a piece of the string, because any
//! piece may be part of a password that was not percent-encoded. Start at [`split`].

/// What a string says.
#[derive(Debug, Default)]
pub(super) struct Split {
    /// Names and decoded values. The parts of a URI come under the names of their parameters.
    pub(super) pairs: Vec<(String, String)>,
    /// Whether a name that is not known may be a piece of a secret.
    pub(super) names_may_be_secret: bool,
    /// One sentence each.
    pub(super) problems: Vec<String>,
}

impl Split {
    fn problem(&mut self, text: &str) {
        self.problems.push(text.to_owned());
    }

    fn push(&mut self, name: &str, value: String) {
        self.pairs.push((name.to_owned(), value));
    }
}

/// Splits a URI or a `key=value` string. An empty string says nothing and is no problem.
pub(super) fn split(string: &str) -> Split {
    let string = string.trim();
    let uri = ["postgresql://", "postgres://"].iter().find_map(|scheme| string.strip_prefix(scheme));
    let mut split = Split::default();
    match uri {
        Some(rest) => split.uri(rest),
        None if string.is_empty() => {}
        None => match (string.find("://"), string.find('=')) {
            (Some(colon), equals) if equals.is_none_or(|equals| colon < equals) => {
                split.problem("the URL does not start with postgresql:// or postgres://");
            }
            (_, Some(_)) => split.key_values(string),
            _ => split.problem("the connection string is neither a postgresql:// URL nor made of key=value pairs"),
        },
    }
    split
}

impl Split {
    fn uri(&mut self, rest: &str) {
        let rest = match rest.find(['@', '/']) {
            Some(at) if rest.as_bytes()[at] == b'@' => {
                self.user_info(&rest[..at]);
                &rest[at + 1..]
            }
            _ => rest,
        };
        // libpq would take what stands before as host, port or database: pieces of the password in every log.
        if rest.contains('@') {
            self.pairs.clear();
            return self.problem("an @ stands where it cannot: write @ in user and password as %40, and / as %2F");
        }
        if rest.contains('#') {
            self.problem("a # stands in the URL: a fragment has no meaning here; write # in a value as %23");
            return;
        }
        let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (hosts, database) = place.split_once('/').unwrap_or((place, ""));
        self.hosts(hosts);
        if !database.is_empty()
            && let Some(database) = self.decoded(database, "the database")
        {
            self.push("dbname", database);
        }
        if !query.is_empty() {
            self.query(query);
        }
    }

    fn user_info(&mut self, text: &str) {
        let (user, password) = text.split_once(':').map_or((text, None), |(user, password)| (user, Some(password)));
        if user.contains('?') {
            return self.problem("a ? stands in the user name: write it as %3F");
        }
        if let Some(user) = self.decoded(user, "the user").filter(|user| !user.is_empty()) {
            self.push("user", user);
        }
        if let Some(password) = password.and_then(|text| self.decoded(text, "the password")) {
            self.push("password", password);
        }
    }

    /// `host:port` and more of them after commas; an IPv6 address stands in brackets.
    fn hosts(&mut self, list: &str) {
        let mut names = Vec::new();
        let mut ports = Vec::new();
        for one in list.split(',') {
            let (name, port) = match one.strip_prefix('[').map(|rest| rest.split_once(']')) {
                None => one.split_once(':').unwrap_or((one, "")),
                Some(None) => return self.problem("a [ before an IPv6 address is not closed"),
                Some(Some(("", _))) => return self.problem("the brackets of an IPv6 address are empty"),
                Some(Some((name, ""))) => (name, ""),
                Some(Some((name, rest))) => match rest.strip_prefix(':') {
                    Some(port) => (name, port),
                    None => return self.problem("after the ] of an IPv6 address only a port can follow"),
                },
            };
            if port.contains(':') {
                return self.problem("a host has more than one colon: put an IPv6 address in brackets");
            }
            names.push(name);
            ports.push(port);
        }
        self.names_may_be_secret |= ports.iter().any(|port| !port.bytes().all(|byte| byte.is_ascii_digit()));
        let (names, ports) = (names.join(","), ports.join(","));
        if !names.is_empty()
            && let Some(names) = self.decoded(&names, "the host")
        {
            self.push("host", names);
        }
        if ports.contains(|c| c != ',')
            && let Some(ports) = self.decoded(&ports, "the port")
        {
            self.push("port", ports);
        }
    }

    fn query(&mut self, query: &str) {
        for (at, pair) in query.split('&').enumerate() {
            let what = format!("parameter {} of the URL", at + 1);
            match pair.split_once('=') {
                None => self.problems.push(format!("{what} has no =")),
                Some(("", _)) => self.problems.push(format!("{what} has no name")),
                Some((_, value)) if value.contains('=') => {
                    self.problems.push(format!("{what} has more than one =: write = in a value as %3D"));
                }
                // libpq takes this one word of JDBC.
                Some(("ssl", "true")) => self.push("sslmode", "require".to_owned()),
                Some((name, value)) => {
                    let name = self.decoded(name, &what);
                    let value = self.decoded(value, &what);
                    self.pairs.extend(name.zip(value));
                }
            }
        }
    }

    fn decoded(&mut self, text: &str, what: &str) -> Option<String> {
        match decode(text) {
            Ok(text) => Some(text),
            Err(problem) => {
                self.problems.push(format!("{what} {problem}"));
                None
            }
        }
    }

    /// `key = value`, where a value with blanks stands in single quotes and a backslash takes the next character as it
    /// is.
    fn key_values(&mut self, string: &str) {
        let mut rest = string.trim_start();
        while !rest.is_empty() {
            let at = self.pairs.len() + 1;
            let name_len = rest.find(|c: char| c == '=' || c.is_whitespace()).unwrap_or(rest.len());
            let (name, after) = rest.split_at(name_len);
            let Some(after) = after.trim_start().strip_prefix('=') else {
                return self.problems.push(format!("pair {at} of the connection string has no ="));
            };
            match value(after.trim_start()) {
                Some((value, after)) => {
                    self.push(name, value);
                    rest = after.trim_start();
                }
                None => return self.problems.push(format!("the quote of value {at} is not closed")),
            }
        }
    }
}

/// Takes one value of a `key=value` string off the front; `None` if its quote is not closed.
fn value(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let quoted = text.starts_with('\'');
    let mut chars = text.char_indices();
    if quoted {
        chars.next();
    }
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' => value.extend(chars.next().map(|(_, c)| c)),
            '\'' if quoted => return Some((value, &text[at + 1..])),
            c if !quoted && c.is_whitespace() => return Some((value, &text[at..])),
            c => value.push(c),
        }
    }
    (!quoted).then_some((value, ""))
}

/// Undoes percent-encoding. Unlike many decoders this one does not let a broken escape through.
fn decode(text: &str) -> Result<String, &'static str> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digit = |at: usize| after.get(at).and_then(|b| char::from(*b).to_digit(16));
        match digit(0).zip(digit(1)) {
            Some((0, 0)) => return Err("holds %00"),
            // Two hexadecimal digits make at most 255.
            Some((high, low)) => bytes.extend(u8::try_from(high * 16 + low)),
            None => return Err("has a % that is not followed by two hexadecimal digits"),
        }
        rest = &after[2..];
    }
    String::from_utf8(bytes).map_err(|_| "is not UTF-8 once its percent-encoding is undone")
}
