#!/usr/bin/env bash
# Run the tests of the ledger, of passes and of both CRMs on a PostgreSQL of their own: on loopback, in a temporary folder.
#
#   tests/deployed/postgres.sh [options of pytest]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

bin=$(find /usr/lib/postgresql -maxdepth 2 -name bin 2>/dev/null | sort -V | tail -1)
[[ -n $bin ]] || {
    echo "no PostgreSQL here: apt-get install postgresql" >&2
    exit 69
}
folder=$(mktemp -d)
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
as=() # PostgreSQL refuses to run as root
if ((EUID == 0)); then
    chown postgres "$folder"
    as=(setpriv --reuid=postgres --regid=postgres --init-groups)
fi
cluster() { (cd "$folder" && "${as[@]}" "$bin/$1" "${@:2}"); }
stop() {
    cluster pg_ctl -D "$folder/data" -m immediate -w stop >/dev/null || true
    rm -rf "$folder"
}
trap stop EXIT

cluster initdb -D "$folder/data" -A trust -U syncd -E UTF8 --locale=C --no-sync >/dev/null
# Nothing here must outlive the machine, so nothing waits for the disk.
cluster pg_ctl -D "$folder/data" -l "$folder/log" -w -o \
    "-p $port -c listen_addresses=127.0.0.1 -c unix_socket_directories='' -c fsync=off -c synchronous_commit=off" \
    start >/dev/null
cluster psql -q -h 127.0.0.1 -p "$port" -U syncd -d postgres -c 'CREATE DATABASE syncd_test'

mapfile -t ledger < <(find tests -maxdepth 1 -name 'test_ledger_*.py' ! -name 'test_ledger_sqlite_*' | sort)
SYNCD_TEST_POSTGRES="postgresql://syncd@127.0.0.1:$port/syncd_test" .venv/bin/python -W error -m pytest -q -n 4 \
    -k "not sqlite and not Sqlite" "$@" "${ledger[@]}" tests/test_{engine,key_semaphore,lanes_together,promises,hubspot_lifelike,salesforce_lifelike,alerts_postgres,replica_postgres}.py
