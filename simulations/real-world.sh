#!/usr/bin/env bash
# Real nodes, real sockets, real kills: what a user of `p2p share` and `p2p clone` relies on, run with the built programs.
# Everything lies in one temporary folder and talks over loopback. Prints one line per check; ends with a count.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

cargo build --quiet --locked -p p2pnode
bin="${CARGO_TARGET_DIR:-target}/debug"
p2p="$PWD/$bin/p2p"
p2pnode="$PWD/$bin/p2pnode"
[[ -x "$p2p" ]] || { p2p="$bin/p2p" p2pnode="$bin/p2pnode"; }
work="$(mktemp -d)"
pids=()
passed=0
unset P2PNODE_HOME P2PNODE_API XDG_RUNTIME_DIR
RANDOM="${SEED:-$$}"
echo "seed ${SEED:-$$}"

cleanup() {
    for pid in "${pids[@]}"; do kill -9 "$pid" 2>/dev/null || true; done
    rm -rf "$work"
}
trap cleanup EXIT

ok() { passed=$((passed + 1)); echo "ok $passed - $*"; }
fail() { echo "FAILED: $*"; exit 1; }

# start HOME [flags]: a daemon that listens on loopback only; its address is in $address.
start() {
    local home="$1"; shift
    "$p2pnode" start --json --no-mdns --home "$home" --listen /ip4/127.0.0.1/tcp/0 --listen /ip4/127.0.0.1/udp/0/quic-v1 \
        "$@" > "$home.out" 2> "$home.err" &
    daemon=$!
    pids+=("$daemon")
    for _ in $(seq 200); do
        [[ -s "$home.out" ]] && break
        kill -0 "$daemon" 2>/dev/null || { cat "$home.err"; fail "the node in $home did not start"; }
        sleep 0.05
    done
    address="$(grep -o '/ip4/127.0.0.1/tcp/[0-9]*' "$home.out" | head -n 1)/p2p/$(field peer_id < "$home.out")"
}

# field NAME: the value of a field in a line of JSON.
field() { grep -o "\"$1\":\"\?[^,\"}]*" | head -n 1 | sed "s/\"$1\":\"\?//"; }

# expect STATUS COMMAND...: the command ends with that status and says something on stderr.
expect() {
    local wanted="$1"; shift
    local got=0
    "$@" > "$work/stdout" 2> "$work/stderr" || got=$?
    [[ "$got" == "$wanted" ]] || { cat "$work/stderr"; fail "status $got instead of $wanted: $*"; }
    [[ "$wanted" == 0 || -s "$work/stderr" ]] || fail "silent failure: $*"
    ! grep -q panicked "$work/stderr" || fail "panic: $*"
}

tree() {
    local to="$1"
    mkdir -p "$to"/{docs/{a,b,c},empty,'name with spaces'}
    for n in $(seq 1200); do
        head -c $((n * 37 % 20000)) /dev/zero | tr '\0' "$(printf '\\%o' $((65 + n % 26)))" > "$to/docs/$(echo a b c | cut -d' ' -f$((n % 3 + 1)))/$n.txt"
    done
    head -c 40000000 /dev/urandom > "$to/large.bin"
    head -c 3000000 /dev/urandom > "$to/middle.bin"
    : > "$to/nothing"
    echo "#!/bin/sh" > "$to/run.sh"; chmod 755 "$to/run.sh"; chmod 600 "$to/nothing"
    ln -s ../large.bin "$to/docs/link"
    ln -s a "$to/docs/folder"
    touch -d '2001-02-03 04:05:06.789' "$to/middle.bin"
}

same() {
    diff -r --no-dereference "$1" "$2" > "$work/diff" || { head "$work/diff"; fail "$3: trees differ"; }
    local a b
    a="$(cd "$1" && find . -mindepth 1 -printf '%P %y %m %T@ %l\n' | sort)"
    b="$(cd "$2" && find . -mindepth 1 -printf '%P %y %m %T@ %l\n' | sort)"
    [[ "$a" == "$b" ]] || { diff <(echo "$a") <(echo "$b") | head; fail "$3: modes, times or links differ"; }
}

site="$work/site"
tree "$site"

# Three nodes: A shares, B is only a bootstrap, C knows only B.
start "$work/b"; bootstrap="$address"
start "$work/a" --bootstrap "$bootstrap"
"$p2p" --home "$work/a" share "$site" --json > "$work/share.out"
link="$(field link < "$work/share.out")"
bare="${link%%#*}"
[[ "$(grep -o '"version":[0-9]*' "$work/share.out" | tail -n 1)" == '"version":1' ]] || fail "no version 1"
ok "a folder is shared by a daemon"
start "$work/c" --bootstrap "$bootstrap"
"$p2p" --home "$work/c" clone "$bare" "$work/copy-c" --json --timeout 60 > "$work/clone.out"
same "$site" "$work/copy-c" "clone through the DHT"
ok "a stranger that knows only the bootstrap clones by the bare link"

"$p2p" --home "$work/d" clone "$link" "$work/copy-d" --json > /dev/null
same "$site" "$work/copy-d" "clone by hints"
ok "the link's hints suffice, without a daemon and without the DHT"

[[ "$("$p2p" --home "$work/d" cat "$link" --range 0-0 2>&1 || true)" != *panicked* ]] || fail "cat of a folder panics"
url="${link%%#*}"; hints="${link#*#}"
"$p2p" --home "$work/d" cat "${url}large.bin#$hints" --range 1000000-1000099 > "$work/part"
cmp "$work/part" <(tail -c +1000001 "$site/large.bin" | head -c 100) || fail "cat --range"
[[ "$("$p2p" --home "$work/d" ls "${url}docs#$hints" --json | wc -l)" -ge 5 ]] || fail "ls"
ok "ls and cat --range look without cloning"

"$p2p" --home "$work/a" share "$site" --json > "$work/again.out"
[[ "$(field link < "$work/again.out")" == "$link" ]] || fail "another link for the same folder"
ok "the same folder gives the same link"

# Kill the sharing daemon; its share is back when it starts again.


a_pid="${pids[1]}"
kill -9 "$a_pid"; wait "$a_pid" 2>/dev/null || true
start "$work/a" --bootstrap "$bootstrap"
"$p2p" --home "$work/a" shares --json | grep -q "$(field drive < "$work/again.out")" || fail "the share is gone after kill -9"
"$p2p" --home "$work/e" clone "$("$p2p" --home "$work/a" shares --json | field link)" "$work/copy-e" --json > /dev/null
same "$site" "$work/copy-e" "clone after kill -9 of the sharing side"
ok "a killed daemon starts again by itself and serves its shares"
link="$("$p2p" --home "$work/a" shares --json | field link)"

# Kill the cloning side at random points; the same command completes it.
kills="${KILLS:-50}"
rounds=0
for n in $(seq "$kills"); do
    "$p2p" --home "$work/k" clone "$link" "$work/copy-k" --json > "$work/k.out" 2> "$work/k.err" &
    pid=$!
    sleep "0.$(printf '%03d' $((RANDOM % 700)))"
    if kill -9 "$pid" 2>/dev/null; then rounds=$((rounds + 1)); fi
    wait "$pid" 2>/dev/null || true
    # What stands at a final path is right, at any time.
    if [[ -e "$work/copy-k/large.bin" ]]; then cmp "$site/large.bin" "$work/copy-k/large.bin" || fail "corrupt after kill $n"; fi
    if ((n % 10 == 0)); then rm -rf "$work/copy-k"; fi
done
"$p2p" --home "$work/k" clone "$link" "$work/copy-k" --json > "$work/k.out"
same "$site" "$work/copy-k" "clone after $rounds kills"
[[ -z "$(find "$work/copy-k" -name '*.p2ptmp')" ]] || fail "temporary files are left"
ok "$rounds kill -9 of $kills tries during clone: the same command completes it"

# Kill the sharing side during import.
for n in $(seq 5); do
    big="$work/big-$n"; cp -r "$site" "$big"; head -c 60000000 /dev/urandom > "$big/more.bin"
    timeout -s KILL "0.$((RANDOM % 8 + 1))" "$p2p" --home "$work/i" share "$big" --json > /dev/null 2>&1 || true
done
start "$work/i"
"$p2p" --home "$work/i" share "$work/big-5" --json > "$work/i.out"
"$p2p" --home "$work/j" clone "$(field link < "$work/i.out")" "$work/copy-i" --json > /dev/null
same "$work/big-5" "$work/copy-i" "clone after kills during import"
ok "kill -9 during import: shared again, nothing corrupt"

# Wrong input.
expect 3 "$p2pnode" --home "$work/nobody" status
expect 3 "$p2p" --home "$work/nobody" shares
expect 4 "$p2p" --home "$work/a" share "$work/none"
expect 2 "$p2p" --home "$work/a" clone "p2p://${bare:6:20}x/" "$work/x"
damaged="$(echo "$bare" | tr 'y' 'b')"
expect 2 "$p2p" --home "$work/a" clone "$damaged" "$work/x"
expect 1 "$p2p" --home "$work/a" clone "$bare" "$work/copy-c/docs"
expect 1 "$p2pnode" start --home "$work/a"
expect 2 "$p2p" --home "$work/a" clone
ok "wrong input has its own message and status"

if mount -t tmpfs -o size=20m tmpfs "$(mkdir -p "$work/small" && echo "$work/small")" 2>/dev/null; then
    expect 1 "$p2p" --home "$work/f" clone "$link" "$work/small/copy"
    grep -qi 'space' "$work/stderr" || { cat "$work/stderr"; fail "a full disk is not named"; }
    umount "$work/small"
    ok "a full disk is said"
else
    echo "skipped: a full disk (mounting a small file system needs root)"
fi

"$p2pnode" --home "$work/a" stop
for _ in $(seq 100); do kill -0 "${pids[-2]}" 2>/dev/null || break; sleep 0.05; done
ok "a node stops when asked"
echo "$passed passed, 0 failed"
