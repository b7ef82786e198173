//! The stand-in for StarRocks as a process of its own, so that its CPU time can be told from ours.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use sonic_rs::JsonValueTrait;

use crate::Failure;

/// A running stand-in that counts rows and keeps none; killed when dropped.
#[derive(Debug)]
pub(crate) struct Discarding {
    child: Child,
    fe: u64,
    sql: u64,
}

impl Discarding {
    /// Starts one on free ports.
    pub(crate) async fn start(binary: &Path, folder: &Path) -> Result<Discarding, Failure> {
        let ports = folder.join("ports.json");
        let free = ["--fe-port", "0", "--be-port", "0", "--sql-port", "0", "--control-port", "0"];
        let child = Command::new(binary)
            .args(free)
            .args(["--discard", "--default-replication-num", "1", "--ports-file"])
            .arg(&ports)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .map_err(|error| format!("cannot start {}: {error}", binary.display()))?;
        let mut standin = Discarding { child, fe: 0, sql: 0 };
        let start = Instant::now();
        while !ports.exists() {
            if start.elapsed() > Duration::from_secs(30) || standin.child.try_wait()?.is_some() {
                return Err(format!("{} does not listen", binary.display()).into());
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let text = std::fs::read(&ports)?;
        std::fs::remove_file(&ports)?;
        let port = |name: &str| sonic_rs::get(text.as_slice(), [name]).ok().and_then(|value| value.as_u64());
        standin.fe = port("fe_http").ok_or("the stand-in names no fe_http port")?;
        standin.sql = port("sql").ok_or("the stand-in names no sql port")?;
        Ok(standin)
    }

    /// A `SINK_URL`.
    pub(crate) fn url(&self) -> String {
        format!("starrocks://root@127.0.0.1:{}/bench?sql_port={}", self.fe, self.sql)
    }

    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Discarding {
    fn drop(&mut self) {
        // It may have ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
