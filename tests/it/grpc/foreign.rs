//! Every call from a client that is not ours: Python's grpcio with its health, reflection and status packages.

use std::path::{Path, PathBuf};

use sluicegate::model::Stage;
use tokio::process::Command;

use super::running::Running;

async fn run(what: &str, program: &Path, arguments: &[&Path]) -> String {
    let output = Command::new(program).args(arguments).kill_on_drop(true).output().await;
    let output = output.unwrap_or_else(|error| panic!("{what}: {}: {error}", program.display()));
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
    let what = "making a Python environment (needs python3 with its venv module)";
    run(what, "python3".as_ref(), &["-m".as_ref(), "venv".as_ref(), "--clear".as_ref(), &folder]).await;
    let what = "installing the Python packages of tests/clients/requirements.txt (needs the package index)";
    let arguments = ["-m", "pip", "install", "--quiet", "--requirement"].map(Path::new);
    run(what, &python, &[&arguments[..], &[&requirements]].concat()).await;
    std::fs::write(&installed, wanted).expect("a note that it is done");
    python
}

#[tokio::test]
async fn a_python_client_calls_everything() {
    let python = python().await;
    let server = Running::start().await;
    server.stream_one_table();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let addr = server.grpc.to_string();
    let arguments = [&root.join("tests/clients/grpc_calls.py"), Path::new(&addr), &root.join("proto")];
    let out = run("the Python client", &python, &arguments).await;
    assert_eq!(out.lines().last(), Some("all calls answered as expected"), "{out}");
    server.meters.engine.stage(Stage::Stopped, "");
    server.end().await;
}
