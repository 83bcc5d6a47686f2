#!/bin/sh
# Runs all tests of the PHP client against a phpws of their own, over ws and over wss.
#
#   PHPWS_BIN=target/release/phpws tests/php/run.sh
#
# Exits non-zero if any test fails. Needs php (7.4 or later) and, for wss, openssl.
set -u

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
bin=${PHPWS_BIN:-$root/target/release/phpws}
php=${PHP:-php}

fail() {
    echo "tests/php/run.sh: $*" >&2
    exit 1
}

command -v "$php" > /dev/null || fail "php is missing: apt-get install php-cli"
"$php" -r 'exit(PHP_VERSION_ID >= 70400 ? 0 : 1);' || fail "php is older than 7.4"
"$php" -r 'exit(extension_loaded("pdo_sqlite") ? 0 : 1);' || fail "PHP lacks SQLite: apt-get install php-sqlite3"
command -v openssl > /dev/null || fail "openssl is missing: apt-get install openssl"
[ -x "$bin" ] || fail "no server at $bin: cargo build --release, or set PHPWS_BIN"
bin=$(cd "$(dirname "$bin")" && pwd)/$(basename "$bin")

work=$(mktemp -d) || fail "no temporary directory"
pids=
stop_servers() {
    for pid in $pids; do
        kill "$pid" 2> /dev/null
        wait "$pid" 2> /dev/null
    done
    pids=
}
trap 'stop_servers; rm -rf "$work"' EXIT
trap 'exit 130' INT TERM

# start NAME ARGUMENT...: starts a server and puts host:port into $address.
start() {
    log=$work/$1.log
    shift
    (cd "$work" && exec "$bin" "$@") > "$log" 2>&1 &
    pid=$!
    pids="$pids $pid"
    tries=0
    while :; do
        address=$(sed -n 's/.*Server initialized on .*  \([^ ]*:[0-9][0-9]*\).*/\1/p' "$log" | head -n 1)
        [ -n "$address" ] && return
        tries=$((tries + 1))
        if [ "$tries" -gt 100 ] || ! kill -0 "$pid" 2> /dev/null; then
            cat "$log" >&2
            fail "the server does not come up"
        fi
        sleep 0.1
    done
}

failures=0
# run NAME COMMAND...: one test script, bounded in time.
run() {
    echo "== $1"
    shift
    timeout 180 "$@" || { failures=$((failures + 1)); echo "FAILED: $*"; }
}

syntax() {
    # The demo asks for more than the client.
    "$php" -r 'exit(PHP_VERSION_ID >= 80100 ? 0 : 1);' && skipped=none || skipped=demo
    find "$here" "$root/clients/php" -name '*.php' -not -path '*/vendor/*' -not -path "*/$skipped/*" > "$work/files"
    bad=0
    while read -r file; do
        "$php" -d error_reporting=-1 -d display_errors=1 -l "$file" > "$work/lint" 2>&1 && ! grep -qi deprecated "$work/lint" \
            || { cat "$work/lint"; bad=$((bad + 1)); }
    done < "$work/files"
    echo "$(($(wc -l < "$work/files") - bad)) passed, $bad failed"
    [ "$bad" -eq 0 ]
}

echo "== syntax"
syntax || failures=$((failures + 1))
run "unit" "$php" "$here/unit.php"
run "dialog" "$php" "$here/dialog.php"
run "resume" "$php" "$here/resume.php"

cert=$work/cert.pem
openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost \
    -addext 'subjectAltName=DNS:localhost,IP:127.0.0.1' \
    -keyout "$work/key.pem" -out "$cert" 2> "$work/openssl.log" || { cat "$work/openssl.log" >&2; fail "no certificate"; }

start ws ws://127.0.0.1:0
ws=ws://$address
start wss --cert "$cert" --key "$work/key.pem" wss://127.0.0.1:0
wss=wss://$address

for test in live publish one_frame_per_read raw_dialect scripts; do
    run "$test over ws" "$php" "$here/$test.php" "$ws"
    run "$test over wss" "$php" "$here/$test.php" "$wss" "$cert"
done
start apart --backplane redis://127.0.0.1:1 ws://127.0.0.1:0
run "apart" "$php" "$here/apart.php" "ws://$address"
run "restart" "$php" "$here/restart.php" "$bin"
run "resume, live" "$php" "$here/resume_live.php" "$bin"
run "notices" "$php" "$here/notices.php" "$bin"

for pid in $pids; do
    kill -0 "$pid" 2> /dev/null || { echo "FAILED: a server did not survive the tests"; failures=$((failures + 1)); tail -n 20 "$work"/*.log; }
done

if [ "$failures" -gt 0 ]; then
    echo "tests/php/run.sh: $failures scripts failed"
    exit 1
fi
echo "tests/php/run.sh: all passed"
