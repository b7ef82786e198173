//! The stand-in as a program: flags in, ports out, runs until it is told to stop.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use starrocks_standin::store::{Release, Settings};
use starrocks_standin::{Options, Server};

/// A stand-in for StarRocks, for tests and the quick start. It is NOT StarRocks and not a database: everything is in
/// memory, nothing is fast, and only what a Stream Load client needs is modelled.
#[derive(Debug, Parser)]
#[command(name = "starrocks-standin", disable_version_flag = true)]
struct Flags {
    /// Address all ports listen on. The server has one password at most: keep it on loopback.
    #[arg(long, default_value = "127.0.0.1")]
    bind: String,
    /// Host written into redirects and error URLs.
    #[arg(long, default_value = "127.0.0.1")]
    advertised_host: String,
    /// Frontend HTTP port; 0 = any free port, as for all ports.
    #[arg(long, default_value_t = 8030)]
    fe_port: u16,
    /// Backend HTTP port.
    #[arg(long, default_value_t = 8040)]
    be_port: u16,
    /// MySQL port.
    #[arg(long, default_value_t = 9030)]
    sql_port: u16,
    /// Control port: faults, history, rows.
    #[arg(long, default_value_t = 8031)]
    control_port: u16,
    /// HTTP port of a second frontend that follows the first.
    #[arg(long)]
    follower_port: Option<u16>,
    /// The one user.
    #[arg(long, default_value = "root")]
    user: String,
    /// Its password.
    #[arg(long, default_value = "", hide_default_value = true)]
    password: String,
    /// The StarRocks release imitated: 3.3, 3.5 or 4.1.
    #[arg(long, default_value = "3.5")]
    version: Release,
    /// Imitate shared-data mode.
    #[arg(long)]
    shared_data: bool,
    /// Folder that keeps the state, so that it survives a killed process.
    #[arg(long)]
    data: Option<PathBuf>,
    /// Check the framing of loads, count their rows and keep nothing.
    #[arg(long)]
    discard: bool,
    /// Finished transactions kept per database (label_keep_max_num).
    #[arg(long, default_value_t = 1000)]
    label_keep_num: usize,
    /// Seconds finished transactions are kept (label_keep_max_second).
    #[arg(long, default_value_t = 259_200)]
    label_keep_seconds: u64,
    /// How long an asynchronous schema change takes.
    #[arg(long, default_value_t = 0.5)]
    alter_seconds: f64,
    /// default_replication_num: what CREATE TABLE asks for without replication_num.
    #[arg(long, default_value_t = 3)]
    default_replication_num: u32,
    /// File the chosen ports are written to, as JSON, once all of them listen.
    #[arg(long)]
    ports_file: Option<PathBuf>,
}

impl Flags {
    fn options(self) -> (Options, Option<PathBuf>) {
        let settings = Settings {
            release: self.version,
            shared_data: self.shared_data,
            user: self.user,
            password: self.password,
            default_replication_num: self.default_replication_num,
            label_keep_max_num: self.label_keep_num,
            label_keep: Duration::from_secs(self.label_keep_seconds),
            alter_takes: Duration::try_from_secs_f64(self.alter_seconds).unwrap_or_default(),
            discard: self.discard,
            ..Settings::default()
        };
        let options = Options {
            settings,
            bind: self.bind,
            advertised_host: self.advertised_host,
            fe_port: self.fe_port,
            be_port: self.be_port,
            sql_port: self.sql_port,
            control_port: self.control_port,
            follower_port: self.follower_port,
            data: self.data,
        };
        (options, self.ports_file)
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "warn".into());
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    let (options, ports_file) = Flags::parse().options();
    match run(options, ports_file).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("starrocks-standin: {error}");
            let mut cause = error.source();
            while let Some(inner) = cause {
                eprintln!("  because: {inner}");
                cause = inner.source();
            }
            ExitCode::FAILURE
        }
    }
}

async fn run(options: Options, ports_file: Option<PathBuf>) -> Result<(), Box<dyn std::error::Error>> {
    let version = options.settings.release.version();
    let server = Server::start(options).await?;
    let ports = server.ports();
    println!("starrocks-standin: a stand-in for tests, NOT StarRocks (it imitates {version}).");
    println!(
        "  frontend http {}  backend http {}  sql {}  control {}",
        ports.fe_http, ports.be_http, ports.sql, ports.control
    );
    if let Some(port) = server.follower_port() {
        println!("  following frontend http {port}");
    }
    println!("  {}", server.url());
    if let Some(path) = ports_file {
        // Written beside and renamed, so that a script that waits for the file never reads half of it.
        let beside = path.with_extension("tmp");
        let text = serde_json::json!({
            "fe_http": ports.fe_http,
            "be_http": ports.be_http,
            "sql": ports.sql,
            "control": ports.control,
            "follower_http": server.follower_port(),
        });
        std::fs::write(&beside, text.to_string())?;
        std::fs::rename(&beside, &path)?;
    }
    stopped().await?;
    Ok(())
}

/// SIGINT or SIGTERM.
async fn stopped() -> std::io::Result<()> {
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    tokio::select! {
        result = tokio::signal::ctrl_c() => result,
        _ = terminate.recv() => Ok(()),
    }
}
