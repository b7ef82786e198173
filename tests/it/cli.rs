//! The real binary without databases: what it says, and its exit codes.

use std::collections::BTreeMap;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use rig::{Sidecar, free_port};

const CANARY: &str = "c4n4ry-5ecret";

fn binary() -> &'static std::path::Path {
    env!("CARGO_BIN_EXE_sluicegate").as_ref()
}

fn run(arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    Command::new(binary()).args(arguments).env_clear().envs(environment.iter().copied()).output().unwrap()
}

/// What was written to standard output and standard error.
fn said(output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (text(&output.stdout), text(&output.stderr))
}

/// Settings of which everything works but the databases, which nothing answers for.
fn without_databases() -> Vec<(String, String)> {
    let port = || free_port().unwrap();
    [
        ("SOURCE_URL", format!("postgres://app:{CANARY}@127.0.0.1:{}/shop", port())),
        ("SINK_URL", format!("starrocks://loader:{CANARY}@127.0.0.1:{}/shop?sql_port={}", port(), port())),
        ("TABLES", "orders".to_owned()),
        ("GRPC_ADDR", format!("127.0.0.1:{}", port())),
        ("METRICS_ADDR", format!("127.0.0.1:{}", port())),
        ("SHUTDOWN_GRACE", "1s".to_owned()),
        ("LOG", "debug".to_owned()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into()
}

#[test]
fn wrong_settings_are_told_at_once_with_78() {
    let environment =
        [("SOURCE_URL", "postgres://app:c4n4ry-5ecret@pg:0/x"), ("FLUSH_SIZE", "10k"), ("SINK_PASSWROD", CANARY)];
    for arguments in [&[][..], &["run"], &["check"], &["verify"], &["config"], &["config", "--format", "json"]] {
        let output = run(arguments, &environment);
        let (stdout, stderr) = said(&output);
        assert_eq!(output.status.code(), Some(78), "{arguments:?} {stderr}");
        assert_eq!(stdout, "", "{arguments:?}");
        for want in [
            "SOURCE_URL ",
            "TABLES is not set",
            "SINK_URL is not set",
            "FLUSH_SIZE=\"10k\"",
            "did you mean SINK_PASSWORD?",
        ] {
            assert!(stderr.contains(want), "{arguments:?}: {want} in {stderr}");
        }
        assert!(!stderr.contains(CANARY), "{stderr}");
    }
}

#[test]
fn help_and_version_need_no_settings_and_wrong_usage_is_2() {
    for arguments in [&["--help"][..], &["-h"], &["status", "--help"]] {
        let output = run(arguments, &[]);
        assert_eq!((output.status.code(), said(&output).1.as_str()), (Some(0), ""), "{arguments:?}");
    }
    let (version, _) = said(&run(&["--version"], &[]));
    assert!(version.starts_with(concat!("sluicegate ", env!("CARGO_PKG_VERSION"))), "{version}");
    for arguments in [&["halt"][..], &["status", "--addr", "nowhere"], &["config", "--format", "xml"]] {
        assert_eq!(run(arguments, &[]).status.code(), Some(2), "{arguments:?}");
    }
}

#[test]
fn what_config_shows_as_env_starts_the_same_settings() {
    let environment = without_databases();
    let pairs: Vec<(&str, &str)> = environment.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let (lines, _) = said(&run(&["config", "--format", "env"], &pairs));
    assert!(!lines.contains(CANARY) && lines.contains("# SINK_PASSWORD=***\n"), "{lines}");
    let again: Vec<(&str, &str)> = lines
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| line.split_once('=').unwrap())
        .map(|(name, value)| (name, value.trim_matches('\'')))
        .collect();
    let without_comments =
        |text: &str| text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect::<Vec<_>>();
    let (lines_again, stderr) = said(&run(&["config", "--format", "env"], &again));
    assert_eq!(without_comments(&lines_again), without_comments(&lines), "{stderr}");
}

#[test]
fn check_finds_both_sides_missing_and_never_tells_a_password() {
    let environment = without_databases();
    let pairs: Vec<(&str, &str)> = environment.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    for arguments in [&["check"][..], &["check", "--json"]] {
        let output = run(arguments, &pairs);
        let (stdout, stderr) = said(&output);
        assert_eq!((output.status.code(), stderr.as_str()), (Some(1), ""), "{arguments:?}");
        assert!(stdout.contains("SOURCE_UNREACHABLE") && stdout.contains("SINK_UNREACHABLE"), "{stdout}");
        assert!(!stdout.contains(CANARY), "{stdout}");
    }
}

#[test]
fn verify_without_databases_could_not_compare_and_never_tells_a_password() {
    let environment = without_databases();
    let pairs: Vec<(&str, &str)> = environment.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    for (arguments, code, says) in [
        (&["verify"][..], 3, "SOURCE_UNREACHABLE"),
        (&["verify", "--json"], 3, "SOURCE_UNREACHABLE"),
        (&["verify", "a.b.c"], 2, "VERIFY_TABLES"),
        (&["verify", "--timeout", "soon"], 2, "--timeout"),
    ] {
        let output = run(arguments, &pairs);
        let (stdout, stderr) = said(&output);
        assert_eq!((output.status.code(), stdout.as_str()), (Some(code), ""), "{arguments:?}");
        assert!(stderr.contains(says) && !stderr.contains(CANARY), "{stderr}");
    }
}

#[test]
fn a_port_in_use_is_a_wrong_setting() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let mut environment = without_databases();
    environment.retain(|(name, _)| name != "GRPC_ADDR");
    let addr = format!("127.0.0.1:{port}");
    environment.push(("GRPC_ADDR".to_owned(), addr.clone()));
    let pairs: Vec<(&str, &str)> = environment.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let output = run(&[], &pairs);
    let (_, stderr) = said(&output);
    assert_eq!(output.status.code(), Some(78), "{stderr}");
    assert!(stderr.contains(&addr) && stderr.contains("GRPC_ADDR"), "{stderr}");
}

#[test]
fn without_databases_it_answers_obeys_and_stops() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    let mut sidecar = Sidecar::start(binary(), &without_databases(), &log).unwrap();
    let deadline = Instant::now() + Duration::from_secs(30);
    while sidecar.command(&["health", "--service", "startup"]).unwrap().0 != Some(0) {
        assert!(Instant::now() < deadline, "it never answers: {}", std::fs::read_to_string(&log).unwrap());
    }
    let cases: &[(&[&str], i32, &str)] = &[
        (&["health"], 0, "SERVING"),
        (&["health", "--service", "replication"], 1, "NOT_SERVING"),
        (&["health", "--service", "no such"], 2, "knows no health service"),
        (&["status"], 0, "not connected"),
        (&["status", "--json"], 0, "\"stage\":\"SETUP\""),
        // Setup has not read yet whether it was paused before.
        (&["pause"], 1, "TOO_EARLY"),
        (&["resume"], 1, "TOO_EARLY"),
    ];
    for (arguments, code, want) in cases {
        let (found, text) = sidecar.command(arguments).unwrap();
        assert_eq!(found, Some(*code), "{arguments:?}: {text}");
        assert!(text.contains(want), "{arguments:?}: {want} in {text}");
    }
    let (code, text) = sidecar.command(&["stop"]).unwrap();
    assert_eq!(code, Some(0), "{text}");
    let ended = sidecar.wait(Duration::from_secs(20)).unwrap().expect("it ends");
    let log = std::fs::read_to_string(&log).unwrap();
    assert_eq!(ended.code(), Some(0), "{log}");
    assert!(!log.contains(CANARY), "{log}");
    for line in log.lines() {
        let fields: BTreeMap<String, sonic_rs::Value> = sonic_rs::from_str(line).unwrap_or_else(|_| panic!("{line}"));
        assert!(fields.contains_key("timestamp") && fields.contains_key("level"), "{line}");
        assert!(fields.keys().all(|name| line.matches(&format!("\"{name}\":")).count() == 1), "a field twice: {line}");
    }
}

#[test]
fn a_signal_ends_it_too() {
    for signal in ["TERM", "INT"] {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        let mut sidecar = Sidecar::start(binary(), &without_databases(), &log).unwrap();
        let deadline = Instant::now() + Duration::from_secs(30);
        while sidecar.command(&["health"]).unwrap().0 != Some(0) {
            assert!(Instant::now() < deadline, "it never answers: {}", std::fs::read_to_string(&log).unwrap());
        }
        sidecar.signal(signal).unwrap();
        let ended = sidecar.wait(Duration::from_secs(20)).unwrap().expect("it ends");
        assert_eq!(ended.code(), Some(0), "{signal}: {}", std::fs::read_to_string(&log).unwrap());
    }
}
