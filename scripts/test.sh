#!/usr/bin/env bash
# Everything CI runs: formatting, lints, tests (end-to-end ones too), documentation, container files.
# Needs Debian or Ubuntu with Rust; installs what else is missing.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/install.sh

need_rust
need_postgres
need curl curl
need openssl openssl
need python3 python3
python3 -c 'import venv, ensurepip' 2>/dev/null || apt_install python3-venv
need mariadb mariadb-client

say "formatting"
cargo fmt --all --check
say "lints"
cargo clippy --locked --workspace --all-targets --all-features -- -D warnings
say "tests"
cargo test --locked --workspace --all-features
say "documentation"
RUSTDOCFLAGS="-D warnings" cargo doc --locked --workspace --no-deps --all-features
say "container files"
scripts/check-containers.sh
say "all passed"
