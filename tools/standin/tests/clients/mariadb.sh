#!/bin/sh
# The mariadb command-line client: connect, CREATE, ALTER, DESC, SHOW, SELECT, and the exit code of a refusal.
set -eu

database="mariadb_$$"

# Statements in, tab-separated rows without labels out.
sql() {
    mariadb --host="$SQL_HOST" --port="$SQL_PORT" --protocol=tcp --user="$SQL_USER" --password="$SQL_PASSWORD" \
        --batch --skip-column-names "$@"
}

# check NAME WANTED FOUND
check() {
    if [ "$2" != "$3" ]; then
        printf 'mariadb: %s\nwanted:\n%s\nfound:\n%s\n' "$1" "$2" "$3" >&2
        exit 1
    fi
    echo "mariadb: $1"
}

tab=$(printf '\t')

sql -e "CREATE DATABASE $database"
check "SHOW DATABASES" "$database" "$(sql -e "SHOW DATABASES LIKE '$database'")"

sql "$database" <<SQL
CREATE TABLE t (
  id BIGINT NOT NULL COMMENT "key",
  name VARCHAR(100) NULL,
  price DECIMAL(38, 9) NULL,
  seen DATETIME NULL
) ENGINE=OLAP
PRIMARY KEY (id)
DISTRIBUTED BY HASH(id) BUCKETS 2
PROPERTIES ("replication_num" = "1");
INSERT INTO t VALUES (1, 'one', 1.5, '2024-01-01 00:00:00.25'), (2, NULL, NULL, NULL);
ALTER TABLE t ADD COLUMN note STRING NULL DEFAULT "none";
SQL

check "DESC" "id${tab}bigint${tab}NO${tab}true${tab}NULL${tab}
name${tab}varchar(100)${tab}YES${tab}false${tab}NULL${tab}
price${tab}decimal(38,9)${tab}YES${tab}false${tab}NULL${tab}
seen${tab}datetime${tab}YES${tab}false${tab}NULL${tab}
note${tab}varchar(65533)${tab}YES${tab}false${tab}none${tab}" "$(sql "$database" -e 'DESC t')"

check "SELECT" "1${tab}one${tab}1.500000000${tab}2024-01-01 00:00:00.250000${tab}none
2${tab}NULL${tab}NULL${tab}NULL${tab}none" "$(sql "$database" -e 'SELECT * FROM t ORDER BY id')"

check "SHOW TABLES" "t" "$(sql "$database" -e 'SHOW TABLES')"
check "SHOW CREATE TABLE" 'PRIMARY KEY(`id`)' "$(sql --raw "$database" -e 'SHOW CREATE TABLE t' | grep '^PRIMARY KEY')"
check "ALTER is finished" "FINISHED" "$(sql "$database" -e "SHOW ALTER TABLE COLUMN WHERE TableName = 't' ORDER BY CreateTime DESC LIMIT 1" | cut -f 10)"

# With completion on, the client reads the columns of every table by COM_FIELD_LIST before the first statement.
check "COM_FIELD_LIST" "2" "$(sql --auto-rehash "$database" -e 'SELECT count(*) FROM t')"

# A long value comes through whole.
check "long value" "100000" "$(sql -e "SELECT length('$(head -c 100000 /dev/zero | tr '\0' x)')")"

if found=$(sql "$database" -e 'SELECT * FROM missing' 2>&1); then
    echo "mariadb: a query of a missing table succeeded: $found" >&2
    exit 1
fi
check "refusal" "ERROR 5502 (42602) at line 1: Getting analyzing error. Detail message: Unknown table '$database.missing'." \
    "$(echo "$found" | tail -n 1)"

if found=$(mariadb --host="$SQL_HOST" --port="$SQL_PORT" --protocol=tcp --user="$SQL_USER" --password=wrong -e 'SELECT 1' 2>&1); then
    echo "mariadb: a wrong password was taken: $found" >&2
    exit 1
fi
check "wrong password" "ERROR 1045 (28000): Access denied for user '$SQL_USER' (using password: YES)" "$found"

sql -e "DROP DATABASE $database FORCE"
