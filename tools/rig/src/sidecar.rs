//! The real binary as a child process.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use sonic_rs::{JsonContainerTrait, JsonValueTrait, Value};

/// A running `sluicegate`, killed when dropped.
#[derive(Debug)]
pub struct Sidecar {
    binary: PathBuf,
    child: Child,
    environment: Vec<(String, String)>,
    log: PathBuf,
}

/// What a command of the binary said, and its exit code.
#[derive(Clone, Debug)]
pub struct Said {
    /// The exit code; `None` if a signal ended it.
    pub code: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

/// What `sluicegate status --json` says.
#[derive(Clone, Debug)]
pub struct Status(Value);

impl Sidecar {
    /// Starts the binary with exactly this environment (and `PATH`); its log goes to the end of a file.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn start(binary: &Path, environment: &[(String, String)], log: &Path) -> io::Result<Sidecar> {
        let out = File::options().create(true).append(true).open(log)?;
        let child = Command::new(binary)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .envs(environment.iter().map(|(name, value)| (name, value)))
            // A group of its own: Ctrl-C on our terminal is for us alone.
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(out.try_clone()?)
            .stderr(out)
            .spawn()?;
        Ok(Sidecar { binary: binary.to_owned(), child, environment: environment.to_vec(), log: log.to_owned() })
    }

    /// Ends it as `kill -9` does.
    ///
    /// # Errors
    /// If it cannot be waited for.
    pub fn kill(&mut self) -> io::Result<ExitStatus> {
        self.child.kill()?;
        self.child.wait()
    }

    /// Sends a signal, by name: `TERM`, `INT`, `STOP`, `CONT`.
    ///
    /// # Errors
    /// If `kill` cannot be run.
    pub fn signal(&self, name: &str) -> io::Result<()> {
        Command::new("kill").args([format!("-{name}"), self.child.id().to_string()]).status().map(drop)
    }

    /// Asks it to stop, as an orchestrator does.
    ///
    /// # Errors
    /// If `kill` cannot be run.
    pub fn terminate(&self) -> io::Result<()> {
        self.signal("TERM")
    }

    /// How it ended, once it has; `None` if it still runs after that time.
    ///
    /// # Errors
    /// If it cannot be waited for.
    pub fn wait(&mut self, longest: Duration) -> io::Result<Option<ExitStatus>> {
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(Some(status));
            }
            if start.elapsed() > longest {
                return Ok(None);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Where it writes.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// Runs one of the binary's client commands against it: exit code and what it printed.
    ///
    /// # Errors
    /// If the binary cannot be run.
    pub fn command(&self, arguments: &[&str]) -> io::Result<(Option<i32>, String)> {
        let address = self.environment.iter().find(|(name, _)| name == "GRPC_ADDR");
        let output = Command::new(&self.binary)
            .args(arguments)
            .env_clear()
            .envs(address.map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .output()?;
        let text = [output.stdout, output.stderr].concat();
        Ok((output.status.code(), String::from_utf8_lossy(&text).into_owned()))
    }

    /// Runs `sluicegate verify` with its environment.
    ///
    /// # Errors
    /// If the binary cannot be run.
    pub fn verify(&self, arguments: &[&str]) -> io::Result<Said> {
        verify(&self.binary, &self.environment, arguments)
    }

    /// Its status; `None` while it does not answer.
    pub fn status(&self) -> Option<Status> {
        let (code, text) = self.command(&["status", "--json"]).ok()?;
        if code != Some(0) {
            return None;
        }
        sonic_rs::from_str(text.trim()).ok().map(Status)
    }
}

/// Runs `sluicegate verify` with exactly this environment.
///
/// # Errors
/// If the binary cannot be run.
pub fn verify(binary: &Path, environment: &[(String, String)], arguments: &[&str]) -> io::Result<Said> {
    let environment = environment.iter().map(|(name, value)| (name, value));
    let mut command = Command::new(binary);
    let output = command.arg("verify").args(arguments).env_clear().envs(environment).stdin(Stdio::null()).output()?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ok(Said { code: output.status.code(), stdout: text(&output.stdout), stderr: text(&output.stderr) })
}

impl Drop for Sidecar {
    fn drop(&mut self) {
        // It may have ended already.
        drop(self.kill());
    }
}

impl Status {
    /// A field, by names joined with dots; empty if it is not there.
    pub fn text(&self, path: &str) -> String {
        self.value(path)
            .map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned))
            .unwrap_or_default()
    }

    /// A number, by names joined with dots; 0 if it is not there.
    pub fn number(&self, path: &str) -> f64 {
        self.value(path).and_then(|value| value.as_f64()).unwrap_or(0.0)
    }

    /// A position in bytes, 0 if it is not there.
    pub fn lsn(&self, path: &str) -> u64 {
        parse_lsn(&self.text(path)).unwrap_or(0)
    }

    /// The codes of what is wrong now.
    pub fn reasons(&self) -> Vec<String> {
        let codes = |reasons: &Value| {
            let codes = reasons.as_array()?.iter().filter_map(|reason| reason.get("code")?.as_str().map(str::to_owned));
            Some(codes.collect())
        };
        self.0.get("reasons").and_then(codes).unwrap_or_default()
    }

    /// The state of a table, by its name in the source; empty if it is not known.
    pub fn table_state(&self, table: &str) -> String {
        let find = || {
            let tables = self.0.get("tables")?.as_array()?;
            let row = tables.iter().find(|row| row.get("table_name").and_then(|name| name.as_str()) == Some(table))?;
            row.get("state")?.as_str().map(str::to_owned)
        };
        find().unwrap_or_default()
    }

    /// How many values of a table were loaded as something else, by class and policy.
    pub fn values_changed(&self, table: &str) -> BTreeMap<(String, String), u64> {
        let rows = || {
            let tables = self.0.get("tables")?.as_array()?;
            let row = tables.iter().find(|row| row.get("table_name").and_then(|name| name.as_str()) == Some(table))?;
            row.get("values_changed")?.as_array()
        };
        let text =
            |row: &Value, field: &str| row.get(field).and_then(|text| text.as_str()).unwrap_or_default().to_owned();
        let kinds = rows().into_iter().flatten();
        kinds
            .map(|row| {
                let values = row.get("values").and_then(|values| values.as_u64()).unwrap_or(0);
                ((text(row, "class"), text(row, "policy")), values)
            })
            .collect()
    }

    /// The sum of a numeric field over an array of objects.
    pub fn sum(&self, array: &str, field: &str) -> f64 {
        let rows = self.0.get(array).and_then(|rows| rows.as_array());
        rows.into_iter().flatten().filter_map(|row| row.get(field)?.as_f64()).sum()
    }

    fn value(&self, path: &str) -> Option<&Value> {
        path.split('.').try_fold(&self.0, |value, name| value.get(name))
    }
}

/// A WAL position's number from its text.
pub fn parse_lsn(text: &str) -> Option<u64> {
    let (high, low) = text.split_once('/')?;
    Some(u64::from_str_radix(high, 16).ok()? << 32 | u64::from_str_radix(low, 16).ok()?)
}
