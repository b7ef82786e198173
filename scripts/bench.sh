#!/usr/bin/env bash
# How fast Sluicegate is beside pg_recvlogical, on this machine.
#   scripts/bench.sh --quick           less than three minutes besides the build
#   scripts/bench.sh                   about a quarter of an hour
#   scripts/bench.sh --write-docs      the same, and docs/performance.md from it
#   scripts/bench.sh --help            everything else
# Needs Debian or Ubuntu with Rust; installs what else is missing. Everything runs on loopback in a temporary folder
# and is gone at the end; results and a plot stay in target/bench.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/install.sh

need_rust
need_postgres
say "building (the first time takes several minutes)"
cargo build --locked --quiet --release --workspace --bins
exec "${CARGO_TARGET_DIR:-target}/release/sluicegate-bench" "$@"
