//! Every call from a client that is not ours: Python's grpcio with its health, reflection and status packages.

use std::path::{Path, PathBuf};

use sluicegate::model::Stage;
use tokio::process::Command;

use super::running::Running;

async fn run(what: &str, command: &mut Command) -> String {
    let output = command.kill_on_drop(true).output().await.unwrap_or_else(|error| panic!("{what}: {error}"));
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{what} failed ({}):\n{out}\n{err}", output.status);
    out.into_owned()
}

/// A Python with the packages of `tests/clients/requirements.txt`, installed once into cargo's folder for test files.
async fn python() -> PathBuf {
    let requirements = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/requirements.txt");
    let wanted = std::fs::read_to_string(&requirements).expect("the list of packages");
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("grpc-clients");
    let (python, installed) = (folder.join("bin/python"), folder.join("installed.txt"));
    if std::fs::read_to_string(&installed).is_ok_and(|installed| installed == wanted) {
        return python;
    }
    run("making a Python environment (needs python3 with its venv module)", {
        Command::new("python3").args(["-m", "venv", "--clear"]).arg(&folder)
    })
    .await;
    run("installing the Python packages of tests/clients/requirements.txt (needs the package index)", {
        Command::new(&python).args(["-m", "pip", "install", "--quiet", "--requirement"]).arg(&requirements)
    })
    .await;
    std::fs::write(&installed, wanted).expect("a note that it is done");
    python
}

#[tokio::test]
async fn a_python_client_calls_everything() {
    let python = python().await;
    let server = Running::start().await;
    server.stream_one_table();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let script = root.join("tests/clients/grpc_calls.py");
    let out = run("the Python client", {
        Command::new(python).arg(script).arg(server.grpc.to_string()).arg(root.join("proto"))
    })
    .await;
    assert_eq!(out.lines().last(), Some("all calls answered as expected"), "{out}");
    server.meters.engine.stage(Stage::Stopped, "");
    server.end().await;
}
