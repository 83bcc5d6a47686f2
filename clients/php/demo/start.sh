#!/usr/bin/env bash
# Starts phpws with the three applications, and PHP's web server with their pages; Ctrl-C ends both.
#
#   clients/php/demo/start.sh [ADDRESS OF PHPWS] [HOST:PORT OF THE PAGES]
#
# PHPWS_DEMO names a built examples/demo; without it cargo builds one.
set -u
root=$(cd "$(dirname "$0")/../../.." && pwd)
ws=${1:-ws://127.0.0.1:8095}
web=${2:-127.0.0.1:8080}

fail() {
  echo "demo: $*" >&2
  exit 1
}

php=${PHP:-php}
"$php" -r 'exit(PHP_VERSION_ID >= 80100 && extension_loaded("sqlite3") ? 0 : 1);' 2> /dev/null \
  || fail "PHP 8.1 or later with SQLite is missing: apt-get install php-cli php-sqlite3"

listens() {
  "$php" -r 'exit(@stream_socket_client("tcp://$argv[1]", $no, $text, 1) ? 0 : 1);' "$1"
}

for address in "${ws#*://}" "$web"; do
  listens "$address" && fail "$address is taken; choose another: make demo ADDRESS=ws://127.0.0.1:9000 WEB=127.0.0.1:9001"
done

run=("${PHPWS_DEMO:-}")
if [ -z "${run[0]}" ]; then
  (cd "$root" && cargo build --release --locked --example demo) || exit 1
  run=(cargo run --quiet --release --locked --example demo --)
fi

data=$(mktemp -d) || fail "no temporary folder"
# With job control each server is a group of its own: PHP's leaves its workers behind otherwise.
set -m
pids=()
finish() {
  trap - EXIT
  trap '' INT TERM # make hands on a signal that has come already
  exec 2> /dev/null # job control has a word to say about each
  for pid in "${pids[@]}"; do
    kill -TERM -- "-$pid"
  done
  wait
  rm -rf "$data"
}
trap finish EXIT
trap 'exit 0' INT
trap 'exit 143' TERM

# up HOST:PORT PID LOG: waits until something listens there, as long as that process lives.
up() {
  until listens "$1"; do
    kill -0 "$2" 2> /dev/null || { tail -n 5 "$3" >&2; fail "it does not start on $1"; }
    sleep 0.1
  done
}

(cd "$root" && exec "${run[@]}" "$ws") > "$data/phpws.log" 2>&1 &
pids+=($!)
up "${ws#*://}" "${pids[0]}" "$data/phpws.log"

# Each page that waits for its request takes one of the workers.
PHPWS_ADDRESS=$ws PHPWS_DEMO_DATA=$data PHP_CLI_SERVER_WORKERS=${PHP_CLI_SERVER_WORKERS:-8} \
  "$php" -S "$web" -t "$root/clients/web" "$root/clients/php/demo/router.php" > "$data/web.log" 2>&1 &
pids+=($!)
up "$web" "${pids[1]}" "$data/web.log"

echo "Open http://$web/ in two tabs. Logs are in $data while it runs; Ctrl-C ends it."
wait -n
echo "demo: one of the two servers has ended" >&2
tail -n 5 "$data"/*.log >&2
exit 1
