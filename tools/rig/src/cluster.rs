//! A private PostgreSQL server in a temporary folder.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;
use tokio_postgres::{Client, NoTls};

use crate::free_port;

/// A server of our own on a free loopback port, stopped and removed when dropped.
///
/// Binaries come from the folder in `PG_BIN`, else the newest `/usr/lib/postgresql/*/bin`, else the `PATH`. As root
/// the server runs as the user `postgres`, because PostgreSQL refuses to run as root.
#[derive(Debug)]
pub struct Cluster {
    folder: TempDir,
    bin: PathBuf,
    port: u16,
}

/// Why a server could not be made, started or stopped.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// A program could not be run or a file not be written.
    #[error("cannot run {program}")]
    Run {
        /// The program or file.
        program: String,
        /// Why.
        source: io::Error,
    },
    /// A program ran and failed.
    #[error("{program} failed: {output}")]
    Failed {
        /// The program.
        program: String,
        /// What it printed.
        output: String,
    },
    /// No PostgreSQL was found.
    #[error("no PostgreSQL found: set PG_BIN to the folder that holds initdb and postgres")]
    Missing,
}

/// The superuser of every private server.
pub const SUPERUSER: &str = "postgres";

/// How often a start is tried on another port: somebody may listen on the first.
const PORTS_TRIED: u32 = 5;

/// What the server says then.
const PORT_IN_USE: &str = "could not bind";

/// Bytes of the server's log that an error shows.
const LOG_SHOWN: usize = 2_000;

impl Cluster {
    /// A running server with logical decoding, trust authentication on loopback, `fsync` off, and these extra lines
    /// in `postgresql.conf`.
    ///
    /// # Errors
    /// See [`ClusterError`].
    pub fn start(settings: &[&str]) -> Result<Cluster, ClusterError> {
        let mut cluster = Cluster::make(settings)?;
        cluster.start_on_a_free_port()?;
        Ok(cluster)
    }

    fn start_on_a_free_port(&mut self) -> Result<(), ClusterError> {
        for _ in 0..PORTS_TRIED {
            match self.up() {
                Err(ClusterError::Failed { output, .. }) if output.contains(PORT_IN_USE) => {
                    self.port = free_port().map_err(port_error)?;
                }
                other => return other,
            }
        }
        self.up()
    }

    /// A server that was not started yet.
    fn make(settings: &[&str]) -> Result<Cluster, ClusterError> {
        let bin = find_bin()?;
        let run = |program: &'static str| move |source| ClusterError::Run { program: program.to_owned(), source };
        let folder = TempDir::with_prefix("sluicegate-pg-").map_err(run("temporary folder"))?;
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).map_err(run("chmod"))?;
        let port = free_port().map_err(port_error)?;
        let cluster = Cluster { folder, bin, port };
        let data = cluster.data();
        cluster
            .run("initdb", &["-U", SUPERUSER, "-A", "trust", "-E", "UTF8", "--locale=C", "-N", "-D", &text(&data)])?;
        let mut conf = format!(
            "listen_addresses = '127.0.0.1'\nunix_socket_directories = '{}'\nwal_level = logical\n\
             fsync = off\nmax_wal_senders = 20\nmax_replication_slots = 20\nlog_min_messages = warning\n",
            text(cluster.folder.path())
        );
        settings.iter().for_each(|line| conf.extend([line, "\n"]));
        let file = data.join("postgresql.auto.conf");
        fs::write(&file, conf).map_err(run("postgresql.auto.conf"))?;
        Ok(cluster)
    }

    /// Starts the stopped server on the same port.
    ///
    /// # Errors
    /// See [`ClusterError`]; the end of the server's log is part of it.
    pub fn up(&self) -> Result<(), ClusterError> {
        let (data, log, port) = (text(&self.data()), text(&self.log()), format!("-p {}", self.port));
        let started = self.run("pg_ctl", &["-D", &data, "-l", &log, "-o", &port, "-w", "-t", "60", "start"]);
        started.map(drop).map_err(|error| self.with_log(error))
    }

    /// The error with what the server said last: pg_ctl only points to the log, which goes with the folder.
    fn with_log(&self, error: ClusterError) -> ClusterError {
        let ClusterError::Failed { program, output } = error else { return error };
        let log = fs::read(self.log()).unwrap_or_default();
        let log = String::from_utf8_lossy(&log[log.len().saturating_sub(LOG_SHOWN)..]).into_owned();
        ClusterError::Failed { program, output: format!("{output}{log}") }
    }

    /// Stops the server; `mode` is pg_ctl's: `fast`, `smart` or `immediate`. Waits at most that many seconds.
    ///
    /// # Errors
    /// See [`ClusterError`]; also if it still runs after that time.
    pub fn down(&self, mode: &str, seconds: u32) -> Result<(), ClusterError> {
        let wait = seconds.to_string();
        self.run("pg_ctl", &["-D", &text(&self.data()), "-m", mode, "-w", "-t", &wait, "stop"]).map(drop)
    }

    /// A connection to the database `postgres` as superuser, its driver running in the background.
    ///
    /// # Errors
    /// Whatever the server says.
    pub async fn client(&self) -> Result<Client, tokio_postgres::Error> {
        let (client, driver) = tokio_postgres::connect(&self.url("postgres"), NoTls).await?;
        tokio::spawn(driver);
        Ok(client)
    }

    /// A URL for libpq and for `SOURCE_URL`.
    pub fn url(&self, database: &str) -> String {
        format!("postgresql://{SUPERUSER}@127.0.0.1:{}/{database}", self.port)
    }

    /// The TCP port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The folder of the unix socket.
    pub fn socket_folder(&self) -> &Path {
        self.folder.path()
    }

    /// The data directory.
    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// The server's log.
    pub fn log(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    /// The path of one of the server's programs.
    pub fn program(&self, name: &str) -> PathBuf {
        self.bin.join(name)
    }

    fn run(&self, program: &str, arguments: &[&str]) -> Result<Output, ClusterError> {
        let path = self.program(program);
        let mut command = if is_root() {
            let mut command = Command::new("runuser");
            command.args(["-u", SUPERUSER, "--"]).arg(&path);
            command
        } else {
            Command::new(&path)
        };
        // Output goes to files: a started server inherits it, and a pipe would never end.
        let printed = self.folder.path().join(format!("{program}.out"));
        let open = || fs::File::create(&printed).and_then(|file| Ok((file.try_clone()?, file)));
        let (out, err) = open().map_err(|source| ClusterError::Run { program: program.into(), source })?;
        let status = command
            .args(arguments)
            .current_dir(self.folder.path())
            .env("LC_ALL", "C")
            .stdin(std::process::Stdio::null())
            .stdout(out)
            .stderr(err)
            .status()
            .map_err(|source| ClusterError::Run { program: text(&path), source })?;
        let output = fs::read(&printed).unwrap_or_default();
        if status.success() {
            return Ok(Output { status, stdout: output, stderr: Vec::new() });
        }
        let output = String::from_utf8_lossy(&output).into_owned();
        Err(ClusterError::Failed { program: program.to_owned(), output })
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // The folder goes next; a server that had already stopped is no error here.
        drop(self.down("immediate", 30));
    }
}

/// The major version of the server that [`Cluster::start`] would start: what a test may ask of it.
///
/// # Errors
/// See [`ClusterError`].
pub fn major() -> Result<u32, ClusterError> {
    let program = find_bin()?.join("postgres");
    let run = |source| ClusterError::Run { program: text(&program), source };
    let output = Command::new(&program).arg("--version").output().map_err(run)?;
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    let digits = |text: &str| text.chars().take_while(char::is_ascii_digit).collect::<String>();
    let version = printed.split_once("(PostgreSQL) ").and_then(|(_, version)| digits(version).parse().ok());
    version.ok_or(ClusterError::Failed { program: text(&program), output: printed })
}

fn port_error(source: io::Error) -> ClusterError {
    ClusterError::Run { program: "free port".to_owned(), source }
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|process| std::os::unix::fs::MetadataExt::uid(&process) == 0)
}

fn find_bin() -> Result<PathBuf, ClusterError> {
    if let Some(named) = std::env::var_os("PG_BIN") {
        return Ok(PathBuf::from(named));
    }
    let mut installed: Vec<PathBuf> = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path().join("bin")))
        .filter(|bin| bin.join("initdb").exists())
        .collect();
    let major = |bin: &PathBuf| bin.parent().and_then(|p| p.file_name()?.to_str()?.parse::<u32>().ok());
    installed.sort_by_key(major);
    let on_path = || std::env::split_paths(&std::env::var_os("PATH")?).find(|folder| folder.join("initdb").exists());
    installed.pop().or_else(on_path).ok_or(ClusterError::Missing)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn starts_answers_stops_and_starts_again() {
        let cluster = Cluster::start(&["max_connections = 33"]).unwrap();
        let one = |client: Client| async move { client.query_one("SHOW max_connections", &[]).await };
        let row = one(cluster.client().await.unwrap()).await.unwrap();
        assert_eq!(row.get::<_, String>(0), "33");
        let row = cluster.client().await.unwrap().query_one("SHOW server_version_num", &[]).await.unwrap();
        assert_eq!(row.get::<_, String>(0).parse::<u32>().unwrap() / 10_000, major().unwrap());
        cluster.down("fast", 20).unwrap();
        assert!(cluster.client().await.is_err());
        cluster.up().unwrap();
        assert!(cluster.client().await.is_ok());
    }

    #[tokio::test]
    async fn a_port_in_use_is_named_and_another_one_is_taken() {
        let mut cluster = Cluster::make(&[]).unwrap();
        let first = cluster.port;
        let _held = TcpListener::bind(("127.0.0.1", first)).unwrap();
        assert!(cluster.up().unwrap_err().to_string().contains(PORT_IN_USE));
        cluster.start_on_a_free_port().unwrap();
        assert_ne!(cluster.port, first);
        assert!(cluster.client().await.is_ok());
    }
}
