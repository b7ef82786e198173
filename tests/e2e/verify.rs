//! `sluicegate verify`: what it finds, what it leaves alone, and what it needs for that.

use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use rig::Said;
use tokio::process::Command;

use crate::world::{World, binary};

/// Runs `verify` and reads its peak of resident memory in kB meanwhile.
async fn verify_with_peak(world: &World, arguments: &[&str]) -> (Said, u64) {
    let mut command = Command::new(binary());
    let environment = world.environment().iter().map(|(name, value)| (name, value));
    command.arg("verify").args(arguments).env_clear().envs(environment);
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let status = format!("/proc/{}/status", child.id().unwrap());
    let output = tokio::spawn(child.wait_with_output());
    let mut peak = 0;
    while !output.is_finished() {
        let text = std::fs::read_to_string(&status).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        peak = peak.max(line.and_then(|kb| kb.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let output = output.await.unwrap().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (Said { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }, peak)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_changed_byte_among_a_million_rows_is_found_and_named() {
    let world = World::new("CREATE TABLE t (id bigint PRIMARY KEY, note text, n integer)").await;
    let sidecar = world.streaming().await;
    let start = Instant::now();
    world.sql("INSERT INTO shop.t SELECT n, 'note ' || n, n % 1000 FROM generate_series(1, 1000000) n").await;
    let end = world.wal_end().await;
    world.until(&sidecar, "everything is durable", |status| status.lsn("durable_lsn") >= end).await;
    println!("a million rows replicated in {:?}", start.elapsed());
    let (said, peak) = verify_with_peak(&world, &["shop.t"]).await;
    println!("{}peak {peak} kB", said.stdout);
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(said.stdout.ends_with("\nverified: 1 tables, 1000000 rows equal\n"), "{}", said.stdout);
    world.target("UPDATE shop.t SET note = 'mote 777777' WHERE id = 777777").await;
    let (said, peak) = verify_with_peak(&world, &[]).await;
    println!("{}peak {peak} kB", said.stdout);
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(said.stdout.contains("\n  id=777777  differs in note\n"), "{}", said.stdout);
    assert!(said.stdout.ends_with("\ndifferent: 1 tables, 999999 rows equal, 1 rows differ\n"), "{}", said.stdout);
    assert!(!said.stdout.contains("mote"), "values were not asked for");
    assert!(peak > 0 && peak < 100_000, "memory does not grow with the table: peak {peak} kB");
}
