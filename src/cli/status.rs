//! The status as one screen for a person.

use std::fmt::Write as _;
use std::time::Duration;

use prost_types::Timestamp;

use super::terminal::{Ink, Style, bytes, count, plain, short, time, wrapped};
use crate::grpc::pb::{Lag, Lsn, PipelineState, PipelineStatus, Reason, ReasonClass, TableState, TableStatus};

/// Everything, top to bottom by urgency: state, sides, positions, slot, tables, what is wrong and what to do.
pub(super) fn screen(status: &PipelineStatus, style: Style) -> String {
    let mut out = Screen { text: String::new(), style };
    out.heading(status);
    out.sides(status);
    out.positions(status);
    out.slot(status);
    out.copy(status);
    out.tables(status);
    out.reasons(status);
    out.text
}

/// Name of an enum's value without the prefix that protobuf wants: `STREAMING`.
pub(super) fn bare<'a>(name: &'a str, prefix: &str) -> &'a str {
    name.strip_prefix(prefix).unwrap_or(name)
}

pub(super) fn state_name(state: PipelineState) -> &'static str {
    bare(state.as_str_name(), "PIPELINE_STATE_")
}

pub(super) fn table_state_name(state: TableState) -> &'static str {
    bare(state.as_str_name(), "TABLE_STATE_")
}

pub(super) fn class_name(class: ReasonClass) -> &'static str {
    bare(class.as_str_name(), "REASON_CLASS_")
}

/// Time from one moment to a later one of the same clock; zero if it is not later.
fn between(earlier: &Timestamp, later: &Timestamp) -> Duration {
    let nanos = |t: &Timestamp| i128::from(t.seconds) * 1_000_000_000 + i128::from(t.nanos);
    Duration::from_nanos(u64::try_from((nanos(later) - nanos(earlier)).max(0)).unwrap_or(u64::MAX))
}

struct Screen {
    text: String,
    style: Style,
}

/// Columns of a bar, and the tables that have one, at most.
const BAR: usize = 20;
const COPIES_MAX: usize = 12;

/// `, 3 m 4 s left`, or nothing.
fn left(seconds: Option<u64>) -> String {
    seconds.map_or(String::new(), |seconds| format!(", {} left", time(Duration::from_secs(seconds))))
}

/// Columns of the labels on the left.
const LABEL: usize = 12;

impl Screen {
    fn push(&mut self, text: std::fmt::Arguments<'_>) {
        // Writing to a String cannot fail.
        let _ = self.text.write_fmt(text);
    }

    fn line(&mut self, label: &str, text: &str) {
        let label = self.style.ink(Ink::Strong, &format!("{label:LABEL$}"));
        self.push(format_args!("{label}{text}\n"));
    }

    fn heading(&mut self, status: &PipelineStatus) {
        let style = self.style;
        let ink = match status.state() {
            PipelineState::Streaming | PipelineState::Snapshotting => Ink::Good,
            PipelineState::Blocked => Ink::Bad,
            _ => Ink::Warn,
        };
        let up = age(status, status.started_at.as_ref()).map_or(String::new(), |age| format!("  up {age}"));
        let paused = if status.paused && status.state() != PipelineState::Paused { "  (paused)" } else { "" };
        let name = style.ink(Ink::Strong, &plain(&status.pipeline));
        let state = style.ink(ink, state_name(status.state()));
        self.push(format_args!("{name}  {state}{paused}{up}\n"));
        self.text.push_str(&wrapped(&plain(&status.stage_detail), 0, style.width));
        self.text.push('\n');
    }

    fn sides(&mut self, status: &PipelineStatus) {
        let style = self.style;
        let source = status.source.unwrap_or_default();
        let mut text = match source.connected {
            true => style.ink(Ink::Good, "connected"),
            false => style.ink(Ink::Bad, "not connected"),
        };
        text.push_str(&heard(status, source.last_contact.as_ref()));
        if source.reconnects_total > 0 {
            text.push_str(&format!(", taken up again {} times", count(source.reconnects_total)));
        }
        self.line("PostgreSQL", &text);
        let sink = status.sink.unwrap_or_default();
        let mut text = match (sink.reachable, &sink.last_contact) {
            (true, _) => style.ink(Ink::Good, "reachable"),
            (false, None) => style.ink(Ink::Warn, "not reached yet"),
            (false, Some(_)) => style.ink(Ink::Bad, "not reachable"),
        };
        text.push_str(&heard(status, sink.last_contact.as_ref()));
        if sink.breaker_open {
            text.push_str(&style.ink(Ink::Warn, ", calls pause after failures"));
        }
        self.line("StarRocks", &text);
        let lag = status.lag.unwrap_or_default();
        let waiting = count(status.pending_events);
        let rate = count(status.events_per_second.max(0.0).round() as u64);
        let behind = time(Duration::try_from_secs_f64(lag.seconds).unwrap_or_default());
        self.line("Lag", &format!("{behind}, {} of WAL", bytes(lag.durable_bytes)));
        self.line("Rows", &format!("{rate} a second, {waiting} on their way, {} loaded", count(status.rows_durable)));
        let memory = status.memory.unwrap_or_default();
        let mut text = format!("{} of {} in use", bytes(memory.used_bytes), bytes(memory.budget_bytes));
        if memory.resident_bytes > 0 {
            text.push_str(&format!(", process {}", bytes(memory.resident_bytes)));
        }
        self.line("Memory", &text);
        if let Some(flush) = status.flush {
            let pause = time(Duration::from_millis(flush.interval_ms));
            self.line("Flush", &format!("every {pause} at most, up to {} rows", count(flush.rows_max)));
        }
        self.text.push('\n');
    }

    fn positions(&mut self, status: &PipelineStatus) {
        let Lag { received_bytes, durable_bytes, confirmed_bytes, .. } = status.lag.unwrap_or_default();
        let stored = match (&status.server_lsn, &status.checkpoint_lsn) {
            (Some(server), Some(stored)) => server.value.saturating_sub(stored.value),
            _ => 0,
        };
        let rows: [(&str, &Option<Lsn>, Option<u64>, &str); 5] = [
            ("server", &status.server_lsn, None, "end of the server's WAL"),
            ("received", &status.current_lsn, Some(received_bytes), "read by us"),
            ("durable", &status.durable_lsn, Some(durable_bytes), "loaded into StarRocks"),
            ("checkpoint", &status.checkpoint_lsn, Some(stored), "where a restart resumes"),
            ("confirmed", &status.confirmed_lsn, Some(confirmed_bytes), "told to the server"),
        ];
        let title = self.style.ink(Ink::Strong, "Position");
        self.push(format_args!("{title}\n"));
        for (name, lsn, behind, meaning) in rows {
            let text = lsn.as_ref().map_or("-", |lsn| lsn.text.as_str());
            let behind = match behind.filter(|_| lsn.is_some()) {
                None => String::new(),
                Some(0) => bytes(0),
                Some(n) => format!("-{}", bytes(n)),
            };
            let meaning = self.style.ink(Ink::Faint, meaning);
            self.push(format_args!("  {name:12}{:>17}  {behind:>10}  {meaning}\n", plain(text)));
        }
        self.text.push('\n');
    }

    fn slot(&mut self, status: &PipelineStatus) {
        let style = self.style;
        let name = plain(&status.slot_name);
        let Some(slot) = &status.slot else {
            self.line("Slot", &format!("{name}, not looked at yet"));
            return self.text.push('\n');
        };
        let ink = match slot.wal_status.as_str() {
            "reserved" | "extended" => Ink::Good,
            _ => Ink::Bad,
        };
        let wal = style.ink(ink, &plain(&slot.wal_status));
        let used = if slot.active { "in use" } else { "not in use" };
        self.line("Slot", &format!("{name}: {wal}, {used}; publication {}", plain(&status.publication_name)));
        let room = match slot.safe_bytes {
            None => "no limit is set".to_owned(),
            Some(left) if left <= 0 => style.ink(Ink::Bad, "over its limit"),
            Some(left) => format!("{} left before it is in danger", bytes(left.unsigned_abs())),
        };
        self.line("", &format!("holds back {} of WAL, {room}", bytes(slot.retained_bytes)));
        self.text.push('\n');
    }

    /// The copy of existing rows, as long as there is one: a line for all and a bar for each table under way.
    fn copy(&mut self, status: &PipelineStatus) {
        let copying = |table: &&TableStatus| matches!(table.state(), TableState::Copying | TableState::Repairing);
        if !status.snapshot_active && !status.tables.iter().any(|table| copying(&table)) {
            return;
        }
        let (rows, rate) = (count(status.snapshot_rows_synced), bytes(status.snapshot_bytes_per_second));
        let mut text = format!("{rows} rows, {}", bytes(status.snapshot_bytes_synced));
        if status.snapshot_paused {
            text.push_str(&self.style.ink(Ink::Warn, ", paused"));
        } else {
            text.push_str(&format!("; {} rows, {rate} a second", count(status.snapshot_rows_per_second)));
            text.push_str(&left(status.snapshot_seconds_left));
        }
        self.line("Snapshot", &text);
        let mut under_way: Vec<&TableStatus> = status.tables.iter().filter(copying).collect();
        under_way.sort_by_key(|table| std::cmp::Reverse(table.snapshot_permille));
        let rest = under_way.len().saturating_sub(COPIES_MAX);
        under_way.into_iter().take(COPIES_MAX).for_each(|table| self.bar(table));
        if rest > 0 {
            self.push(format_args!("  and {} more\n", count(rest as u64)));
        }
        self.text.push('\n');
    }

    fn bar(&mut self, table: &TableStatus) {
        let name = short(&plain(&table.table_name), 22);
        let full = (table.snapshot_permille as usize * BAR / 1000).min(BAR);
        let bar = format!("{}{}", "█".repeat(full), "░".repeat(BAR - full));
        let bar = self.style.ink(Ink::Good, &bar);
        let percent = table.snapshot_permille / 10;
        let chunks = format!("{}/{}", count(table.snapshot_chunks_done), count(table.snapshot_chunks_total));
        let waiting = match (table.state(), table.snapshot_repairs_waiting) {
            (TableState::Repairing, n) if n > 0 => format!("{} rows again", count(n)),
            _ => left(table.snapshot_seconds_left).trim_start_matches(", ").to_owned(),
        };
        self.push(format_args!("  {name:22} {bar} {percent:>3} %  {chunks:>9}  {waiting}\n"));
    }

    fn tables(&mut self, status: &PipelineStatus) {
        if status.tables.is_empty() {
            self.line("Tables", "none yet");
            return self.text.push('\n');
        }
        // The other columns take 53.
        let width = self.style.width - 53;
        let title = format!("Tables ({})", count(status.tables.len() as u64));
        let head = format!(
            "{title:width$}{:>11}{:>11}{:>10}{:>11}{:>10}",
            "inserted", "updated", "deleted", "loaded", "last load"
        );
        let head = self.style.ink(Ink::Strong, &head);
        self.push(format_args!("{head}\n"));
        for table in &status.tables {
            self.table(status, table, width);
        }
        self.text.push('\n');
    }

    fn table(&mut self, status: &PipelineStatus, table: &TableStatus, width: usize) {
        let (source, target) = (plain(&table.table_name), plain(&table.target));
        let own_name = source.split_once('.').map_or(source.as_str(), |(_, name)| name);
        let name = if own_name == target { source.clone() } else { format!("{source} => {target}") };
        let name = short(&name, width - 3);
        let [inserted, updated, deleted, loaded] =
            [table.rows_inserted, table.rows_updated, table.rows_deleted, table.rows_loaded].map(count);
        let last = age(status, table.last_load.as_ref()).unwrap_or_else(|| "-".to_owned());
        let row = format!("  {name:w$}{inserted:>11}{updated:>11}{deleted:>10}{loaded:>11}{last:>10}", w = width - 2);
        let state = table_state_name(table.state());
        match table.state() {
            TableState::Streaming => self.push(format_args!("{row}\n")),
            TableState::Blocked => {
                let state = self.style.ink(Ink::Bad, state);
                self.push(format_args!("{row}\n    {state}\n"));
            }
            _ => {
                let state = self.style.ink(Ink::Warn, state);
                self.push(format_args!("{row}\n    {state}\n"));
            }
        }
        if !table.values_changed.is_empty() {
            let kinds = table
                .values_changed
                .iter()
                .map(|kind| format!("{} {} ({})", count(kind.values), plain(&kind.class), plain(&kind.policy)));
            let line = format!("values changed: {}", kinds.collect::<Vec<_>>().join(", "));
            self.text.push_str(&wrapped(&line, 4, self.style.width));
        }
    }

    fn reasons(&mut self, status: &PipelineStatus) {
        if status.reasons.is_empty() {
            let fine = self.style.ink(Ink::Good, "nothing is wrong");
            return self.push(format_args!("{fine}\n"));
        }
        status.reasons.iter().for_each(|reason| self.reason(status, reason));
    }

    fn reason(&mut self, status: &PipelineStatus, reason: &Reason) {
        let style = self.style;
        let (ink, turn) = match reason.class() {
            ReasonClass::Retry => (Ink::Warn, "tried again by itself"),
            _ => (Ink::Bad, "needs you"),
        };
        let object = if reason.object.is_empty() { String::new() } else { format!(" {}", plain(&reason.object)) };
        let since = age(status, reason.first_seen.as_ref()).map_or(String::new(), |age| format!(", for {age}"));
        let times = if reason.count > 1 { format!(", {} times", count(reason.count)) } else { String::new() };
        let code = style.ink(ink, &plain(&reason.code));
        self.push(format_args!("{code}{object}: {turn}{since}{times}\n"));
        self.text.push_str(&wrapped(&plain(&reason.message), 2, style.width));
        if !reason.remedy.is_empty() {
            self.text.push_str(&wrapped(&format!("To do: {}", plain(&reason.remedy)), 2, style.width));
        }
        for line in reason.sql.lines() {
            self.push(format_args!("    {}\n", plain(line)));
        }
    }
}

/// How long before the status was taken something was; the process's clock is on both ends.
fn age(status: &PipelineStatus, moment: Option<&Timestamp>) -> Option<String> {
    Some(time(between(moment?, status.taken_at.as_ref()?)))
}

fn heard(status: &PipelineStatus, last: Option<&Timestamp>) -> String {
    age(status, last).map_or(String::new(), |age| format!(", last heard {age} ago"))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::grpc::pb::{FlushSettings, Memory, Sink, Slot, Source, Stage, ValuesChanged};

    /// A status with something in every field.
    pub(in crate::cli) fn full() -> PipelineStatus {
        let at = |seconds: i64| Some(Timestamp { seconds: 1_700_000_000 + seconds, nanos: 0 });
        let lsn = |value: u64| Some(Lsn { text: format!("{:X}/{:X}", value >> 32, value & 0xFFFF_FFFF), value });
        let table = |name: &str, target: &str, state: TableState| TableStatus {
            table_name: name.into(),
            target: target.into(),
            state: state.into(),
            rows_inserted: 1_234_567,
            rows_updated: 89,
            rows_deleted: 7,
            loads: 3,
            rows_loaded: 1_234_600,
            durable_lsn: lsn(0x1F0_0000),
            last_load: at(-2),
            ..TableStatus::default()
        };
        let changed =
            |class: &str, policy: &str, values| ValuesChanged { class: class.into(), policy: policy.into(), values };
        PipelineStatus {
            pipeline: "shop".into(),
            taken_at: at(0),
            started_at: at(-7_980),
            state: PipelineState::Streaming.into(),
            stage: Stage::Cdc.into(),
            stage_detail: "changes flow".into(),
            generation: 2,
            current_lsn: lsn(0x1F1_2728),
            server_lsn: lsn(0x1F1_2800),
            durable_lsn: lsn(0x1F1_2000),
            checkpoint_lsn: lsn(0x1F1_1000),
            confirmed_lsn: lsn(0x1F1_1000),
            pending_events: 512,
            events_per_second: 1_234.4,
            rows_received: 2_000_512,
            rows_durable: 2_000_000,
            slot_name: "shop_slot".into(),
            publication_name: "shop_pub".into(),
            slot: Some(Slot {
                wal_status: "reserved".into(),
                active: true,
                restart_lsn: lsn(0x1F0_0000),
                confirmed_lsn: lsn(0x1F1_1000),
                retained_bytes: 75_776,
                safe_bytes: Some(10 << 30),
            }),
            lag: Some(Lag { received_bytes: 216, durable_bytes: 2_048, confirmed_bytes: 6_144, seconds: 0.42 }),
            source: Some(Source { connected: true, last_contact: at(0), reconnects_total: 3 }),
            sink: Some(Sink { reachable: true, last_contact: at(-1), breaker_open: false }),
            memory: Some(Memory { used_bytes: 12 << 20, budget_bytes: 64 << 20, resident_bytes: 31 << 20 }),
            flush: Some(FlushSettings { rows_max: 500_000, interval_ms: 1_000 }),
            tables: vec![
                table("shop.orders", "orders", TableState::Streaming),
                TableStatus {
                    values_changed: vec![changed("date_range", "null", 1_200), changed("json_number", "text", 1)],
                    ..table("shop.a_table_with_a_long_name", "other", TableState::Blocked)
                },
            ],
            reasons: vec![Reason {
                code: "VALUE_DOES_NOT_FIT".into(),
                class: ReasonClass::Wait.into(),
                object: "shop.a_table_with_a_long_name".into(),
                message: "column note holds 300 bytes, its target column 255".into(),
                remedy: "widen the column in StarRocks; the table goes on by itself".into(),
                sql: "ALTER TABLE other\n  MODIFY COLUMN note VARCHAR(1024);".into(),
                first_seen: at(-184),
                last_seen: at(-4),
                count: 12,
            }],
            ..PipelineStatus::default()
        }
    }

    const PLAIN: Style = Style { colour: false, width: 80 };

    #[test]
    fn everything_fits_on_one_screen() {
        let want = "\
shop  STREAMING  up 2 h 13 m
changes flow

PostgreSQL  connected, last heard 0.0 s ago, taken up again 3 times
StarRocks   reachable, last heard 1.0 s ago
Lag         0.4 s, 2.0 KiB of WAL
Rows        1,234 a second, 512 on their way, 2,000,000 loaded
Memory      12 MiB of 64 MiB in use, process 31 MiB
Flush       every 1.0 s at most, up to 500,000 rows

Position
  server              0/1F12800              end of the server's WAL
  received            0/1F12728      -216 B  read by us
  durable             0/1F12000    -2.0 KiB  loaded into StarRocks
  checkpoint          0/1F11000    -6.0 KiB  where a restart resumes
  confirmed           0/1F11000    -6.0 KiB  told to the server

Slot        shop_slot: reserved, in use; publication shop_pub
            holds back 74 KiB of WAL, 10 GiB left before it is in danger

Tables (2)                    inserted    updated   deleted     loaded last load
  shop.orders                1,234,567         89         7  1,234,600     2.0 s
  shop.a_table_with_a_lon…   1,234,567         89         7  1,234,600     2.0 s
    BLOCKED
    values changed: 1,200 date_range (null), 1 json_number (text)

VALUE_DOES_NOT_FIT shop.a_table_with_a_long_name: needs you, for 3 m 4 s, 12 times
  column note holds 300 bytes, its target column 255
  To do: widen the column in StarRocks; the table goes on by itself
    ALTER TABLE other
      MODIFY COLUMN note VARCHAR(1024);
";
        assert_eq!(screen(&full(), PLAIN), want);
    }

    #[test]
    fn a_copy_is_shown_with_a_bar_for_each_table() {
        let mut status = full();
        status.snapshot_active = true;
        (status.snapshot_rows_synced, status.snapshot_bytes_synced) = (1_500_000, 300 << 20);
        (status.snapshot_rows_per_second, status.snapshot_bytes_per_second) = (45_000, 9 << 20);
        status.snapshot_seconds_left = Some(95);
        let [first, second] = &mut status.tables[..] else { panic!("two tables") };
        first.set_state(TableState::Copying);
        (first.snapshot_permille, first.snapshot_chunks_done, first.snapshot_chunks_total) = (505, 31, 60);
        first.snapshot_seconds_left = Some(95);
        second.set_state(TableState::Repairing);
        (second.snapshot_permille, second.snapshot_chunks_done, second.snapshot_chunks_total) = (1000, 7, 7);
        second.snapshot_repairs_waiting = 1_024;
        let text = screen(&status, PLAIN);
        let want = "\
Snapshot    1,500,000 rows, 300 MiB; 45,000 rows, 9.0 MiB a second, 1 m 35 s left
  shop.a_table_with_a_l… ████████████████████ 100 %        7/7  1,024 rows again
  shop.orders            ██████████░░░░░░░░░░  50 %      31/60  1 m 35 s left

";
        assert!(text.contains(want), "{text}");
        status.snapshot_paused = true;
        assert!(screen(&status, PLAIN).contains("300 MiB, paused\n"));
        let fits = |line: &str| line.chars().count() <= 80;
        assert!(want.lines().skip(1).all(fits), "{want}");
    }

    #[test]
    fn a_process_that_has_just_started_is_shown_too() {
        let text = screen(&PipelineStatus { pipeline: "p".into(), ..PipelineStatus::default() }, PLAIN);
        for want in ["not connected", "not reached yet", "not looked at yet", "none yet", "nothing is wrong"] {
            assert!(text.contains(want), "{want}: {text}");
        }
    }

    #[test]
    fn colours_come_only_where_wanted_and_text_cannot_bring_its_own() {
        let mut status = full();
        status.tables[0].table_name = "shop.\u{1b}[2J".into();
        status.reasons[0].sql = "\u{1b}[2J".into();
        status.stage_detail = "\u{1b}]0;title\u{7}".into();
        assert!(!screen(&status, PLAIN).contains('\u{1b}'));
        let coloured = screen(&status, Style { colour: true, width: 120 });
        assert!(coloured.contains("\u{1b}[32mSTREAMING\u{1b}[0m"), "{coloured}");
        assert!(!coloured.contains("\u{1b}[2J") && !coloured.contains("\u{1b}]"));
    }
}
