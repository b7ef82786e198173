#!/bin/sh
# curl as StarRocks' documentation uses it for Stream Load, against the frontend FE_HOST:FE_HTTP_PORT, logged in as
# SQL_USER with SQL_PASSWORD. DATABASE.t exists, with columns k INT (key) and v VARCHAR(10).
# Says "curl done" at the end and nowhere else.
set -eu

command -v curl >/dev/null 2>&1 || { echo "clients/curl.sh: curl is missing" >&2; exit 1; }
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
url="http://$FE_HOST:$FE_HTTP_PORT/api/$DATABASE/t/_stream_load"

# load OPTIONS...: the answer's body; "HTTP <status>" behind it.
load() {
    curl --silent --show-error --max-time 60 --write-out '\nHTTP %{http_code}\n' "$@"
}

# check NAME PATTERN ANSWER
check() {
    if ! printf '%s' "$3" | grep -q -- "$2"; then
        printf 'curl: %s\nno match for: %s\nanswer:\n%s\n' "$1" "$2" "$3" >&2
        exit 1
    fi
    echo "curl: $1"
}

printf '[{"k":1,"v":"one"},{"k":2,"v":"two"},{"k":3,"__op":1}]' >"$folder/rows.json"
answer=$(load --location-trusted -u "$SQL_USER:$SQL_PASSWORD" -H 'label: curl-1' -H 'Expect: 100-continue' \
    -H 'format: json' -H 'strip_outer_array: true' -T "$folder/rows.json" "$url")
check "JSON load" '"Status": "Success"' "$answer"
check "rows are counted" '"NumberLoadedRows": 3' "$answer"

answer=$(load --location-trusted -u "$SQL_USER:$SQL_PASSWORD" -H 'label: curl-1' -H 'Expect: 100-continue' \
    -H 'format: json' -H 'strip_outer_array: true' -T "$folder/rows.json" "$url")
check "a label is taken once" '"Status": "Label Already Exists"' "$answer"
check "and its load has finished" '"ExistingJobStatus": "FINISHED"' "$answer"

# More than curl sends before it would have to wait for "100 Continue".
seq 10 60009 | sed 's/$/,csv/' >"$folder/rows.csv"
answer=$(load --location-trusted -u "$SQL_USER:$SQL_PASSWORD" -H 'Expect: 100-continue' -H 'column_separator: ,' \
    -H 'columns: k,v' -T "$folder/rows.csv" "$url")
check "CSV load" '"NumberLoadedRows": 60000' "$answer"

answer=$(load --location-trusted -u "$SQL_USER:$SQL_PASSWORD" -H 'Expect:' -H 'format: json' -T "$folder/rows.json" "$url")
check "no 100-continue, no load" 'There is no 100-continue header' "$answer"
check "and yet HTTP 200" '^HTTP 200$' "$answer"

answer=$(load --location-trusted -u "$SQL_USER:wrong" -H 'Expect: 100-continue' -T "$folder/rows.json" "$url")
check "wrong password" '^HTTP 401$' "$answer"

# Without --location-trusted curl keeps the password from the other port, and the backend asks for one of its own.
answer=$(load --location -u "$SQL_USER:$SQL_PASSWORD" -H 'Expect: 100-continue' -H 'format: json' \
    -H 'strip_outer_array: true' -T "$folder/rows.json" "$url")
check "the backend wants the password again" 'no valid Basic authorization' "$answer"

answer=$(load -u "$SQL_USER:$SQL_PASSWORD" "http://$FE_HOST:$FE_HTTP_PORT/api/$DATABASE/get_load_state?label=curl-1")
check "load state" '"state":"VISIBLE"' "$answer"
echo "curl done"
