//! One client: login, then commands until it leaves.
//!
//! In: packets. Out: answers, each command's before the next is read.
//! Always: a statement's failure is an ERR packet and the connection lives on; a broken packet ends the connection.
//! Not here: SQL (`sql`), the login's arithmetic (`handshake`).
//! Start at `Connection::run`. StarRocks, `qe/ConnectProcessor.java`.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::net::TcpStream;

use crate::sql::error::SqlError;
use crate::sql::result::{Column, ColumnKind, Outcome, ResultSet};
use crate::sql::{Frontend, Session};

use super::handshake::{self, Login, PLUGIN, PLUGIN_AUTH, PROTOCOL_41, SCRAMBLE_BYTES};
use super::prepared::Prepared;
use super::resultset::{binary_row, column_payload, eof_payload, error_payload, text_row};
use super::wire::{Channel, Fields, WireError, put_length};

// A long result goes out in pieces of about this many bytes.
const FLUSH_BYTES: usize = 1 << 20;

/// A client's connection.
pub(super) struct Connection {
    channel: Channel<TcpStream>,
    frontend: Arc<Frontend>,
    session: Session,
    scramble: [u8; SCRAMBLE_BYTES],
    prepared: HashMap<u32, Prepared>,
    next_statement: u32,
}

impl Connection {
    /// Over an accepted socket.
    pub(super) fn new(stream: TcpStream, frontend: Arc<Frontend>, connection_id: u32) -> Self {
        Self {
            channel: Channel::new(stream),
            session: Session::new(connection_id),
            frontend,
            scramble: handshake::scramble(connection_id),
            prepared: HashMap::new(),
            next_statement: 1,
        }
    }

    /// Serves the client until it leaves or breaks the protocol.
    pub(super) async fn run(mut self) -> Result<(), WireError> {
        if !self.log_in().await? {
            return Ok(());
        }
        loop {
            self.channel.begin_command();
            let Some(payload) = self.channel.receive().await? else { return Ok(()) };
            let Some((&command, body)) = payload.split_first() else { return Ok(()) };
            if !self.command(command, body).await? {
                return Ok(());
            }
            self.channel.flush().await?;
        }
    }

    async fn log_in(&mut self) -> Result<bool, WireError> {
        let version = self.frontend.mysql_version();
        let greeting = handshake::greeting(&version, self.session.connection_id, &self.scramble);
        self.channel.queue(&greeting);
        self.channel.flush().await?;
        let Some(payload) = self.channel.receive().await? else { return Ok(false) };
        let login = handshake::login(&payload)?;
        if login.capabilities & PROTOCOL_41 == 0 || login.capabilities & handshake::SSL != 0 {
            let text = "Client does not support authentication protocol requested by server; consider upgrading MySQL \
                        client";
            return self.refuse(&SqlError::new(1251, "08004", text)).await;
        }
        self.admit(login).await
    }

    /// Checks a login and answers it; false when it was refused.
    async fn admit(&mut self, mut login: Login) -> Result<bool, WireError> {
        if login.capabilities & PLUGIN_AUTH != 0 && !login.plugin.is_empty() && login.plugin != PLUGIN {
            self.channel.queue(&handshake::switch_request(&self.scramble));
            self.channel.flush().await?;
            let Some(answer) = self.channel.receive().await? else { return Ok(false) };
            login.answer = answer;
        }
        let password = self.frontend.password(&login.user);
        if !password.is_some_and(|password| handshake::proves(&password, &self.scramble, &login.answer)) {
            return self.refuse(&SqlError::access_denied(&login.user, !login.answer.is_empty())).await;
        }
        self.session.user = login.user;
        self.session.database = None;
        if !login.database.is_empty()
            && let Err(error) = self.session.use_database(&self.frontend, &login.database)
        {
            return self.refuse(&error).await;
        }
        self.queue_ok(0, "");
        self.channel.flush().await?;
        Ok(true)
    }

    async fn refuse(&mut self, error: &SqlError) -> Result<bool, WireError> {
        self.channel.queue(&error_payload(error));
        self.channel.flush().await?;
        Ok(false)
    }

    fn queue_ok(&mut self, affected: u64, info: &str) {
        self.channel.queue(&handshake::ok_payload(affected, info));
    }

    fn queue_error(&mut self, error: &SqlError) {
        self.channel.queue(&error_payload(error));
    }

    /// Answers one command; false when the connection is to end.
    async fn command(&mut self, command: u8, body: &[u8]) -> Result<bool, WireError> {
        match command {
            0x01 => return Ok(false),
            0x02 => {
                let name = String::from_utf8_lossy(body).into_owned();
                match self.session.use_database(&self.frontend, &name) {
                    Ok(()) => self.queue_ok(0, ""),
                    Err(error) => self.queue_error(&error),
                }
            }
            0x03 => self.query(body).await?,
            0x04 => self.field_list(body),
            0x0E => self.queue_ok(0, ""),
            0x11 => return self.change_user(body).await,
            0x16 => self.prepare(body),
            0x17 => self.execute_prepared(body).await?,
            // Closing has no answer.
            0x19 => {
                let id = Fields::new(body).integer("statement id", 4)? as u32;
                self.prepared.remove(&id);
            }
            0x1A => self.queue_ok(0, ""),
            0x1F => {
                let fresh = Session::new(self.session.connection_id);
                let old = std::mem::replace(&mut self.session, fresh);
                self.session.user = old.user;
                self.session.database = old.database;
                self.prepared.clear();
                self.queue_ok(0, "");
            }
            other => self.queue_error(&unsupported(other)),
        }
        Ok(true)
    }

    async fn change_user(&mut self, body: &[u8]) -> Result<bool, WireError> {
        let login = handshake::change_user(body)?;
        self.prepared.clear();
        self.session = Session::new(self.session.connection_id);
        self.admit(login).await
    }

    /// Runs a statement away from the network threads: a query may be long.
    async fn execute(&mut self, sql: String) -> Result<Outcome, SqlError> {
        let frontend = Arc::clone(&self.frontend);
        let mut session = self.session.clone();
        let task = tokio::task::spawn_blocking(move || {
            let outcome = crate::sql::execute(&frontend, &mut session, &sql);
            (session, outcome)
        });
        match task.await {
            Ok((session, outcome)) => {
                self.session = session;
                outcome
            }
            Err(_) => Err(SqlError::new(1064, "HY000", "the statement's task has died, see the stand-in's log")),
        }
    }

    async fn query(&mut self, body: &[u8]) -> Result<(), WireError> {
        let Ok(sql) = std::str::from_utf8(body) else {
            self.queue_error(&SqlError::refused("the statement is not UTF-8"));
            return Ok(());
        };
        match self.execute(sql.to_owned()).await {
            Ok(Outcome::Done { affected, info }) => self.queue_ok(affected, &info),
            Ok(Outcome::Rows(set)) => self.send_rows(&set, false).await?,
            Err(error) => self.queue_error(&error),
        }
        Ok(())
    }

    async fn send_rows(&mut self, set: &ResultSet, binary: bool) -> Result<(), WireError> {
        let mut count = Vec::new();
        put_length(&mut count, set.columns.len() as u64);
        self.channel.queue(&count);
        for column in &set.columns {
            self.channel.queue(&column_payload(column, false));
        }
        self.channel.queue(&eof_payload());
        for row in &set.rows {
            let payload = if binary { binary_row(set, row) } else { text_row(row) };
            self.channel.queue(&payload);
            if self.channel.queued_bytes() >= FLUSH_BYTES {
                self.channel.flush().await?;
            }
        }
        self.channel.queue(&eof_payload());
        Ok(())
    }

    /// COM_FIELD_LIST: the columns of a table, for clients that complete names.
    fn field_list(&mut self, body: &[u8]) {
        let table = String::from_utf8_lossy(Fields::new(body).until_nul()).replace('`', "``");
        match crate::sql::describe(&self.frontend, &mut self.session, &format!("SELECT * FROM `{table}`")) {
            Ok(columns) => {
                for column in &columns {
                    self.channel.queue(&column_payload(column, true));
                }
                self.channel.queue(&eof_payload());
            }
            Err(error) => self.queue_error(&error),
        }
    }

    fn prepare(&mut self, body: &[u8]) {
        match self.prepared_columns(body) {
            Ok((prepared, columns)) => self.queue_prepared(prepared, &columns),
            Err(error) => self.queue_error(&error),
        }
    }

    fn prepared_columns(&mut self, body: &[u8]) -> Result<(Prepared, Vec<Column>), SqlError> {
        let sql = std::str::from_utf8(body).map_err(|_| SqlError::refused("the statement is not UTF-8"))?;
        let prepared = Prepared::new(sql)?;
        let columns = crate::sql::describe(&self.frontend, &mut self.session, &prepared.with_nulls())?;
        Ok((prepared, columns))
    }

    fn queue_prepared(&mut self, prepared: Prepared, columns: &[Column]) {
        let id = self.next_statement;
        self.next_statement = self.next_statement.wrapping_add(1);
        let mut payload = vec![0];
        payload.extend_from_slice(&id.to_le_bytes());
        payload.extend_from_slice(&(columns.len() as u16).to_le_bytes());
        payload.extend_from_slice(&(prepared.parameters() as u16).to_le_bytes());
        payload.extend_from_slice(&[0, 0, 0]);
        self.channel.queue(&payload);
        let marks = vec![Column::new("?", ColumnKind::VarChar); prepared.parameters()];
        for definitions in [&marks[..], columns].into_iter().filter(|definitions| !definitions.is_empty()) {
            for column in definitions {
                self.channel.queue(&column_payload(column, false));
            }
            self.channel.queue(&eof_payload());
        }
        self.prepared.insert(id, prepared);
    }

    async fn execute_prepared(&mut self, body: &[u8]) -> Result<(), WireError> {
        let mut fields = Fields::new(body);
        let id = fields.integer("statement id", 4)? as u32;
        fields.take("flags and iteration count", 5)?;
        let Some(prepared) = self.prepared.get_mut(&id) else {
            self.queue_error(&SqlError::refused(
                "msg: Not Found prepared statement, stmtId: ".to_owned() + &id.to_string(),
            ));
            return Ok(());
        };
        let sql = prepared.filled(&mut fields)?;
        match self.execute(sql).await {
            Ok(Outcome::Rows(set)) => self.send_rows(&set, true).await?,
            Ok(Outcome::Done { affected, info }) => self.queue_ok(affected, &info),
            Err(error) => self.queue_error(&error),
        }
        Ok(())
    }
}

/// StarRocks' answer to a command it knows by name and does not do (`MysqlCommand.java` has the names).
fn unsupported(command: u8) -> SqlError {
    let name = match command {
        0x00 => "Sleep",
        0x05 => "Create DB",
        0x06 => "Drop DB",
        0x07 => "Refresh",
        0x08 => "Shutdown",
        0x09 => "Statistics",
        0x0A => "Processlist",
        0x0B => "Connect",
        0x0C => "Kill",
        0x0D => "Debug",
        0x0F => "Time",
        0x10 => "Delayed insert",
        0x12 => "Binlog Dump",
        0x15 => "Register Slave",
        0x18 => "Long Data",
        0x1B => "Set option",
        0x1C => "Fetch",
        0x1D => "Daemon",
        _ => return SqlError::new(1047, "08S01", "Unknown command"),
    };
    SqlError::refused(format!("Unsupported command({name})"))
}
