# Sourced by demo.sh and test.sh: installs what is missing on Debian and Ubuntu, and says what it does.

say() { printf '\033[1m==>\033[0m %s\n' "$*"; }
fail() { printf 'error: %s\n' "$*" >&2; exit 1; }

as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"; elif command -v sudo >/dev/null; then sudo "$@"; else
    fail "need root to run: $* (install it yourself, or install sudo)"
  fi
}

apt_updated=no
apt_install() {
  command -v apt-get >/dev/null || fail "missing: $*. Install them with your package manager and run this again."
  if [ "$apt_updated" = no ]; then
    as_root apt-get update -qq
    apt_updated=yes
  fi
  say "installing $*"
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null
}

# need COMMAND PACKAGE: the package if the command is missing.
need() { command -v "$1" >/dev/null || apt_install "$2"; }

need_postgres() {
  if [ -n "${PG_BIN:-}" ] || compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null || command -v initdb >/dev/null; then
    return
  fi
  # The package would start a server of its own; none is wanted.
  as_root mkdir -p /etc/postgresql-common
  [ -e /etc/postgresql-common/createcluster.conf ] ||
    printf 'create_main_cluster = false\nstart_conf = manual\n' | as_root tee /etc/postgresql-common/createcluster.conf >/dev/null
  apt_install postgresql
}

need_rust() {
  command -v cargo >/dev/null || [ ! -e "$HOME/.cargo/env" ] || . "$HOME/.cargo/env"
  command -v cargo >/dev/null || fail "Rust is missing. Install it with rustup (see rust-lang.org), then run this again."
  need cc gcc
  need make make
  need pkg-config pkg-config
}
