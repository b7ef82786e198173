//! The greeting, the login and its verdict.
//!
//! In: the client's handshake response. Out: who it is, which database it wants, and whether the password fits.
//! Always: `mysql_native_password`; a client that begins with another plugin is asked to switch. No TLS, no
//! compression.
//! Not here: what happens after the login (`connection`).
//! MySQL documentation, "Connection Phase"; StarRocks, `mysql/MysqlHandshakePacket.java`, `mysql/MysqlProto.java`.

use sha1::{Digest, Sha1};

use super::wire::{Fields, WireError, put_length};

/// Bytes of the scramble.
pub(super) const SCRAMBLE_BYTES: usize = 20;
/// The only plugin.
pub(super) const PLUGIN: &str = "mysql_native_password";
/// `utf8_general_ci`, the character set StarRocks announces.
pub(super) const CHARACTER_SET: u8 = 33;

const LONG_FLAG: u32 = 1 << 2;
const CONNECT_WITH_DB: u32 = 1 << 3;
/// The client speaks the protocol of MySQL 4.1; without it StarRocks refuses.
pub(super) const PROTOCOL_41: u32 = 1 << 9;
/// The client wants TLS.
pub(super) const SSL: u32 = 1 << 11;
const SECURE_CONNECTION: u32 = 1 << 15;
/// The client can be asked to switch plugins.
pub(super) const PLUGIN_AUTH: u32 = 1 << 19;
const CONNECT_ATTRS: u32 = 1 << 20;
const PLUGIN_AUTH_LENENC: u32 = 1 << 21;

/// What StarRocks announces: no DEPRECATE_EOF, so result sets end with EOF packets.
pub(super) const CAPABILITIES: u32 =
    LONG_FLAG | CONNECT_WITH_DB | PROTOCOL_41 | SECURE_CONNECTION | PLUGIN_AUTH | CONNECT_ATTRS | PLUGIN_AUTH_LENENC;

/// The greeting's payload.
pub(super) fn greeting(version: &str, connection_id: u32, scramble: &[u8; SCRAMBLE_BYTES]) -> Vec<u8> {
    let mut payload = vec![10];
    payload.extend_from_slice(version.as_bytes());
    payload.push(0);
    payload.extend_from_slice(&connection_id.to_le_bytes());
    payload.extend_from_slice(&scramble[..8]);
    payload.push(0);
    let capabilities = CAPABILITIES.to_le_bytes();
    payload.extend_from_slice(&capabilities[..2]);
    payload.push(CHARACTER_SET);
    // Status flags.
    payload.extend_from_slice(&[0, 0]);
    payload.extend_from_slice(&capabilities[2..]);
    payload.push(SCRAMBLE_BYTES as u8 + 1);
    payload.extend_from_slice(&[0; 10]);
    payload.extend_from_slice(&scramble[8..]);
    payload.push(0);
    payload.extend_from_slice(PLUGIN.as_bytes());
    payload.push(0);
    payload
}

/// The request to switch to `mysql_native_password`.
pub(super) fn switch_request(scramble: &[u8; SCRAMBLE_BYTES]) -> Vec<u8> {
    let mut payload = vec![0xFE];
    payload.extend_from_slice(PLUGIN.as_bytes());
    payload.push(0);
    payload.extend_from_slice(scramble);
    payload.push(0);
    payload
}

/// What the client said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Login {
    /// Its capabilities.
    pub(super) capabilities: u32,
    /// The user, without an `@cluster` tail.
    pub(super) user: String,
    /// The answer to the scramble.
    pub(super) answer: Vec<u8>,
    /// The database it wants, empty for none.
    pub(super) database: String,
    /// The plugin it answered with, empty when it named none.
    pub(super) plugin: String,
}

/// Reads a HandshakeResponse41.
pub(super) fn login(payload: &[u8]) -> Result<Login, WireError> {
    let mut fields = Fields::new(payload);
    let capabilities = fields.integer("capabilities", 4)? as u32;
    if capabilities & PROTOCOL_41 == 0 || (capabilities & SSL != 0 && payload.len() == 32) {
        // Told apart and refused by the caller.
        let nobody = String::new();
        return Ok(Login {
            capabilities,
            user: nobody.clone(),
            answer: Vec::new(),
            database: nobody.clone(),
            plugin: nobody,
        });
    }
    fields.take("max packet size, character set and filler", 4 + 1 + 23)?;
    let user = text(fields.until_nul());
    let answer = if capabilities & PLUGIN_AUTH_LENENC != 0 {
        fields.string("auth response")?
    } else if capabilities & SECURE_CONNECTION != 0 {
        let length = fields.byte("auth response length")?;
        fields.take("auth response", u64::from(length))?
    } else {
        fields.until_nul()
    };
    let database = if capabilities & CONNECT_WITH_DB != 0 { text(fields.until_nul()) } else { String::new() };
    let plugin = if capabilities & PLUGIN_AUTH != 0 { text(fields.until_nul()) } else { String::new() };
    Ok(Login { capabilities, user: user_name(&user), answer: answer.to_vec(), database, plugin })
}

/// Reads COM_CHANGE_USER (behind its command byte), with the capabilities of the login.
pub(super) fn change_user(payload: &[u8]) -> Result<Login, WireError> {
    let mut fields = Fields::new(payload);
    let user = user_name(&text(fields.until_nul()));
    let length = fields.byte("auth response length")?;
    let answer = fields.take("auth response", u64::from(length))?.to_vec();
    let database = text(fields.until_nul());
    let mut plugin = String::new();
    if !fields.is_empty() {
        fields.take("character set", 2)?;
        plugin = text(fields.until_nul());
    }
    Ok(Login { capabilities: CAPABILITIES, user, answer, database, plugin })
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// StarRocks drops what stands behind `@`: it once named the cluster.
fn user_name(written: &str) -> String {
    written.split('@').next().unwrap_or_default().to_owned()
}

/// Whether `answer` proves `password`: SHA1(password) xor SHA1(scramble + SHA1(SHA1(password))).
pub(super) fn proves(password: &str, scramble: &[u8; SCRAMBLE_BYTES], answer: &[u8]) -> bool {
    if password.is_empty() || answer.is_empty() {
        return password.is_empty() && answer.is_empty();
    }
    answer == native_answer(password, scramble)
}

/// The answer a client with `password` gives.
pub(super) fn native_answer(password: &str, scramble: &[u8; SCRAMBLE_BYTES]) -> Vec<u8> {
    let once = Sha1::digest(password.as_bytes());
    let twice = Sha1::digest(once);
    let mut salted = Sha1::new();
    salted.update(scramble);
    salted.update(twice);
    let salted = salted.finalize();
    once.iter().zip(salted.iter()).map(|(left, right)| left ^ right).collect()
}

/// A scramble without zero bytes, other for every connection of this process.
pub(super) fn scramble(connection_id: u32) -> [u8; SCRAMBLE_BYTES] {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let digest = Sha1::digest(format!("{connection_id}/{}/{}", now.as_nanos(), std::process::id()));
    let mut scramble = [0; SCRAMBLE_BYTES];
    for (byte, source) in scramble.iter_mut().zip(digest.iter()) {
        // Printable, as MySQL's are: some clients treat a zero byte as the end.
        *byte = 33 + source % 94;
    }
    scramble
}

/// Appends an OK packet's payload.
pub(super) fn ok_payload(affected: u64, info: &str) -> Vec<u8> {
    let mut payload = vec![0];
    put_length(&mut payload, affected);
    put_length(&mut payload, 0);
    // Status: autocommit. Warnings: none.
    payload.extend_from_slice(&[2, 0, 0, 0]);
    payload.extend_from_slice(info.as_bytes());
    payload
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response(capabilities: u32, tail: &[u8]) -> Vec<u8> {
        let mut payload = capabilities.to_le_bytes().to_vec();
        payload.extend_from_slice(&[0; 28]);
        payload.extend_from_slice(tail);
        payload
    }

    #[test]
    fn logins_are_read_in_every_shape() {
        let base = PROTOCOL_41 | SECURE_CONNECTION;
        let cases = [
            ("plain", base, &b"u\0\x02ab"[..], ("u", &b"ab"[..], "", "")),
            ("no password", base, b"u\0\0", ("u", b"", "", "")),
            ("database", base | CONNECT_WITH_DB, b"u@c\0\x01adb\0", ("u", b"a", "db", "")),
            ("plugin", base | PLUGIN_AUTH | PLUGIN_AUTH_LENENC, b"u\0\x01ax\0", ("u", b"a", "", "x")),
        ];
        for (name, capabilities, tail, want) in cases {
            let payload = response(capabilities, tail);
            let found = login(&payload).expect(name);
            let found = (&*found.user, &*found.answer, &*found.database, &*found.plugin);
            assert_eq!(found, want, "{name}");
            for end in 0..payload.len() {
                // A cut login is an error or a shorter name, never a panic.
                let _answer = login(&payload[..end]);
            }
        }
    }

    #[test]
    fn only_the_right_password_proves_itself() {
        let scramble = scramble(1);
        let answer = native_answer("secret:with colon", &scramble);
        assert!(proves("secret:with colon", &scramble, &answer));
        assert!(!proves("other", &scramble, &answer));
        assert!(!proves("", &scramble, &answer));
        assert!(!proves("secret:with colon", &scramble, b""));
        assert!(proves("", &scramble, b""));
    }
}
