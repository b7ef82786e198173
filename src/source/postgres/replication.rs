//! A connection that speaks the replication protocol (PostgreSQL 18 documentation, 54.4).
//!
//! In: [`ConnectOptions`]. Out: answers to commands, and in the end a stream ([`Copying`]). Always: names and values in
//! commands are quoted by `quote`, because replication commands take no parameters. Not here: reading the stream.
//! Start at [`ReplicationConnection::connect`].

use postgres_protocol::message::backend::Message;

use super::conninfo::ConnectOptions;
use super::ending;
use super::login::{self, Purpose, Rows, Session};
use super::quote;
use super::sqlstate::{self, Asked, ServerError};
use super::transport::Incoming;
use super::wire::Copying;
use crate::model::{Class, Lsn, Reason};

/// What the server says it is (IDENTIFY_SYSTEM).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct System {
    /// Unique to the cluster and its physical copies.
    pub(super) identifier: String,
    /// Timeline.
    pub(super) timeline: u32,
}

/// A connection in replication mode, before a stream starts.
#[derive(Debug)]
pub(super) struct ReplicationConnection {
    session: Session,
    system: System,
}

impl ReplicationConnection {
    /// Logs in, and makes sure that the other side is a server and not a pooler that dropped our wish.
    ///
    /// # Errors
    /// Why no host lets us in.
    pub(super) async fn connect(options: &ConnectOptions) -> Result<Self, Reason> {
        let mut session = login::connect(options, Purpose::Replication, &options.application_name).await?;
        let rows = session.query("IDENTIFY_SYSTEM", &Asked::Query { doing: "identifying the server" }).await;
        let place = &session.channel.place;
        let pooler = || {
            let message = format!("what answers at {place} took IDENTIFY_SYSTEM for SQL");
            let remedy = "Give the address of the PostgreSQL server itself, not of a pooler.";
            Reason::new("SOURCE_POOLER", Class::Wait, place, message, remedy)
        };
        // 42601, a syntax error: nothing but a session without replication mode says that to this command.
        let rows = rows.map_err(|reason| if reason.message.contains("SQLSTATE 42601") { pooler() } else { reason })?;
        let system = rows.first().and_then(system).ok_or_else(pooler)?;
        let mut connection = ReplicationConnection { session, system };
        // Such a server cannot convert: it would end the stream at the first value that is no UTF-8. As it lies, each
        // value is judged where it is written.
        if connection.session.parameters.get("server_encoding").is_some_and(|encoding| encoding == "SQL_ASCII") {
            connection.simple_query("SET client_encoding = 'SQL_ASCII'").await?;
        }
        Ok(connection)
    }

    /// What the server is.
    pub(super) fn system(&self) -> &System {
        &self.system
    }

    /// Runs a replication command or SQL; each value comes as text. Waits as long as the server takes.
    ///
    /// # Errors
    /// What the server says, or a broken connection. After the latter this connection is of no more use.
    pub(super) async fn simple_query(&mut self, command: &str) -> Result<Rows, Reason> {
        // Commands hold no secrets, but are long: their first word names them.
        let doing = command.split_whitespace().next().unwrap_or_default();
        self.session.query(command, &Asked::Query { doing }).await
    }

    /// Starts streaming from a slot. Option values are quoted here; `publication_names` is itself a list of identifiers
    /// and wants [`quote::identifier`] before.
    ///
    /// # Errors
    /// What the server says: the slot missing, lost, held by another session or of another kind.
    pub(super) async fn start_replication(
        mut self,
        slot: &str,
        from: Lsn,
        options: &[(&str, &str)],
    ) -> Result<Copying, Reason> {
        self.session.ask(&start_command(slot, from, options)).await?;
        let publication = options.iter().find(|(name, _)| *name == "publication_names").map_or("", |(_, value)| *value);
        loop {
            match self.session.next().await? {
                Incoming::CopyBoth => {
                    let channel = self.session.channel;
                    let socket = channel.socket.streaming().map_err(|error| ending::broken(&error))?;
                    return Ok(Copying { socket, buffer: channel.buffer });
                }
                Incoming::Known(Message::ErrorResponse(body)) => {
                    let error = ServerError::from_fields(&body);
                    return Err(sqlstate::reason(&error, &Asked::Stream { slot, publication }));
                }
                Incoming::Known(Message::NoticeResponse(_) | Message::ParameterStatus(_)) | Incoming::Negotiate => {}
                Incoming::Known(_) => return Err(self.session.unexpected()),
            }
        }
    }
}

fn system(row: &Vec<Option<String>>) -> Option<System> {
    let [Some(identifier), Some(timeline), ..] = row.as_slice() else {
        return None;
    };
    Some(System { identifier: identifier.clone(), timeline: timeline.parse().ok()? })
}

fn start_command(slot: &str, from: Lsn, options: &[(&str, &str)]) -> String {
    let options: Vec<String> =
        options.iter().map(|(name, value)| format!("{} {}", quote::identifier(name), quote::literal(value))).collect();
    format!("START_REPLICATION SLOT {} LOGICAL {from} ({})", quote::identifier(slot), options.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_quoted() {
        let options = [("proto_version", "1"), ("publication_names", "\"it's \"\"odd\"\"\"")];
        assert_eq!(
            start_command("sl\"ot", Lsn(0x16_B374_D848), &options),
            r#"START_REPLICATION SLOT "sl""ot" LOGICAL 16/B374D848 ("proto_version" '1', "publication_names" '"it''s ""odd"""')"#
        );
    }
}
