//! The table of settings. Parsing, messages, `--help` and docs/configuration.md all come from it.
//!
//! Always: a setting is one row of [`VARS`]; its field in `options::Values` has the same name in lower case, and a
//! test holds the two equal. Not here: reading the environment (`env`), what settings mean together (`options`).
//! A new setting is a row here, a field there and the line there that fills a module's options.

use std::fs::File;
use std::path::Path;
use std::time::Duration;

use tracing_subscriber::EnvFilter;

use super::{bad_values, value};
use crate::sink::starrocks::NumericAs;
use crate::source::postgres::TablePattern;

/// One setting.
#[derive(Clone, Copy, Debug)]
pub struct Var {
    /// Name of the environment variable.
    pub name: &'static str,
    /// Other names it is read from.
    pub aliases: &'static [Alias],
    /// What holds when it is not set.
    pub default: Fallback,
    /// The grammar of its value.
    pub kind: Kind,
    /// Whether the value may hold a secret: never printed, and may come from the file that `<name>_FILE` names.
    pub secret: bool,
    /// Whether it can change while running, by the ReloadConfig call.
    pub reload: bool,
    /// Its chapter in the reference.
    pub group: Group,
    /// A value as one would write it.
    pub example: &'static str,
    /// What it does, in one or two sentences.
    pub help: &'static str,
}

/// What holds when a setting is not set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fallback {
    /// Nothing: it must be set.
    Required,
    /// This value.
    Value(&'static str),
    /// Something that depends on other settings or on the server, in words.
    Depends(&'static str),
}

/// Another name of a setting.
#[derive(Clone, Copy, Debug)]
pub struct Alias {
    /// The other name.
    pub name: &'static str,
    /// How it is taken.
    pub rule: AliasRule,
}

/// How another name of a setting is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AliasRule {
    /// A former name of the same value; noted as such.
    Old,
    /// A former name of the port alone; the address is loopback.
    OldPort,
    /// A name that other programs use too: read only if the setting itself is not set.
    Common,
    /// A former switch: what it stands for when it says yes and when it says no. Nothing, if the setting has a value by
    /// another name and the switch does not contradict it.
    OldSwitch {
        /// What yes means.
        yes: &'static str,
        /// What no means; `None` if nothing.
        no: Option<&'static str>,
    },
}

/// The grammar of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Text without control characters, so many bytes at most.
    Text(usize),
    /// `a-z 0-9 _`, so many bytes at most.
    Word(usize),
    /// Text taken as it is, without one trailing line break.
    Password,
    /// A URL; the module it is for reads it.
    Url,
    /// A table list; see [`TablePattern`].
    Tables,
    /// A whole number from, to.
    Number(u64, u64),
    /// A time from, to.
    Time(Duration, Duration),
    /// A size in bytes from, to.
    Size(u64, u64),
    /// Yes or no.
    Bool,
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// What decimals become; see [`NumericAs`].
    NumericType,
    /// An address to listen at.
    Address,
    /// An address to listen at, or `off`.
    AddressOrOff,
    /// Host names or addresses, separated by commas.
    Hosts,
    /// `from=to` pairs of `host` or `host:port`, separated by commas.
    HostMap,
    /// Path of an existing file.
    File,
    /// A log filter as the `tracing` libraries read it.
    LogFilter,
    /// A policy for values that do not fit, and others for some of their classes; see `bad_values`.
    Policies,
}

/// The chapters of the reference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// PostgreSQL.
    Source,
    /// StarRocks.
    Sink,
    /// Rows in the target.
    Rows,
    /// The first copy.
    Copy,
    /// Flushing and memory.
    Flow,
    /// Probes, control, logs.
    Operation,
}

impl Group {
    /// All chapters in the order of the reference.
    pub const ALL: [Group; 6] = [Group::Source, Group::Sink, Group::Rows, Group::Copy, Group::Flow, Group::Operation];

    /// Its heading.
    pub fn title(self) -> &'static str {
        match self {
            Group::Source => "Source: PostgreSQL",
            Group::Sink => "Sink: StarRocks",
            Group::Rows => "How rows arrive",
            Group::Copy => "The copy of existing rows",
            Group::Flow => "Batches, memory and time",
            Group::Operation => "Control, health and logs",
        }
    }
}

const MIB: u64 = 1 << 20;

const fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

const fn millis(n: u64) -> Duration {
    Duration::from_millis(n)
}

const fn old(name: &'static str) -> Alias {
    Alias { name, rule: AliasRule::Old }
}

const fn old_port(name: &'static str) -> Alias {
    Alias { name, rule: AliasRule::OldPort }
}

/// What a row has unless it says otherwise.
const USUAL: Var = Var {
    name: "",
    aliases: &[],
    default: Fallback::Required,
    kind: Kind::Text(255),
    secret: false,
    reload: false,
    group: Group::Source,
    example: "",
    help: "",
};

/// Every setting, by chapter, the ones most needed first.
pub const VARS: &[Var] = &[
    Var {
        name: "SOURCE_URL",
        aliases: &[old("DATABASE_URL")],
        kind: Kind::Url,
        secret: true,
        example: "postgres://app@localhost:5432/shop?sslmode=verify-full",
        help: "Where PostgreSQL is: a connection URL as psql takes it. Parts it leaves out come from the PG* variables \
               (PGHOST, PGUSER, PGSSLMODE and so on); `postgres://` alone takes everything from them. A \
               `replication` parameter is not needed.",
        ..USUAL
    },
    Var {
        name: "SOURCE_PASSWORD",
        default: Fallback::Depends("the URL's, PGPASSWORD, or the password file"),
        kind: Kind::Password,
        secret: true,
        example: "secret",
        help: "Password of the role, if it is not in SOURCE_URL.",
        ..USUAL
    },
    Var {
        name: "TABLES",
        kind: Kind::Tables,
        example: "orders,shop.customers,crm.*",
        help: "Which tables to replicate, separated by commas: `orders` (in schema public), `shop.orders`, or `shop.*` \
               for every table of a schema. Names are folded to lower case unless double-quoted, as in SQL. \
               `shop.orders=>shop_orders` gives the table another name in StarRocks. A table that is made while \
               Sluicegate runs is taken up at its next start.",
        ..USUAL
    },
    Var {
        name: "PIPELINE",
        default: Fallback::Value("sluicegate"),
        kind: Kind::Word(40),
        example: "shop",
        help: "Name of this pipeline. Two pipelines on one database need two names: slot, publication, checkpoint and \
               load labels are named after it. Under another name it starts anew, and the former slot holds back WAL \
               until you drop it.",
        ..USUAL
    },
    Var {
        name: "SLOT",
        aliases: &[old("SOURCE_SLOT_NAME"), old("SLOT_NAME")],
        default: Fallback::Depends("PIPELINE followed by _slot"),
        kind: Kind::Word(63),
        example: "shop_slot",
        help: "Replication slot. Made if missing, never dropped.",
        ..USUAL
    },
    Var {
        name: "PUBLICATION",
        aliases: &[old("SOURCE_PUBLICATION_NAME"), old("PUBLICATION_NAME")],
        default: Fallback::Depends("PIPELINE followed by _pub"),
        kind: Kind::Text(63),
        example: "shop_pub",
        help: "Publication. Made if missing; an existing one must hold the tables.",
        ..USUAL
    },
    Var {
        name: "REPLICA_IDENTITY",
        default: Fallback::Value("auto"),
        kind: Kind::OneOf(&["auto", "full"]),
        example: "full",
        help: "`auto` leaves the tables' replica identity alone and refuses tables without a usable key. `full` sets \
               REPLICA IDENTITY FULL on every table, which makes updates and deletes write whole old rows to the WAL.",
        ..USUAL
    },
    Var {
        name: "CHECKPOINT_SCHEMA",
        default: Fallback::Value("sluicegate"),
        kind: Kind::Word(63),
        example: "ops",
        help: "Schema in the source database that holds our own tables: `checkpoints`, and `snapshot_*` where rows are \
               copied. Made if missing.",
        ..USUAL
    },
    Var {
        name: "SLOT_CREATE_TIMEOUT",
        default: Fallback::Value("2m"),
        kind: Kind::Time(seconds(1), seconds(86_400)),
        example: "10m",
        help: "How long making the slot may wait for transactions that are open. After that the blocking sessions are \
               named and it is tried again.",
        ..USUAL
    },
    Var {
        name: "STREAM_LARGE_TRANSACTIONS",
        default: Fallback::Value("false"),
        kind: Kind::Bool,
        example: "true",
        help: "Whether PostgreSQL sends transactions beyond its `logical_decoding_work_mem` while they run, instead of \
               writing them to its own disk and sending them after they have committed. They are kept in \
               STREAM_SPOOL_FOLDER and loaded once they have committed.",
        ..USUAL
    },
    Var {
        name: "STREAM_SPOOL_FOLDER",
        default: Fallback::Depends("TMPDIR, or /tmp"),
        kind: Kind::Text(4096),
        example: "/var/spool/sluicegate",
        help: "Folder on a disk (not in memory) for transactions that have not committed. Its files have no names and are \
               gone with the process. If it takes none, large transactions come as if STREAM_LARGE_TRANSACTIONS were \
               false.",
        ..USUAL
    },
    Var {
        name: "STREAM_SPOOL_BYTES",
        default: Fallback::Value("8GiB"),
        kind: Kind::Size(MIB, 1 << 44),
        example: "50GiB",
        help: "Most bytes that all transactions together take there that have not committed. If they come to more, or the \
               disk is full, the stream is opened again without them, and PostgreSQL keeps them itself.",
        ..USUAL
    },
    Var {
        name: "SINK_URL",
        aliases: &[old("STARROCKS_URL")],
        kind: Kind::Url,
        secret: true,
        example: "starrocks://loader@fe1:8030,fe2:8030/shop?sql_port=9030",
        help: "Where StarRocks is: HTTP addresses of its frontends, user, database. `starrocks+https://` speaks TLS. \
               The form `http://host:8030` works too, with SINK_DATABASE, SINK_USER, SINK_PASSWORD and SINK_PORT.",
        group: Group::Sink,
        ..USUAL
    },
    Var {
        name: "SINK_PASSWORD",
        aliases: &[old("STARROCKS_PASS")],
        default: Fallback::Depends("the URL's, else empty"),
        kind: Kind::Password,
        secret: true,
        example: "secret",
        help: "Password of the user, if it is not in SINK_URL.",
        group: Group::Sink,
        ..USUAL
    },
    Var {
        name: "SINK_USER",
        aliases: &[old("STARROCKS_USER")],
        default: Fallback::Depends("the URL's; required there or here"),
        example: "loader",
        help: "User, if it is not in SINK_URL.",
        group: Group::Sink,
        ..USUAL
    },
    Var {
        name: "SINK_DATABASE",
        aliases: &[old("STARROCKS_DB")],
        default: Fallback::Depends("the URL's; required there or here"),
        example: "shop",
        help: "Database that holds the target tables, if it is not in SINK_URL.",
        group: Group::Sink,
        ..USUAL
    },
    Var {
        name: "SINK_PORT",
        aliases: &[old("STARROCKS_PORT")],
        default: Fallback::Depends("the URL's sql_port, else 9030"),
        kind: Kind::Number(1, 65535),
        example: "9030",
        help: "Port of the MySQL protocol on the frontends, if SINK_URL has no sql_port. (The HTTP port belongs into \
               SINK_URL.)",
        group: Group::Sink,
        ..USUAL
    },
    Var {
        name: "SINK_TLS_CA",
        default: Fallback::Depends("the system's certificates"),
        kind: Kind::File,
        example: "/etc/sluicegate/ca.pem",
        help: "File with the root certificates (PEM) to trust for https.",
        group: Group::Sink,
        ..USUAL
    },
    Var {
        name: "SINK_REDIRECT_ALLOW",
        default: Fallback::Depends("none"),
        kind: Kind::Hosts,
        example: "be1.internal,10.0.0.7",
        help: "Hosts that a frontend may send us to, besides the frontends themselves and the backends they list. \
               Credentials go nowhere else.",
        group: Group::Sink,
        ..USUAL
    },
    Var {
        name: "SINK_REDIRECT_MAP",
        default: Fallback::Depends("none"),
        kind: Kind::HostMap,
        example: "127.0.0.1=starrocks",
        help: "Backend hosts to replace, for backends that register under an address we cannot reach (containers). \
               Each is `host` or `host:port`; a port that is left out stays as it is.",
        group: Group::Sink,
        ..USUAL
    },
    Var {
        name: "SINK_COMPRESSION",
        default: Fallback::Value("none"),
        kind: Kind::OneOf(&["none", "lz4", "zstd"]),
        example: "zstd",
        help: "How the bodies of loads are compressed on their way to StarRocks (3.2.7 and later; older ones refuse such \
               loads). It pays where the network between is slow or paid for by the byte, and costs CPU time on both \
               sides: `lz4` little, `zstd` more for fewer bytes. docs/decisions/0004-body-format.md has figures.",
        group: Group::Sink,
        ..USUAL
    },
    Var {
        name: "SINK_PARALLELISM",
        default: Fallback::Value("8"),
        kind: Kind::Number(1, 256),
        example: "4",
        help: "Loads that may run at once, over all tables.",
        group: Group::Sink,
        ..USUAL
    },
    Var {
        name: "SINK_LOAD_TIMEOUT",
        default: Fallback::Value("10m"),
        kind: Kind::Time(seconds(10), seconds(86_400)),
        example: "5m",
        help: "How long StarRocks may work on one load.",
        group: Group::Sink,
        ..USUAL
    },
    Var {
        name: "SINK_CONNECT_TIMEOUT",
        default: Fallback::Value("5s"),
        kind: Kind::Time(millis(100), seconds(300)),
        example: "10s",
        help: "How long a connection to StarRocks may take to open.",
        group: Group::Sink,
        ..USUAL
    },
    Var {
        name: "CREATE_TABLES",
        default: Fallback::Value("true"),
        kind: Kind::Bool,
        example: "false",
        help: "Whether a missing database and missing tables are created.",
        group: Group::Rows,
        ..USUAL
    },
    Var {
        name: "SINK_REPLICATION_NUM",
        default: Fallback::Depends("as many as there are backends, at most the server's default"),
        kind: Kind::Number(1, 32),
        example: "1",
        help: "`replication_num` of tables we create. A cluster with one backend needs 1.",
        group: Group::Rows,
        ..USUAL
    },
    Var {
        name: "DELETE_MODE",
        default: Fallback::Depends("soft; hard with AUDIT_COLUMNS=false"),
        kind: Kind::OneOf(&["soft", "hard"]),
        example: "hard",
        help: "`soft`: a deleted row stays and is marked in the audit column `is_deleted`. `hard`: it goes.",
        group: Group::Rows,
        ..USUAL
    },
    Var {
        name: "AUDIT_COLUMNS",
        default: Fallback::Value("true"),
        kind: Kind::Bool,
        example: "false",
        help: "Whether target tables carry our four audit columns `op_type`, `is_deleted`, `synced_at` and \
               `cdc_version`. Without them deletes are hard.",
        group: Group::Rows,
        ..USUAL
    },
    Var {
        name: "AUDIT_COLUMN_PREFIX",
        default: Fallback::Value("sluice_"),
        kind: Kind::Word(32),
        example: "dbmazz_",
        help: "What the audit columns' names begin with: `sluice_op_type` and so on.",
        group: Group::Rows,
        ..USUAL
    },
    Var {
        name: "ON_BAD_VALUE",
        default: Fallback::Value("block"),
        kind: Kind::Policies,
        example: "block,numeric_range=clamp,json_number=text",
        help: "What to do about a value that its target column cannot hold: one word for all classes of such values, \
               and `class=policy` for those that differ. `block`: the table waits for a person, the others go on. \
               `null`: NULL is loaded, except where the column must not be NULL. `clamp`: the nearest value is. \
               `text`: a document is loaded as a JSON string. Where a policy makes no sense or cannot be followed, \
               and for keys, the table blocks. What is not loaded as it is, is counted. docs/values.md has the classes.",
        group: Group::Rows,
        ..USUAL
    },
    Var {
        name: "NUMERIC_AS",
        default: Fallback::Value("varchar"),
        kind: Kind::NumericType,
        example: "decimal(38,9)",
        help: "What a created column for `numeric` without precision is. `varchar` keeps every number; a decimal is \
               easier to compute with, and numbers that it cannot hold follow ON_BAD_VALUE. Declared precision that \
               a DECIMAL has is always kept as such. See docs/types.md.",
        group: Group::Rows,
        ..USUAL
    },
    Var {
        name: "JSON_AS",
        default: Fallback::Value("json"),
        kind: Kind::OneOf(&["json", "varchar"]),
        example: "varchar",
        help: "What a created column for `json` and `jsonb` is. `varchar` keeps the text as it is: order of members, \
               all digits of numbers, up to 1 MiB.",
        group: Group::Rows,
        ..USUAL
    },
    Var {
        name: "ARRAY_AS",
        default: Fallback::Value("json"),
        kind: Kind::OneOf(&["json", "array", "varchar"]),
        example: "array",
        help: "What a created column for an array is. `json` takes any number of dimensions. `array` is an ARRAY of the \
               elements' type, for arrays of one dimension (of documents and bytes: JSON as before). `varchar` keeps \
               the text, with subscripts that do not begin at 1.",
        group: Group::Rows,
        ..USUAL
    },
    Var {
        name: "BYTEA_AS",
        default: Fallback::Value("varchar"),
        kind: Kind::OneOf(&["varchar", "varbinary"]),
        example: "varbinary",
        help: "What a created column for `bytea` is. `varchar` holds `\\x` and hexadecimal digits, up to 524,287 bytes' \
               worth; `varbinary` the bytes, up to 1 MiB.",
        group: Group::Rows,
        ..USUAL
    },
    Var {
        name: "SNAPSHOT",
        aliases: &[
            Alias { name: "INITIAL_SNAPSHOT_ONLY", rule: AliasRule::OldSwitch { yes: "only", no: None } },
            Alias { name: "DO_SNAPSHOT", rule: AliasRule::OldSwitch { yes: "initial", no: Some("never") } },
        ],
        default: Fallback::Value("initial"),
        kind: Kind::OneOf(&["initial", "never", "only"]),
        example: "never",
        help: "What becomes of rows that exist already. `initial`: tables without a finished copy are copied, while \
               changes flow. `never`: only changes are replicated; rows that never change do not arrive. `only`: like \
               `initial`, and the process ends with exit code 0 once everything is copied; the slot stays.",
        group: Group::Copy,
        ..USUAL
    },
    Var {
        name: "SNAPSHOT_PARALLELISM",
        aliases: &[old("SNAPSHOT_PARALLEL_WORKERS")],
        default: Fallback::Value("4"),
        kind: Kind::Number(1, 64),
        example: "2",
        help: "Connections to PostgreSQL that read existing rows at once, over all tables.",
        group: Group::Copy,
        ..USUAL
    },
    Var {
        name: "SNAPSHOT_CHUNK_BYTES",
        default: Fallback::Value("8MiB"),
        kind: Kind::Size(64 << 10, 1 << 30),
        example: "32MiB",
        help: "Bytes of rows that one read aims at. Reads that take longer than a second, or during which too much \
               changes, are made smaller.",
        group: Group::Copy,
        ..USUAL
    },
    Var {
        name: "SNAPSHOT_CHUNK_TIMEOUT",
        default: Fallback::Value("30s"),
        kind: Kind::Time(seconds(1), seconds(3600)),
        example: "10s",
        help: "How long one read may keep its transaction open, for example because StarRocks does not take rows; \
               then it is given up and made again later. A single block may take as long as it needs.",
        group: Group::Copy,
        ..USUAL
    },
    Var {
        name: "SNAPSHOT_MAX_REPLICA_LAG",
        default: Fallback::Depends("no bound"),
        kind: Kind::Time(seconds(1), seconds(86_400)),
        example: "30s",
        help: "No further rows are read while a physical replica of the database is further behind than this.",
        group: Group::Copy,
        ..USUAL
    },
    Var {
        name: "SNAPSHOT_MAX_RETAINED_WAL",
        default: Fallback::Depends("a fifth of what the server keeps for a slot must be free; else no bound"),
        kind: Kind::Size(16 * MIB, 64 << 40),
        example: "10GiB",
        help: "No further rows are read while our slot holds back more WAL than this.",
        group: Group::Copy,
        ..USUAL
    },
    Var {
        name: "FLUSH_SIZE",
        default: Fallback::Value("500000"),
        kind: Kind::Number(1, 100_000_000),
        reload: true,
        example: "100000",
        help: "Row changes in one flush, at most. A larger transaction is not cut for it.",
        group: Group::Flow,
        ..USUAL
    },
    Var {
        name: "FLUSH_BYTES",
        default: Fallback::Depends("16MiB, or a quarter of MEMORY_BUDGET if that is less"),
        kind: Kind::Size(64 << 10, 16 << 30),
        reload: true,
        example: "32MiB",
        help: "Bytes of row changes in one flush, at most; a larger transaction is cut. At most a quarter of \
               MEMORY_BUDGET.",
        group: Group::Flow,
        ..USUAL
    },
    Var {
        name: "FLUSH_INTERVAL_MS",
        default: Fallback::Value("1000"),
        kind: Kind::Number(1, 3_600_000),
        reload: true,
        example: "5000",
        help: "Time between two loads of a table on average, in milliseconds, where FLUSH_SIZE and FLUSH_BYTES do not \
               ask for more. Under steady load they come this far apart; after a quiet time up to five may follow each \
               other as soon as the one before is in, so that single changes arrive at once.",
        group: Group::Flow,
        ..USUAL
    },
    Var {
        name: "MEMORY_BUDGET",
        default: Fallback::Value("64MiB"),
        kind: Kind::Size(4 * MIB, 64 << 30),
        example: "256MiB",
        help: "Bytes of rows and requests held at once. When it is used up, reading waits; PostgreSQL still hears \
               from us. The process needs about 16 MB besides. A row that is larger than the budget passes alone, and \
               twice its size is needed for it.",
        group: Group::Flow,
        ..USUAL
    },
    Var {
        name: "CHECKPOINT_INTERVAL",
        default: Fallback::Value("1s"),
        kind: Kind::Time(millis(10), seconds(3600)),
        example: "10s",
        help: "Least time between two stored checkpoints. More is repeated after a crash if it is longer; nothing is \
               lost.",
        group: Group::Flow,
        ..USUAL
    },
    Var {
        name: "SHUTDOWN_GRACE",
        default: Fallback::Value("8s"),
        kind: Kind::Time(millis(100), seconds(3600)),
        example: "25s",
        help: "How long the end may take after SIGTERM or SIGINT: what was read is loaded and confirmed, the rest is \
               read again at the next start. Keep it below the time your orchestrator gives (Docker: 10 s).",
        group: Group::Flow,
        ..USUAL
    },
    Var {
        name: "GRPC_ADDR",
        aliases: &[old_port("GRPC_PORT"), old_port("DBMAZZ_CONTROL_PORT")],
        default: Fallback::Value("127.0.0.1:50051"),
        kind: Kind::Address,
        example: "0.0.0.0:50051",
        help: "Where gRPC listens: control, status, metrics and the standard health service. It asks for no \
               credentials, so keep it on loopback or inside the Pod. Port 0 lets the system choose.",
        group: Group::Operation,
        ..USUAL
    },
    Var {
        name: "METRICS_ADDR",
        aliases: &[old_port("HTTP_API_PORT")],
        default: Fallback::Value("127.0.0.1:9464"),
        kind: Kind::AddressOrOff,
        example: "0.0.0.0:9464",
        help: "Where HTTP listens: `/metrics` for Prometheus, `/livez`, `/readyz` and `/replz` for \
               probes. `off`: nowhere.",
        group: Group::Operation,
        ..USUAL
    },
    Var {
        name: "GRPC_REFLECTION",
        default: Fallback::Value("true"),
        kind: Kind::Bool,
        example: "false",
        help: "Whether gRPC describes its services, so that grpcurl needs no proto files.",
        group: Group::Operation,
        ..USUAL
    },
    Var {
        name: "MAX_LAG",
        default: Fallback::Value("5m"),
        kind: Kind::Time(seconds(1), seconds(30 * 86_400)),
        example: "30s",
        help: "Replication lag above which the health service `replication` says NOT_SERVING.",
        group: Group::Operation,
        ..USUAL
    },
    Var {
        name: "LOG",
        aliases: &[Alias { name: "RUST_LOG", rule: AliasRule::Common }],
        default: Fallback::Value("info"),
        kind: Kind::LogFilter,
        example: "info,sluicegate::sink=debug",
        help: "What is logged: `error`, `warn`, `info`, `debug`, `trace`, also per module.",
        group: Group::Operation,
        ..USUAL
    },
    Var {
        name: "LOG_FORMAT",
        default: Fallback::Value("auto"),
        kind: Kind::OneOf(&["auto", "text", "json"]),
        example: "json",
        help: "How log lines look. `auto`: text on a terminal, JSON elsewhere.",
        group: Group::Operation,
        ..USUAL
    },
];

/// A name of the older sidecar that is no setting here.
#[derive(Clone, Copy, Debug)]
pub(super) struct Retired {
    /// The name; a family if it ends in `*`.
    pub(super) name: &'static str,
    /// What is made of it.
    pub(super) rule: RetiredRule,
    /// What to say about it: "... ignored: <why>" or "... refused: <why>".
    pub(super) why: &'static str,
}

/// What is made of a name that is no setting here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RetiredRule {
    /// Noted; without effect.
    Ignored,
    /// Noted if it is one of these words, in any case; else refused.
    Only(&'static [&'static str]),
}

const NO_MYSQL: &str = "MySQL is not a source of this version";

/// Every retired name.
pub(super) const RETIRED: &[Retired] = &[
    Retired {
        name: "SOURCE_TYPE",
        rule: RetiredRule::Only(&["postgres", "postgresql"]),
        why: "PostgreSQL is the only source",
    },
    Retired { name: "SINK_TYPE", rule: RetiredRule::Only(&["starrocks"]), why: "StarRocks is the only sink" },
    Retired { name: "SINK_SCHEMA", rule: RetiredRule::Ignored, why: "StarRocks has no schemas within a database" },
    Retired {
        name: "SNAPSHOT_CHUNK_SIZE",
        rule: RetiredRule::Ignored,
        why: "it counted rows; reads are cut by bytes and time now, see SNAPSHOT_CHUNK_BYTES",
    },
    Retired { name: "MYSQL_SERVER_ID", rule: RetiredRule::Ignored, why: NO_MYSQL },
    Retired { name: "MYSQL_GTID_ENABLED", rule: RetiredRule::Ignored, why: NO_MYSQL },
    Retired { name: "MYSQL_TLS_SKIP_VERIFY", rule: RetiredRule::Ignored, why: NO_MYSQL },
    Retired { name: "SINK_SNOWFLAKE_*", rule: RetiredRule::Ignored, why: "Snowflake is not a sink of this version" },
];

/// Beginnings of names that are ours: a name that begins so and is unknown is an error, as it is most likely misspelt.
pub(super) const FAMILIES: &[&str] = &[
    "SOURCE_",
    "SINK_",
    "SLOT_",
    "PUBLICATION_",
    "REPLICA_",
    "CHECKPOINT_",
    "SNAPSHOT_",
    "FLUSH_",
    "AUDIT_",
    "GRPC_",
    "METRICS_",
    "SLUICEGATE_",
];

/// Names of other programs that begin like one of our families; families of their own if they end in `*`.
pub(super) const FOREIGN: &[&str] = &[
    "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH",
    "GRPC_DNS_RESOLVER",
    "GRPC_ENABLE_FORK_SUPPORT",
    "GRPC_EXPERIMENTAL_*",
    "GRPC_GO_*",
    "GRPC_POLL_STRATEGY",
    "GRPC_PROXY_EXP",
    "GRPC_SSL_CIPHER_SUITES",
    "GRPC_TRACE",
    "GRPC_VERBOSITY",
    "GRPC_XDS_*",
    "SLUICEGATE_FAILPOINT",
    "SLUICEGATE_IMAGE",
    "SLUICEGATE_VERSION",
    "SOURCE_BRANCH",
    "SOURCE_COMMIT",
    "SOURCE_DATE_EPOCH",
    "SOURCE_VERSION",
];

/// Whether a name is the pattern, or begins with it where the pattern ends in `*`.
pub(super) fn is_named(pattern: &str, name: &str) -> bool {
    pattern.strip_suffix('*').map_or(pattern == name, |start| name.starts_with(start))
}

/// The setting of that name.
///
/// # Panics
/// If there is none: names are written in the code, and tests pass them all through here.
pub(super) fn var(name: &str) -> &'static Var {
    VARS.iter().find(|var| var.name == name).unwrap_or_else(|| panic!("{name} is not in the table of settings"))
}

impl Kind {
    /// Checks a value and brings it into the one form that settings of this kind are kept in.
    ///
    /// # Errors
    /// What is wrong with it, without the value itself.
    pub(super) fn canonical(self, text: &str) -> Result<String, String> {
        let same = || text.to_owned();
        match self {
            Kind::Password | Kind::Url => Ok(same()),
            Kind::Text(bytes_max) => at_most(text, bytes_max).and_then(|()| printable(text)).map(|()| same()),
            Kind::Word(bytes_max) => at_most(text, bytes_max).and_then(|()| word(text)).map(|()| same()),
            Kind::Tables => TablePattern::parse_list(text)
                .map(|_| same())
                .map_err(|error| format!("cannot be read: {} at character {}", error.problem, error.at)),
            Kind::Number(min, max) => within(value::parse_number(text)?, min, max, |n| n.to_string()),
            Kind::Size(min, max) => within(value::parse_size(text)?, min, max, value::print_size),
            Kind::Time(min, max) => within(value::parse_duration(text)?, min, max, value::print_duration),
            Kind::Bool => value::parse_bool(text).map(|yes| yes.to_string()),
            Kind::OneOf(words) => {
                let found = words.iter().find(|word| word.eq_ignore_ascii_case(text));
                found.map(|word| (*word).to_owned()).ok_or_else(|| format!("is not {}", words.join(" or ")))
            }
            Kind::NumericType => NumericAs::parse(text).map(|numeric| numeric.to_string()),
            Kind::AddressOrOff if text.eq_ignore_ascii_case("off") => Ok("off".to_owned()),
            Kind::AddressOrOff => match value::parse_address(text) {
                Ok(address) => Ok(address.to_string()),
                Err(problem) => Err(format!("{problem}, or off")),
            },
            Kind::Address => value::parse_address(text).map(|address| address.to_string()),
            Kind::Hosts => value::parse_hosts(text).map(|hosts| hosts.join(",")),
            Kind::HostMap => value::parse_host_map(text)
                .map(|map| map.iter().map(|(from, to)| format!("{from}={to}")).collect::<Vec<_>>().join(",")),
            Kind::File => open_regular(Path::new(text)).map(|_| same()),
            Kind::Policies => bad_values::parse(text).map(|policies| bad_values::print(&policies)),
            Kind::LogFilter => {
                EnvFilter::try_new(text).map(|_| same()).map_err(|error| format!("is not a log filter: {error}"))
            }
        }
    }

    /// The form of its values in words, for the reference.
    pub(super) fn form(self) -> String {
        match self {
            Kind::Text(bytes_max) => format!("text of up to {bytes_max} bytes"),
            Kind::Word(bytes_max) => format!("up to {bytes_max} of a-z 0-9 _"),
            Kind::Password => "text".to_owned(),
            Kind::Url => "URL".to_owned(),
            Kind::Tables => "list of tables".to_owned(),
            Kind::Number(min, max) => format!("whole number, {min} to {max}"),
            Kind::Time(min, max) => {
                format!("time, {} to {}", value::print_duration(min), value::print_duration(max))
            }
            Kind::Size(min, max) => format!("size, {} to {}", value::print_size(min), value::print_size(max)),
            Kind::Bool => "true or false".to_owned(),
            Kind::OneOf(words) => words.join(" or "),
            Kind::NumericType => "varchar or decimal(digits,digits after the point)".to_owned(),
            Kind::Address => "address:port".to_owned(),
            Kind::AddressOrOff => "address:port or off".to_owned(),
            Kind::Hosts => "list of hosts".to_owned(),
            Kind::HostMap => "list of from=to".to_owned(),
            Kind::File => "path of a file".to_owned(),
            Kind::LogFilter => "log filter".to_owned(),
            Kind::Policies => "list of block, null, clamp or text, and class=policy".to_owned(),
        }
    }
}

/// Opens a file that is one: opening a pipe would wait for its other end.
///
/// # Errors
/// What it is instead, or why it cannot be opened.
pub(super) fn open_regular(path: &Path) -> Result<File, String> {
    let about = std::fs::metadata(path).map_err(|error| format!("cannot be opened: {error}"))?;
    if about.is_dir() {
        return Err("is a directory".to_owned());
    }
    if !about.is_file() {
        return Err("is not a regular file".to_owned());
    }
    File::open(path).map_err(|error| format!("cannot be opened: {error}"))
}

fn at_most(text: &str, bytes_max: usize) -> Result<(), String> {
    if text.len() > bytes_max { Err(format!("is longer than {bytes_max} bytes")) } else { Ok(()) }
}

fn printable(text: &str) -> Result<(), String> {
    if text.chars().any(char::is_control) { Err("holds control characters".to_owned()) } else { Ok(()) }
}

fn word(text: &str) -> Result<(), String> {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
    if text.bytes().all(plain) { Ok(()) } else { Err("may only hold a-z, 0-9 and _".to_owned()) }
}

fn within<T: PartialOrd + Copy>(found: T, min: T, max: T, print: impl Fn(T) -> String) -> Result<String, String> {
    if (min..=max).contains(&found) {
        Ok(print(found))
    } else {
        Err(format!("is not between {} and {}", print(min), print(max)))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_name_stands_for_two_things() {
        let mut names = BTreeSet::new();
        let of_vars = VARS.iter().flat_map(|var| std::iter::once(var.name).chain(var.aliases.iter().map(|a| a.name)));
        for name in of_vars.chain(RETIRED.iter().map(|retired| retired.name)).chain(FOREIGN.iter().copied()) {
            assert!(names.insert(name), "{name} stands in the tables twice");
        }
    }

    #[test]
    fn every_row_is_complete_and_its_example_and_default_are_valid() {
        for var in VARS {
            let ends_well = var.help.ends_with(['.', ')']);
            assert!(ends_well && !var.help.contains("  "), "{}: help is not a sentence", var.name);
            let Var { name, kind, .. } = var;
            if *kind != Kind::File {
                assert!(kind.canonical(var.example).is_ok(), "{name}: example {:?}", var.example);
            }
            if let Fallback::Value(value) = var.default {
                assert_eq!(kind.canonical(value).as_deref(), Ok(value), "{name}: default");
                assert_ne!(var.example, value, "{name}: the example shows nothing new");
            }
        }
    }

    #[test]
    fn chapters_are_not_torn_apart() {
        let order: Vec<usize> =
            VARS.iter().map(|var| Group::ALL.iter().position(|group| *group == var.group).unwrap()).collect();
        assert!(order.is_sorted(), "{order:?}");
    }

    #[test]
    fn values_are_checked_and_brought_into_one_form() {
        let cases: &[(&str, &str, Result<&str, &str>)] = &[
            ("FLUSH_SIZE", "007", Ok("7")),
            ("FLUSH_SIZE", "10k", Err("is not a whole number")),
            ("FLUSH_SIZE", "0", Err("is not between 1 and 100000000")),
            ("FLUSH_BYTES", "1024KiB", Ok("1MiB")),
            ("FLUSH_BYTES", "1B", Err("is not between 64KiB and 16GiB")),
            ("MAX_LAG", "60s", Ok("1m")),
            ("MAX_LAG", "60", Err("has no unit")),
            ("CREATE_TABLES", "Off", Ok("false")),
            ("DELETE_MODE", "HARD", Ok("hard")),
            ("DELETE_MODE", "delete", Err("is not soft or hard")),
            ("METRICS_ADDR", "OFF", Ok("off")),
            (
                "METRICS_ADDR",
                "9464",
                Err("is not an address and a port such as 127.0.0.1:50051 or [::1]:50051, or off"),
            ),
            ("GRPC_ADDR", "off", Err("is not an address and a port such as 127.0.0.1:50051 or [::1]:50051")),
            ("SLOT", "Shop", Err("may only hold a-z, 0-9 and _")),
            ("SINK_PORT", "0", Err("is not between 1 and 65535")),
            ("SINK_PORT", "99999", Err("is not between 1 and 65535")),
            ("SINK_USER", "a\tb", Err("holds control characters")),
            ("TABLES", "a,,b", Err("cannot be read: a name is missing at character 3")),
            ("SINK_REDIRECT_MAP", " A = b ", Ok("a=b")),
            ("SINK_TLS_CA", "/", Err("is a directory")),
            ("LOG", "info,sluicegate::sink=debug", Ok("info,sluicegate::sink=debug")),
        ];
        for (name, text, want) in cases {
            let want = want.map(str::to_owned).map_err(str::to_owned);
            assert_eq!(var(name).kind.canonical(text), want, "{name}={text:?}");
        }
        let long = "a".repeat(64);
        assert_eq!(var("SLOT").kind.canonical(&long), Err("is longer than 63 bytes".to_owned()));
        assert!(var("LOG").kind.canonical("=[").is_err());
    }
}
