#!/usr/bin/env bash
# Shows Sluicegate at work: a private PostgreSQL, the StarRocks stand-in, traffic, and a comparison at the end.
#   scripts/demo.sh [--seconds N]     without --seconds it runs until Ctrl-C
# Needs Debian or Ubuntu with Rust; installs what else is missing. Everything runs on loopback in a temporary folder
# and is gone at the end.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/install.sh

need_rust
need_postgres
say "building (the first time takes a few minutes)"
cargo build --locked --quiet --workspace --bins
exec target/debug/sluicegate-demo "$@"
