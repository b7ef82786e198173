#!/bin/sh
# Runs clients that were not written here against the server SQL_HOST:SQL_PORT, logged in as SQL_USER with
# SQL_PASSWORD: the Debian mariadb command-line client, Python's pymysql, and the starrocks dialect of SQLAlchemy.
# Installs what is missing: mariadb-client by apt-get, the Python packages into a virtual environment in a temporary
# folder that later runs use again. Says "all clients done" at the end and nowhere else.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
environment="${TMPDIR:-/tmp}/starrocks-standin-clients"

fail() {
    echo "clients/run.sh: $*" >&2
    exit 1
}

if ! command -v mariadb >/dev/null 2>&1; then
    { apt-get update && apt-get install -y mariadb-client; } >&2 \
        || fail "the mariadb client is missing and apt-get cannot install it (network, or not root)"
fi

if ! "$environment/bin/python" -c 'import pymysql, sqlalchemy, starrocks' 2>/dev/null; then
    rm -rf "$environment"
    python3 -m venv "$environment" >&2 || fail "python3 -m venv failed (package python3-venv)"
    "$environment/bin/pip" install --quiet --disable-pip-version-check pymysql sqlalchemy starrocks >&2 \
        || fail "pymysql, sqlalchemy and starrocks are missing and pip cannot install them (network)"
fi

sh "$here/mariadb.sh" || fail "mariadb.sh failed"
"$environment/bin/python" "$here/python_clients.py" || fail "python_clients.py failed"
echo "all clients done"
