#!/usr/bin/env bash
# Run the tests of the ledger, of passes, commands and both CRMs on a PostgreSQL of their own: on loopback, in a temporary
# folder.
#
#   tests/deployed/postgres.sh [--short | --pgbouncer] [options of pytest]
#
# --short leaves out the promises, both CRMs, `forget` and the page, which the suite tries on SQLite.
# With --pgbouncer, the ledgers are reached through a PgBouncer in transaction mode. It takes no start-up options, and
# resets the session after each transaction (DISCARD ALL).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

pgbouncer="" short=""
if [[ ${1:-} == --short ]]; then
    short=1
    shift
fi
if [[ ${1:-} == --pgbouncer ]]; then
    pgbouncer=$(command -v pgbouncer) || {
        echo "no PgBouncer here: apt-get install pgbouncer" >&2
        exit 69
    }
    shift
fi
bin=$(find /usr/lib/postgresql -maxdepth 2 -name bin 2>/dev/null | sort -V | tail -1)
[[ -n $bin ]] || {
    echo "no PostgreSQL here: apt-get install postgresql" >&2
    exit 69
}
folder=$(mktemp -d)
free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
port=$(free_port)
as=() # PostgreSQL refuses to run as root
if ((EUID == 0)); then
    chown postgres "$folder"
    as=(setpriv --reuid=postgres --regid=postgres --init-groups)
fi
cluster() { (cd "$folder" && "${as[@]}" "$bin/$1" "${@:2}"); }
stop() {
    [[ ! -s $folder/pgbouncer.pid ]] || kill "$(<"$folder/pgbouncer.pid")" || true
    cluster pg_ctl -D "$folder/data" -m immediate -w stop >/dev/null || true
    rm -rf "$folder"
}
trap stop EXIT

cluster initdb -D "$folder/data" -A trust -U syncd -E UTF8 --locale=C --no-sync >/dev/null
# Nothing here must outlive the machine, so nothing waits for the disk.
cluster pg_ctl -D "$folder/data" -l "$folder/log" -w -o \
    "-p $port -c listen_addresses=127.0.0.1 -c unix_socket_directories='' -c fsync=off -c synchronous_commit=off
    -c max_connections=300" \
    start >/dev/null
cluster psql -q -h 127.0.0.1 -p "$port" -U syncd -d postgres -c 'CREATE DATABASE syncd_test'

# Each ledger of the tests has a user of its own there, because only that gives it a schema. PgBouncer asks PostgreSQL
# for new users.
if [[ -n $pgbouncer ]]; then
    front=$(free_port)
    printf '"syncd" ""\n' >"$folder/users"
    cat >"$folder/pgbouncer.ini" <<EOF
[databases]
syncd_test = host=127.0.0.1 port=$port auth_user=syncd
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = $front
unix_socket_dir =
auth_type = trust
auth_file = $folder/users
auth_query = SELECT rolname, '' FROM pg_roles WHERE rolname = \$1
pool_mode = transaction
server_reset_query_always = 1
server_idle_timeout = 1
max_client_conn = 1000
logfile = $folder/pgbouncer.log
pidfile = $folder/pgbouncer.pid
EOF
    chmod 644 "$folder/users" "$folder/pgbouncer.ini"
    (cd "$folder" && "${as[@]}" "$pgbouncer" -q -d pgbouncer.ini)
    export SYNCD_TEST_PGBOUNCER="127.0.0.1:$front"
fi

mapfile -t ledger < <(find tests -maxdepth 1 -name 'test_ledger_*.py' ! -name 'test_ledger_sqlite_*' | sort)
forget=(no_byte_of_the_address_is_left_and_waiting_activities_go_on_without_the_person
    a_rep_is_erased_from_the_owners_that_a_connector_keeps
    it_may_be_done_twice_and_before_the_first_pass_has_made_a_secret without_a_ledger
    beside_a_daemon_which_acts_at_once beside_a_post_that_does_not_return
    on_a_full_disk_it_goes_on_and_says_what_remains)
settings=(query_for_autoscaling_counts_the_slots_in_demand settings_for_vacuum_fit_the_tables_of_a_ledger)
tests=("${ledger[@]}" tests/test_{alerts_postgres,engine,key_semaphore,lanes_together,postgres_commands,replica_postgres}.py
    "${settings[@]/#/tests/test_deploy_replicas.py::test_the_}")
if [[ -z $short ]]; then
    tests+=(tests/test_{promises,hubspot_lifelike,salesforce_lifelike}.py "${forget[@]/#/tests/test_forget.py::test_}"
        tests/test_forget.py::TestInFlight
        tests/test_web_daemon.py::test_the_daemon_serves_its_page_and_its_probes_until_it_ends)
fi
SYNCD_TEST_POSTGRES="postgresql://syncd@127.0.0.1:$port/syncd_test" .venv/bin/python -W error -m pytest -q -n 6 \
    -k "not sqlite and not Sqlite" "$@" "${tests[@]}"
