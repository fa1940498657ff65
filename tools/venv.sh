#!/bin/sh
# Bring .venv up to date with the named locks, and do nothing when it already is.
#
#   tools/venv.sh requirements.lock
#
# Needs Python 3.11 or later and the network; uses uv when it is on the PATH, pip otherwise. Set
# PYTHON to choose the interpreter. Every package is checked against its hash, and only wheels are
# taken: no build script of a stranger runs here.
set -eu
cd "$(dirname "$0")/.."

say() { printf 'tidegate: %s\n' "$*" >&2; }
fail() {
    printf 'error: %s\nhint: %s\n' "$1" "$2" >&2
    exit 2
}
recent() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; }

find_python() {
    for candidate in ${PYTHON:-python3 python3.13 python3.12 python3.11 python3.14 python}; do
        if recent "$candidate"; then
            command -v "$candidate"
            return
        fi
    done
    fail "no Python 3.11 or later found (looked for: ${PYTHON:-python3, python3.11 to python3.14, python})" \
        "install one, or name it: PYTHON=/path/to/python3.12 make run"
}

# What .venv must have been made from: the checkout's place, the metadata, this script, the locks.
state=$(for file in pyproject.toml tools/venv.sh "$@"; do cksum "$file"; done; pwd)
stamp=.venv/.made-from-$(printf '%s' "$*" | tr ' /' '__')
if recent .venv/bin/python && [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$state" ]; then
    exit 0
fi

uv=$(command -v uv || true)
if ! recent .venv/bin/python; then
    python=$(find_python)
    say "making .venv with $("$python" --version) ($python)"
    if [ -n "$uv" ]; then
        "$uv" venv --quiet --clear --no-python-downloads --python "$python" .venv
    else
        "$python" -c 'import ensurepip' 2>/dev/null ||
            fail "$python cannot make virtual environments" "install python3-venv, or uv"
        "$python" -m venv --clear .venv
    fi
fi

for lock in "$@"; do
    say "installing $(grep -c '==' "$lock") pinned packages of $lock with ${uv:-pip}: a minute or two at first"
    if [ -n "$uv" ]; then
        "$uv" pip install --quiet --python .venv/bin/python --require-hashes \
            --only-binary :all: -r "$lock"
    else
        .venv/bin/python -m pip --version >/dev/null 2>&1 || .venv/bin/python -m ensurepip >/dev/null
        .venv/bin/python -m pip install --quiet --no-input --disable-pip-version-check \
            --require-hashes --only-binary :all: -r "$lock"
    fi
done
say "installing tidegate itself from this folder"
if [ -n "$uv" ]; then
    "$uv" pip install --quiet --python .venv/bin/python --no-deps --no-build-isolation -e .
else
    .venv/bin/python -m pip install --quiet --no-input --disable-pip-version-check \
        --no-deps --no-build-isolation -e .
fi
printf '%s\n' "$state" >"$stamp"
