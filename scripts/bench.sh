#!/usr/bin/env bash
# How fast Sluicegate is beside pg_recvlogical and COPY, on this machine.
#   scripts/bench.sh --quick           less than three minutes besides the build
#   scripts/bench.sh                   about twenty minutes
#   scripts/bench.sh --only snapshot   one section: drain, latency, snapshot, sweep, memory or fleet
#   scripts/bench.sh --write-docs      the same, and docs/performance.md from it
#   scripts/bench.sh --instructions    instructions per row of decoder, collapse and encoder, which load does not change
#   scripts/bench.sh --help            everything else
# Needs Debian or Ubuntu with Rust; installs what else is missing. Everything runs on loopback in a temporary folder
# and is gone at the end; results and a plot stay in target/bench.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/install.sh

# Counts the instructions of each step of benches/hot_path.rs by callgrind, which runs every benchmark once.
instructions() {
  need_rust
  need valgrind valgrind
  say "building (the first time takes several minutes)"
  cargo rustc --locked --quiet --release --features bench --bench hot_path -- -C strip=none
  local binary step shape counted rows=10000
  binary="$(ls -t "${CARGO_TARGET_DIR:-target}"/release/deps/hot_path-* | grep -v '\.d$' | head -n 1)"
  printf '%-10s %-8s %s\n' step row instructions
  for step in decode collapse encode; do
    for shape in Narrow Wide; do
      counted="$(valgrind --tool=callgrind --callgrind-out-file=/dev/null --collect-atstart=no \
        --toggle-collect="*step_$step*" "$binary" --test "${step}_rows::$shape" 2>&1 |
        awk '/Collected/ { print $NF }')"
      [ -n "$counted" ] && [ "$counted" -gt 0 ] || fail "callgrind counted nothing for $step of $shape rows"
      printf '%-10s %-8s %d\n' "$step" "$shape" $((counted / rows))
    done
  done
}

if [ "${1:-}" = --instructions ]; then
  instructions
  exit
fi

need_rust
need_postgres
say "building (the first time takes several minutes)"
cargo build --locked --quiet --release --workspace --bins
exec "${CARGO_TARGET_DIR:-target}/release/sluicegate-bench" "$@"
