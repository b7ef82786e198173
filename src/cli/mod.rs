//! The command line: what a person or an orchestrator types.
//!
//! In: arguments and the environment. Out: text on standard output, problems on standard error, an exit code. Always:
//! exit codes are those of `Exit`; nothing printed holds a secret; commands to a running process need its address
//! alone. Not here: what commands do in the engine. Start at [`main`]; `run` is the sidecar itself.

mod check;
mod client;
mod run;
mod settings;
mod status;
mod status_json;
mod terminal;
mod verify;

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::LazyLock;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::config::{self, ProcessEnv};

/// Exit codes, stable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Exit {
    /// It went well; for `run`: it was asked to stop and did.
    Well = 0,
    /// The answer is no: not healthy, refused, something to do. For `run`: a bug, reported.
    No = 1,
    /// The command line is wrong, or no process answers.
    Usage = 2,
    /// For `verify`: the two sides could not be compared, or not wholly.
    Undecided = 3,
    /// The settings are wrong (`EX_CONFIG` of sysexits.h).
    Config = 78,
    /// Ended at once by a second signal (128 + SIGTERM).
    Forced = 143,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit as u8)
    }
}

/// `0.1.0`, with the commit if the build was told it by `SLUICEGATE_COMMIT`.
static VERSION: LazyLock<String> = LazyLock::new(|| {
    let version = env!("CARGO_PKG_VERSION");
    option_env!("SLUICEGATE_COMMIT").map_or(version.to_owned(), |commit| format!("{version} ({commit})"))
});

/// Keeps StarRocks tables equal to PostgreSQL tables.
///
/// A change-data-capture sidecar: it follows PostgreSQL's logical replication and loads every committed change into
/// StarRocks. It is set up by environment variables, listed below, of which SOURCE_URL, SINK_URL and TABLES are
/// required. Without a command it runs.
///
/// Exit codes: 0 it went well, 1 the answer is no (for run: a bug; for verify: rows differ), 2 wrong usage or no
/// process answers, 3 verify could not compare, 78 the settings are wrong, 143 ended at once by a second signal.
#[derive(Debug, Parser)]
#[command(name = "sluicegate", version = VERSION.as_str(), after_long_help = config::help(), max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Replicate until told to stop (the default)
    Run,
    /// Look at both databases and say what is missing, with SQL to paste; changes nothing
    Check {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Compare source and target row by row while changes flow: 0 equal, 1 different, 3 could not be compared
    ///
    /// Each table is read once from each side, in memory that does not grow with it. Rows that seem to differ are looked
    /// at again until the running pipeline has passed everything the source held, so that rows that merely changed
    /// meanwhile are not reported. The report names keys and columns.
    Verify {
        /// Tables to compare, written as in TABLES [default: all that are replicated]
        #[arg(value_name = "TABLE")]
        tables: Vec<String>,
        /// Print JSON
        #[arg(long)]
        json: bool,
        /// Differing rows to name of each table, at most
        #[arg(long, value_name = "N", default_value_t = 20)]
        max_differences: usize,
        /// Seconds to wait for the pipeline to pass a position, at most
        #[arg(long, value_name = "SECONDS", default_value_t = 300)]
        timeout: u64,
        /// Print the values that differ as well; rows may be confidential
        #[arg(long)]
        values: bool,
    },
    /// Show the settings in force and where each comes from; passwords are left out
    Config {
        /// How to print them
        #[arg(long, value_enum, default_value_t = ConfigFormat::Table)]
        format: ConfigFormat,
    },
    /// Ask a running process whether it is well: 0 it is, 1 it is not, 2 it does not answer
    Health {
        /// What to ask for: liveness, startup, control, replication, source, sink, or table/SCHEMA.NAME
        #[arg(long, default_value = "liveness")]
        service: String,
        #[command(flatten)]
        target: Target,
    },
    /// Show where a running process stands
    Status {
        /// Show it again and again
        #[arg(long)]
        watch: bool,
        /// Print JSON, a line for each status
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        target: Target,
    },
    /// Stop reading changes; what was read is still loaded. Survives a restart
    Pause {
        #[command(flatten)]
        target: Target,
    },
    /// Read changes again
    Resume {
        #[command(flatten)]
        target: Target,
    },
    /// Steer the copy of existing rows; changes flow meanwhile
    Snapshot {
        #[command(subcommand)]
        order: Snapshot,
    },
    /// End a running process as a signal does; the replication slot stays
    Stop {
        /// First load everything that was read, however long it takes
        #[arg(long)]
        drain: bool,
        #[command(flatten)]
        target: Target,
    },
}

#[derive(Debug, Subcommand)]
enum Snapshot {
    /// Copy tables that are not copied yet, and others once more; rows that no longer exist are removed
    Start {
        /// Tables as SCHEMA.NAME; all if left out
        tables: Vec<String>,
        #[command(flatten)]
        target: Target,
    },
    /// Read no further existing rows. Survives a restart
    Pause {
        #[command(flatten)]
        target: Target,
    },
    /// Read existing rows again
    Resume {
        #[command(flatten)]
        target: Target,
    },
    /// End copies before they are finished; what was copied stays. Survives a restart
    Cancel {
        /// Tables as SCHEMA.NAME; all that are being copied if left out
        tables: Vec<String>,
        #[command(flatten)]
        target: Target,
    },
}

/// Which process to talk to.
#[derive(Clone, Copy, Debug, Args)]
struct Target {
    /// Address of its gRPC server [default: what GRPC_ADDR says, else 127.0.0.1:50051]
    #[arg(long, value_name = "ADDRESS:PORT")]
    addr: Option<SocketAddr>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum ConfigFormat {
    /// For reading
    Table,
    /// Lines for a shell or a .env file
    Env,
    /// For programs
    Json,
}

/// Obeys the command line of this process.
pub fn main() -> ExitCode {
    // On wrong usage this prints what is wrong and ends with 2; on --help and --version with 0.
    let arguments = Arguments::parse();
    let env = &ProcessEnv;
    let exit = match arguments.command.unwrap_or(Command::Run) {
        Command::Run => run::run(env),
        Command::Check { json } => check::check(env, json),
        Command::Verify { tables, json, max_differences, timeout, values } => {
            let patience = Duration::from_secs(timeout);
            verify::verify(env, &verify::Wanted { tables, json, differences_max: max_differences, patience, values })
        }
        Command::Config { format } => settings::show(env, format),
        Command::Health { service, target } => client::health(env, target.addr, &service),
        Command::Status { watch, json, target } => client::status(env, target.addr, watch, json),
        Command::Pause { target } => client::command(env, target.addr, client::Order::Pause),
        Command::Resume { target } => client::command(env, target.addr, client::Order::Resume),
        Command::Snapshot { order } => {
            let (order, target) = match order {
                Snapshot::Start { tables, target } => (client::Order::StartSnapshot(tables), target),
                Snapshot::Pause { target } => (client::Order::PauseSnapshot, target),
                Snapshot::Resume { target } => (client::Order::ResumeSnapshot, target),
                Snapshot::Cancel { tables, target } => (client::Order::CancelSnapshot(tables), target),
            };
            client::command(env, target.addr, order)
        }
        Command::Stop { drain: false, target } => client::command(env, target.addr, client::Order::Stop),
        Command::Stop { drain: true, target } => client::command(env, target.addr, client::Order::Drain),
    };
    exit.into()
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn without_a_command_it_runs() {
        let parse = |arguments: &[&str]| Arguments::try_parse_from(arguments);
        assert!(parse(&["sluicegate"]).unwrap().command.is_none());
        assert!(matches!(parse(&["sluicegate", "run"]).unwrap().command, Some(Command::Run)));
        assert!(matches!(
            parse(&["sluicegate", "stop", "--drain"]).unwrap().command,
            Some(Command::Stop { drain: true, .. })
        ));
        for wrong in [&["sluicegate", "halt"][..], &["sluicegate", "status", "--addr", "x"], &["sluicegate", "--flush"]]
        {
            assert_eq!(parse(wrong).unwrap_err().exit_code(), Exit::Usage as i32, "{wrong:?}");
        }
    }

    #[test]
    fn the_short_help_is_short_and_the_long_one_lists_every_setting() {
        let short = Arguments::command().render_help().to_string();
        assert!(short.lines().count() < 30, "{short}");
        let long = Arguments::command().render_long_help().to_string();
        for var in config::VARS {
            assert!(long.contains(var.name), "{}", var.name);
        }
    }
}
