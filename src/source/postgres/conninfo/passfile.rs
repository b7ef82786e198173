//! libpq's password file (PostgreSQL 18 documentation, 32.16 "The Password File").

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use secrecy::SecretString;

use super::Host;

/// No password or password file is longer.
const BYTES_MAX: u64 = 1 << 20;

/// Why a file is not read.
#[derive(Debug, thiserror::Error)]
pub(in crate::source::postgres) enum Unusable {
    /// It is not there.
    #[error("there is no such file")]
    Missing,
    /// It is a folder, a pipe or a device.
    #[error("it is not a plain file")]
    NotAFile,
    /// Others could read the passwords in it.
    #[error("group or others may read it (chmod 0600 it)")]
    Open,
    /// It cannot be read.
    #[error("it cannot be read: {0}")]
    Unreadable(io::Error),
}

/// Whether libpq would read this password file.
pub(super) fn check(path: &Path) -> Result<(), Unusable> {
    let meta = fs::metadata(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => Unusable::Missing,
        _ => Unusable::Unreadable(error),
    })?;
    match meta {
        meta if !meta.is_file() => Err(Unusable::NotAFile),
        meta if meta.permissions().mode() & 0o077 != 0 => Err(Unusable::Open),
        _ => Ok(()),
    }
}

/// The password for this host, database and role, if the file has one.
pub(in crate::source::postgres) fn find(
    path: &Path,
    host: &Host,
    database: &str,
    user: &str,
) -> Result<Option<SecretString>, Unusable> {
    check(path)?;
    let lines = read(path)?;
    let (name, port) = match host {
        Host::Tcp(name, port) => (name.clone(), port),
        // libpq calls its own default folder `localhost` here, and any other by its path.
        Host::Unix(folder, port) if super::SOCKET_FOLDERS.iter().any(|known| Path::new(known) == folder) => {
            ("localhost".to_owned(), port)
        }
        Host::Unix(folder, port) => (folder.display().to_string(), port),
    };
    let wanted = [name, port.to_string(), database.to_owned(), user.to_owned()];
    let password = lines.lines().filter(|line| !line.starts_with('#')).find_map(|line| {
        let fields = fields(line)?;
        let fits = wanted.iter().zip(&fields).all(|(wanted, field)| field.raw == "*" || field.text == *wanted);
        fits.then(|| fields[4].text.clone())
    });
    Ok(password.map(SecretString::from))
}

/// A file that holds a password and nothing else; line ends after it do not count.
pub(in crate::source::postgres) fn whole(path: &Path) -> Result<SecretString, Unusable> {
    match fs::metadata(path) {
        Ok(meta) if !meta.is_file() => Err(Unusable::NotAFile),
        _ => Ok(SecretString::from(read(path)?.trim_end_matches(['\r', '\n']))),
    }
}

fn read(path: &Path) -> Result<String, Unusable> {
    let mut text = String::new();
    let file = File::open(path).map_err(Unusable::Unreadable)?;
    file.take(BYTES_MAX).read_to_string(&mut text).map_err(Unusable::Unreadable)?;
    Ok(text)
}

struct Field<'a> {
    raw: &'a str,
    text: String,
}

/// Splits `host:port:database:user:password`; a backslash takes the next character as it is. What follows a fifth
/// colon is not looked at, as in libpq.
fn fields(line: &str) -> Option<Vec<Field<'_>>> {
    let mut fields = Vec::new();
    let mut start = 0;
    let mut text = String::new();
    let mut chars = line.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' => text.extend(chars.next().map(|(_, c)| c)),
            ':' => {
                fields.push(Field { raw: &line[start..at], text: std::mem::take(&mut text) });
                start = at + 1;
            }
            c => text.push(c),
        }
    }
    fields.push(Field { raw: &line[start..], text });
    (fields.len() >= 5).then_some(fields)
}
