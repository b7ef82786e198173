//! How the server behaves: version, run mode, limits and delays. Most can be changed while it runs.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The StarRocks release imitated where releases differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Release {
    /// 3.3.
    V3_3,
    /// 3.5.
    V3_5,
    /// 4.1.
    V4_1,
}

impl Release {
    /// `current_version()` and `@@version_comment`: `<version>-<commit>`.
    pub fn version(self) -> &'static str {
        match self {
            Release::V3_3 => "3.3.19-5f42b9c",
            Release::V3_5 => "3.5.7-d2da301",
            Release::V4_1 => "4.1.0-a39f3b1",
        }
    }

    /// `@@version` and the handshake: the MySQL disguise.
    pub fn mysql_version(self) -> &'static str {
        match self {
            Release::V3_3 => "5.1.0",
            Release::V3_5 | Release::V4_1 => "8.0.33",
        }
    }

    /// Whether answers of loads carry `Db` and `Table` (since 4.1).
    pub fn names_table_in_answers(self) -> bool {
        self >= Release::V4_1
    }

    /// Whether the BE sends a JSON content type (since about 3.4).
    pub fn sends_content_type(self) -> bool {
        self >= Release::V3_5
    }

    /// Whether `prepare` takes `prepared_timeout` (since 3.5.4).
    pub fn has_prepared_timeout(self) -> bool {
        self >= Release::V3_5
    }

    /// Whether transactions over several tables exist (since 4.0).
    pub fn has_multi_table_transactions(self) -> bool {
        self >= Release::V4_1
    }
}

impl std::str::FromStr for Release {
    type Err = String;

    fn from_str(text: &str) -> Result<Release, String> {
        match text {
            "3.3" => Ok(Release::V3_3),
            "3.5" => Ok(Release::V3_5),
            "4.1" => Ok(Release::V4_1),
            other => Err(format!("{other:?} is not one of 3.3, 3.5, 4.1")),
        }
    }
}

/// Everything that can be set. Defaults are StarRocks' own, but for the user's password, which is empty as there.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The release imitated.
    pub release: Release,
    /// Shared-data mode: asynchronous ADD COLUMN before 4.1, deletes of a load applied after its upserts.
    pub shared_data: bool,
    /// The one user.
    pub user: String,
    /// Its password.
    pub password: String,
    /// Live backends: what `replication_num` is checked against.
    pub backends: u32,
    /// `default_replication_num`.
    pub default_replication_num: u32,
    /// `label_keep_max_num`: finished transactions kept per database.
    pub label_keep_max_num: usize,
    /// `label_keep_max_second`.
    pub label_keep: Duration,
    /// `transaction_clean_interval_second`: how often old labels are swept.
    pub label_sweep_every: Duration,
    /// `max_running_txn_num_per_db`.
    pub running_txn_max: usize,
    /// `tablet_max_versions`.
    pub tablet_versions_max: u64,
    /// `lake_compaction_score_upper_bound`: the limit of shared-data mode, where versions stand for the score.
    pub compaction_score_max: u64,
    /// How long a committed transaction takes to become visible. A load that runs into its `timeout` meanwhile is
    /// answered `Publish Timeout`.
    pub publish_takes: Duration,
    /// How fast compaction takes versions away again, per second and table.
    pub compacted_versions_per_second: u64,
    /// How long an asynchronous schema change takes, from PENDING to FINISHED.
    pub alter_takes: Duration,
    /// In shared-data mode: rows per memtable flush. Deletes of earlier flushes are applied after all upserts.
    pub flush_rows: usize,
    /// Whether shared-data mode keeps the order of deletes (`lake_enable_pk_preserve_txn_delete_order`).
    pub preserve_delete_order: bool,
    /// `streaming_load_max_mb`, in bytes.
    pub body_bytes_max: u64,
    /// `streaming_load_max_batch_size_mb`, in bytes: JSON bodies by Content-Length.
    pub json_bytes_max: u64,
    /// `stream_load_default_timeout_second`.
    pub load_timeout: Duration,
    /// Whether rows are counted and thrown away.
    pub discard: bool,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            release: Release::V3_5,
            shared_data: false,
            user: "root".to_string(),
            password: String::new(),
            backends: 1,
            default_replication_num: 3,
            label_keep_max_num: 1000,
            label_keep: Duration::from_secs(259_200),
            label_sweep_every: Duration::from_secs(30),
            running_txn_max: 1000,
            tablet_versions_max: 1000,
            compaction_score_max: 2000,
            publish_takes: Duration::ZERO,
            compacted_versions_per_second: 10,
            alter_takes: Duration::from_millis(500),
            flush_rows: 100_000,
            preserve_delete_order: false,
            body_bytes_max: 102_400 << 20,
            json_bytes_max: 100 << 20,
            load_timeout: Duration::from_secs(600),
            discard: false,
        }
    }
}
