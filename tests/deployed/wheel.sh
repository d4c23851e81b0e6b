#!/bin/bash
# Test the wheel as its user does: in an environment with the lock file's packages and the wheel, outside the clone.
#
#   tests/deployed/wheel.sh [PYTHON]      e.g. python3.12, by default python3
#
# It builds the wheel and the source distribution with the hatchling of the developers' environment, .venv. It prints a
# line for each successful check, and exits with 1 at the first failure.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
python=${1:-python3}

fail() {
    echo "FAIL $*"
    exit 1
}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
.venv/bin/hatchling build -t sdist -t wheel -d "$work" &>/dev/null || fail "building"
cd "$work"
echo "ok   built: $(printf "%s " syncd-*.*)"
cd "$OLDPWD"

"$python" -m venv "$work/venv"
"$work/venv/bin/pip" install -q --require-hashes -r requirements.txt
"$work/venv/bin/pip" install -q --no-deps --no-index "$work"/syncd-*.whl
"$work/venv/bin/pip" check >/dev/null || fail "pip check"
export PATH="$work/venv/bin:$PATH"
cd "$work"
[ "$(command -v syncd)" = "$work/venv/bin/syncd" ] || fail "another syncd is in the way"
echo "ok   installed by hash, nothing is missing: $(syncd --version), $("$work/venv/bin/python" --version)"

code=0
syncd demo --calls 60 --emails 40 >shown 2>log || code=$?
[ "$code" = 0 ] || fail "demo exits with $code: $(tail -n 20 log)"
grep -q "0 of them doubled" shown || fail "demo: $(cat shown)"
echo "ok   demo: $(grep -c . shown) lines, $(grep -o "Recotap's own count: [0-9]* activities" shown)"

export XDG_RUNTIME_DIR=$work # where a sandbox announces itself
syncd sandbox --calls 20 --emails 10 --contacts 10 --companies 5 >ready 2>log &
sandbox=$!
trap 'kill "$sandbox"; rm -rf "$work"' EXIT
until [ -s ready ]; do kill -0 "$sandbox" || fail "sandbox: $(cat log)"; sleep 0.2; done
syncd init --sandbox >begun 2>log || fail "init: $(cat begun log)"
syncd check >checked 2>&1 || fail "check: $(cat checked)"
syncd sync 2>log || fail "sync: $(tail -n 20 log)"
delivered=$(syncd status --json | grep -o '"delivered": [0-9]*')
[ "${delivered##* }" -gt 0 ] || fail "nothing was delivered: $(cat log)"
echo "ok   from init to the first delivered activity on a sandbox: $delivered"

syncd config schema >syncd.schema.json
syncd config example >syncd.toml
code=0
syncd check -c syncd.toml >checked 2>&1 || code=$?
if [ "$code" != 78 ] || ! grep -q RECOTAP_API_KEY checked; then fail "check exits with $code: $(cat checked)"; fi
echo "ok   check reads the printed example, and asks for the keys"
