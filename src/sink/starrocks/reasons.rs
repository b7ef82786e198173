//! Every reason the sink gives for not going on: code, class and remedy in one place.

use super::options::Options;
use crate::model::{Class, Reason};

/// What kind of problem it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Code {
    /// No frontend, or not the backend, could be reached.
    Unreachable,
    /// User or password refused.
    Auth,
    /// A privilege is missing.
    Privilege,
    /// A certificate was not accepted.
    Tls,
    /// A redirect outside the policy.
    Redirect,
    /// An HTTP status that Stream Load does not give.
    Http,
    /// `Fail` with a text that may pass.
    Failed,
    /// The server is overloaded.
    Busy,
    /// `Fail` with a text that does not pass.
    Rejected,
    /// The outcome is not known yet.
    FateUnknown,
    /// The server left rows out.
    FilteredRows,
    /// A load is larger than the server takes.
    BatchTooLarge,
    /// The database's quota is used up.
    Quota,
    /// A statement failed.
    Sql,
    /// Too old, or another product.
    Version,
    /// The database is missing.
    DatabaseMissing,
    /// The table is missing.
    TableMissing,
    /// No Primary Key table.
    TableModel,
    /// The key differs.
    Key,
    /// Names or columns do not fit.
    Schema,
    /// A column's type does not fit.
    Type,
    /// Loads of an earlier run are not settled yet.
    Leftovers,
    /// The table was not prepared.
    NotPrepared,
    /// A value its column cannot hold.
    Value,
    /// A key longer than StarRocks allows.
    KeyTooLong,
    /// The pipeline sent what the contract does not allow.
    Contract,
}

impl Code {
    /// Its stable text.
    pub(super) fn text(self) -> &'static str {
        match self {
            Code::Unreachable => "SINK_UNREACHABLE",
            Code::Auth => "SINK_AUTH",
            Code::Privilege => "SINK_PRIVILEGE",
            Code::Tls => "SINK_TLS",
            Code::Redirect => "SINK_REDIRECT",
            Code::Http => "SINK_HTTP",
            Code::Failed => "SINK_FAILED",
            Code::Busy => "SINK_BUSY",
            Code::Rejected => "SINK_REJECTED",
            Code::FateUnknown => "SINK_FATE_UNKNOWN",
            Code::FilteredRows => "SINK_FILTERED_ROWS",
            Code::BatchTooLarge => "SINK_BATCH_TOO_LARGE",
            Code::Quota => "SINK_QUOTA",
            Code::Sql => "SINK_SQL",
            Code::Version => "SINK_VERSION",
            Code::DatabaseMissing => "SINK_DATABASE_MISSING",
            Code::TableMissing => "SINK_TABLE_MISSING",
            Code::TableModel => "SINK_TABLE_MODEL",
            Code::Key => "SINK_KEY",
            Code::Schema => "SINK_SCHEMA",
            Code::Type => "SINK_TYPE",
            Code::Leftovers => "SINK_LEFTOVERS",
            Code::NotPrepared => "SINK_NOT_PREPARED",
            Code::Value => "VALUE_OUT_OF_RANGE",
            Code::KeyTooLong => "VALUE_KEY_TOO_LONG",
            Code::Contract => "SINK_CONTRACT",
        }
    }

    /// Who can do something about it. `Http` and `Sql` come in both kinds: whoever raises them knows.
    fn class(self) -> Class {
        match self {
            Code::Unreachable
            | Code::Failed
            | Code::Busy
            | Code::FateUnknown
            | Code::Leftovers
            | Code::NotPrepared
            | Code::Http
            | Code::Sql => Class::Retry,
            Code::Contract => Class::Bug,
            Code::Auth
            | Code::Privilege
            | Code::Tls
            | Code::Redirect
            | Code::Rejected
            | Code::FilteredRows
            | Code::BatchTooLarge
            | Code::Quota
            | Code::Version
            | Code::DatabaseMissing
            | Code::TableMissing
            | Code::TableModel
            | Code::Key
            | Code::Schema
            | Code::Type
            | Code::Value
            | Code::KeyTooLong => Class::Wait,
        }
    }

    /// What to do about it where nothing more exact is known.
    fn remedy(self) -> &'static str {
        match self {
            Code::Unreachable => {
                "Check that the frontends of SINK_URL and the backends they redirect to run and can be reached from \
                 here. It is tried again by itself."
            }
            Code::Auth => {
                "Check user and password in SINK_URL, SINK_USER, SINK_PASSWORD or SINK_PASSWORD_FILE; the file is read \
                 again at each attempt."
            }
            Code::Privilege => "Grant what is missing.",
            Code::Tls => {
                "Give the root certificate of the server by SINK_TLS_CA, and check that its certificate is valid and \
                 names the host. Backends need TLS too when the frontends are reached by https."
            }
            Code::Redirect => {
                "If that is a backend of this cluster, add its host to SINK_REDIRECT_ALLOW, or say by \
                 SINK_REDIRECT_MAP=from=to where it is reached from here. A user that may run SHOW BACKENDS needs \
                 neither."
            }
            Code::Http => "Check that SINK_URL names the HTTP port of StarRocks frontends, and what stands between.",
            Code::Failed => "It is tried again by itself. If it stays, look into the log of the backend.",
            Code::Busy => "It is tried again by itself, less often and with larger loads.",
            Code::Rejected => "Look into the logs of frontend and backend. It is looked at again by itself.",
            Code::FateUnknown => "The load's label is asked by itself until its outcome is known.",
            Code::FilteredRows => {
                "Compare the columns of the target table with the source. Nothing of this load was acknowledged."
            }
            Code::BatchTooLarge => {
                "Lower FLUSH_BYTES, or raise streaming_load_max_mb on the backends and the limits of proxies between."
            }
            Code::Quota => "Raise the quota of the database or free space.",
            Code::Sql => "It is tried again by itself. If it stays, run the statement by hand to see more.",
            Code::Version => "Use StarRocks 3.1 or newer.",
            Code::DatabaseMissing => "Create the database, or set CREATE_TABLES=true.",
            Code::TableMissing => "Create the table, or set CREATE_TABLES=true.",
            Code::TableModel => "Drop the table or move it away, and create it as a Primary Key table.",
            Code::Key => "Create the table anew with the source's key, or change the replica identity of the source.",
            Code::Schema => "Change the target table as the statements say.",
            Code::Type => "Change the column's type. If StarRocks refuses the change, create the table anew.",
            Code::Leftovers => "It goes on by itself once they are settled.",
            Code::NotPrepared => "It is prepared by itself before the next try.",
            Code::Value => {
                "Widen the target column; it goes on by itself then. Correcting the value in the source is not enough, \
                 because the log still holds the change as it was. ON_BAD_VALUE says what else may be loaded."
            }
            Code::KeyTooLong => {
                "StarRocks holds no such key, and the log still holds the change. Leave the table out of TABLES, or give it \
                 another key."
            }
            Code::Contract => "This is a bug of Sluicegate: please report it with this text.",
        }
    }

    /// A reason of this kind.
    pub(super) fn reason(self, object: impl Into<String>, message: impl Into<String>) -> Reason {
        Reason::new(self.text(), self.class(), object, message, self.remedy())
    }

    /// A reason of this kind that waits for a person although it might pass.
    pub(super) fn waiting(self, object: impl Into<String>, message: impl Into<String>) -> Reason {
        Reason { class: Class::Wait, ..self.reason(object, message) }
    }
}

/// A missing privilege, with everything the sink needs to paste.
pub(super) fn privilege(options: &Options, object: impl Into<String>, message: impl Into<String>) -> Reason {
    Code::Privilege.reason(object, message).with_sql(grants(options))
}

/// The statements that give the sink's user what it needs and nothing more.
fn grants(options: &Options) -> String {
    let user = super::ddl::text(&options.user);
    let database = super::ddl::name(&options.database);
    let create = match options.create_tables {
        true => format!("GRANT CREATE TABLE ON DATABASE {database} TO USER {user}@'%';\n"),
        false => String::new(),
    };
    format!("{create}GRANT SELECT, INSERT, DELETE, ALTER ON ALL TABLES IN DATABASE {database} TO USER {user}@'%';")
}
