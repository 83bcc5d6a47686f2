# Read by the scripts beside it: a phpws of their own, whose address is then in $address.

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
bin=${PHPWS_BIN:-$root/target/release/phpws}

fail() {
    echo "$0: $*" >&2
    exit 1
}

need() {
    command -v "$1" > /dev/null || fail "$1 is missing: apt-get install $2"
}

[ -x "$bin" ] || fail "no server at $bin: cargo build --release, or set PHPWS_BIN"
work=$(mktemp -d) || fail "no temporary directory"
"$bin" ws://127.0.0.1:0 "$@" > "$work/log" 2>&1 &
server=$!
trap 'kill "$server" 2> /dev/null; rm -rf "$work"' EXIT
trap 'exit 130' INT TERM
tries=0
while :; do
    address=$(sed -n 's/.*Server initialized on .*  \([^ ]*:[0-9][0-9]*\).*/\1/p' "$work/log" | head -n 1)
    [ -n "$address" ] && break
    tries=$((tries + 1))
    if [ "$tries" -gt 100 ] || ! kill -0 "$server" 2> /dev/null; then
        cat "$work/log" >&2
        fail "the server does not come up"
    fi
    sleep 0.1
done
