#!/usr/bin/env bash
# Real nodes, real sockets, real kills: what a user of `p2p share` and `p2p clone` relies on, run with the built programs.
# Everything lies in one temporary folder and talks over loopback. Prints one line per check; ends with a count.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# With the same features as the tests, so that nothing is built twice where these have run.
cargo test --quiet --locked --workspace --no-run
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

netns=()
cleanup() {
    for pid in "${pids[@]}"; do kill -9 "$pid" 2>/dev/null && wait "$pid" 2>/dev/null || true; done
    for name in "${netns[@]}"; do ip netns del "$name" 2>/dev/null || true; done
    rm -rf "$work"
}
trap cleanup EXIT

ok() { passed=$((passed + 1)); echo "ok $passed - $* ($SECONDS s)"; }
fail() { echo "FAILED: $*"; exit 1; }

# start HOME [flags]: a daemon that listens on loopback only; its address is in $address.
start() {
    local home="$1"; shift
    rm -f "$home.out"
    "$p2pnode" start --json --no-mdns --home "$home" --listen /ip4/127.0.0.1/tcp/0 --listen /ip4/127.0.0.1/udp/0/quic-v1 \
        "$@" > "$home.out" 2> "$home.err" &
    daemon=$!
    pids+=("$daemon")
    for _ in $(seq 200); do
        # A whole line, or `read` fails.
        { read -r < "$home.out"; } 2>/dev/null && break
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
killed=0
for n in $(seq $((kills * 4))); do
    ((killed < kills)) || break
    "$p2p" --home "$work/k" clone "$link" "$work/copy-k" --json > "$work/k.out" 2> "$work/k.err" &
    pid=$!
    sleep "0.$(printf '%03d' $((RANDOM % 400)))"
    kill -9 "$pid" 2>/dev/null || true
    status=0; wait "$pid" 2>/dev/null || status=$?
    # What stands at a final path is right, at any time.
    if [[ -e "$work/copy-k/large.bin" ]]; then cmp "$site/large.bin" "$work/copy-k/large.bin" || fail "corrupt after kill $n"; fi
    case "$status" in
        137) killed=$((killed + 1)) ;;
        0) rm -rf "$work/copy-k" ;;
        *) cat "$work/k.err"; fail "status $status of a clone that was not killed in time" ;;
    esac
done
"$p2p" --home "$work/k" clone "$link" "$work/copy-k" --json > "$work/k.out"
same "$site" "$work/copy-k" "clone after $killed kills"
[[ -z "$(find "$work/copy-k" -name '*.p2ptmp')" ]] || fail "temporary files are left"
ok "$killed kill -9 during clone: the same command completes it"

# Kill the sharing side during import.
for n in $(seq 5); do
    big="$work/big-$n"; cp -r "$site" "$big"; head -c 60000000 /dev/urandom > "$big/more.bin"
    { timeout -s KILL "0.$((RANDOM % 8 + 1))" "$p2p" --home "$work/i" share "$big" --json > /dev/null; } 2>/dev/null || true
done
start "$work/i"
"$p2p" --home "$work/i" share "$work/big-5" --json > "$work/i.out"
"$p2p" --home "$work/j" clone "$(field link < "$work/i.out")" "$work/copy-i" --json > /dev/null
same "$work/big-5" "$work/copy-i" "clone after kills during import"
ok "kill -9 during import: shared again, nothing corrupt"

# The bundled app as a process of its own, against the socket of a running node.
socket="$(grep -o '"api":"[^"]*' "$work/a.out" | cut -c8-)"
"$bin/examples/files-process" "$socket" share "$work/big-5" > "$work/own.out"
"$bin/examples/files-process" "$(grep -o '"api":"[^"]*' "$work/c.out" | cut -c8-)" clone "$(field link < "$work/own.out")" "$work/copy-own" > /dev/null
same "$work/big-5" "$work/copy-own" "clone by the app as a process of its own"
ok "files runs as a process of its own"

# A real documentation tree, where one is installed: thousands of files, symlinks, deep folders.
docs="$(ls -d /usr/share/doc/python3*/html 2>/dev/null | head -n 1 || true)"
if [[ -n "$docs" ]]; then
    cp -a "$(realpath "$docs")" "$work/docs"
    "$p2p" --home "$work/a" share "$work/docs" --json > "$work/docs.out"
    "$p2p" --home "$work/d" clone "$(field link < "$work/docs.out")" "$work/copy-docs" --allow-external-links --json > /dev/null
    same "$work/docs" "$work/copy-docs" "clone of the documentation"
    ok "a documentation tree of $(find "$work/docs" -type f | wc -l) files"
else
    echo "skipped: a documentation tree (python3-doc is not installed)"
fi

# One large file and very many small ones: complete, and in bounded memory.
# peak PID: the most memory that a process had, in KiB.
peak() { awk '/VmHWM/ { print $2 }' "/proc/$1/status"; }
mkdir "$work/large" "$work/many"
head -c 1073741824 /dev/urandom > "$work/large/one.bin"
python3 - "$work/many" <<'PY' 2>/dev/null || for n in $(seq 100000); do echo "$n" > "$work/many/$n"; done
import os, sys
for n in range(100000):
    folder = f"{sys.argv[1]}/{n % 300}"
    os.makedirs(folder, exist_ok=True)
    with open(f"{folder}/{n}.txt", "w") as file:
        file.write(f"file {n}\n" * (n % 20))
PY
start "$work/m"; sharer=$daemon
start "$work/n"; cloner=$daemon
for set in large many; do
    "$p2p" --home "$work/m" share "$work/$set" --json > "$work/$set.out"
    "$p2p" --home "$work/n" clone "$(field link < "$work/$set.out")" "$work/copy-$set" --json > /dev/null
    same "$work/$set" "$work/copy-$set" "clone of $set"
done
for pid in "$sharer" "$cloner"; do
    (($(peak "$pid") < 200 * 1024)) || fail "a node took $(($(peak "$pid") / 1024)) MiB"
done
ok "1 GiB in one file and 100,000 small files: at most $(($(peak "$sharer") / 1024)) MiB sharing, $(($(peak "$cloner") / 1024)) MiB cloning"
"$p2pnode" --home "$work/m" stop; "$p2pnode" --home "$work/n" stop

# After a kill, what was proven is not fetched again.
start "$work/m"; sharer=$daemon
large_link="$("$p2p" --home "$work/m" shares --json | grep -o '{[^{}]*}' | grep '/large"' | field link)"
# bytes_done: what the clone said last of how far it is.
bytes_done() { grep -o '"bytes_done":[0-9]*' "$work/r.out" | cut -d: -f2 | tail -n 1 | grep . || echo 0; }
proven=0
for _ in 1 2 3; do
    "$p2p" --home "$work/r" clone "$large_link" "$work/copy-r" --json > "$work/r.out" 2>/dev/null & pid=$!
    for _ in $(seq 400); do
        (($(bytes_done) > proven + 100000000)) && break
        kill -0 "$pid" 2>/dev/null || break
        sleep 0.02
    done
    kill -9 "$pid" 2>/dev/null || true; wait "$pid" 2>/dev/null || true
    proven="$(bytes_done)"
done
"$p2p" --home "$work/r" clone "$large_link" "$work/copy-r" --json > "$work/r.out"
fetched="$(field bytes_fetched < <(tail -n 1 "$work/r.out"))"
((proven > 100000000)) || fail "only $proven bytes were proven before the last kill"
((fetched <= 1073741824 - proven + 67108864)) || fail "$fetched bytes fetched although $proven were proven"
same "$work/large" "$work/copy-r" "1 GiB after three kills"
ok "three kill -9 in 1 GiB: $proven bytes were proven, $fetched more were fetched"
"$p2pnode" --home "$work/m" stop; wait "$sharer" 2>/dev/null || true
rm -rf "$work"/{large,many,copy-large,copy-many,copy-r}

# One LAN: two hosts that were told nothing find each other by mDNS.
if [[ "$(id -u)" == 0 ]] && ip netns add "p2p-$$-a" 2>/dev/null; then
    netns=("p2p-$$-a" "p2p-$$-b")
    ip netns add "${netns[1]}"
    ip -n "${netns[0]}" link add eth0 type veth peer name eth0 netns "${netns[1]}"
    for n in 0 1; do
        ip -n "${netns[n]}" addr add "10.77.0.$((n + 1))/24" dev eth0
        ip -n "${netns[n]}" link set lo up
        ip -n "${netns[n]}" link set eth0 up
        ip -n "${netns[n]}" route add default dev eth0
    done
    ip netns exec "${netns[0]}" "$p2p" --home "$work/lan-a" share "$site" --json > "$work/lan.out" 2>/dev/null & lan=$!
    pids+=("$lan")
    for _ in $(seq 200); do grep -q published "$work/lan.out" && break; sleep 0.05; done
    lan_link="$(field link < "$work/lan.out")"
    begun=$(date +%s%N)
    ip netns exec "${netns[1]}" "$p2p" --home "$work/lan-b" clone "${lan_link%%#*}" "$work/copy-lan" --json --timeout 30 > /dev/null
    took=$((($(date +%s%N) - begun) / 1000000))
    same "$site" "$work/copy-lan" "clone over the LAN"
    kill -INT "$lan"; wait "$lan" 2>/dev/null || true
    ok "two hosts on one LAN, nobody given an address: cloned by the bare link in $took ms"
else
    echo "skipped: two hosts on one LAN (network namespaces need root and iproute2)"
fi

# Living folders: an edit arrives at a follower by itself.
mkdir "$work/notes"; echo one > "$work/notes/plan.md"; head -c 5000000 /dev/urandom > "$work/notes/photo.raw"
start "$work/o"; start "$work/f"; follower=$daemon
"$p2p" --home "$work/o" share "$work/notes" --json > "$work/notes.out"
"$p2p" --home "$work/f" clone "$(field link < "$work/notes.out")" "$work/copy-notes" --follow --json > "$work/follow.out" 2>/dev/null & following=$!
pids+=("$following")
# version N: waits until the follower said that it has it.
version() { for _ in $(seq 200); do grep -q "\"version\":$1," "$work/follow.out" && return; sleep 0.02; done; fail "version $1 does not arrive"; }
version 1
begun=$(date +%s%N)
echo two > "$work/notes/plan.md"
version 2
took=$((($(date +%s%N) - begun) / 1000000))
mv "$work/notes/photo.raw" "$work/notes/photo 2.raw"
version 3
same "$work/notes" "$work/copy-notes" "a followed folder"
[[ "$(tail -n 1 "$work/follow.out" | field bytes_fetched)" == 0 ]] || fail "a rename moved content"
kill -INT "$following"
status=0; wait "$following" || status=$?
[[ "$status" == 0 ]] || fail "status $status of a follower that was complete"
ok "an edit arrives at a follower after $took ms, a rename moves nothing"
"$p2pnode" --home "$work/o" stop; "$p2pnode" --home "$work/f" stop

# Names: an owner, a bootstrap node, and a stranger that knows only the bootstrap node.
start "$work/nb"; names_boot="$address"
start "$work/no" --bootstrap "$names_boot"; start "$work/ns" --bootstrap "$names_boot"
no() { "$p2p" --home "$work/no" name "$@"; }
ns() { "$p2p" --home "$work/ns" name "$@"; }
ztld="$(no zone create alice --json | field ztld)"
[[ ${#ztld} == 58 ]] || fail "a zTLD of ${#ztld} symbols"
"$p2p" --home "$work/no" share "$work/notes" --json > "$work/named.out"
for _ in $(seq 100); do no set www A 192.0.2.7 --json > "$work/set.out"; [[ "$(field stored_on < "$work/set.out")" == 2 ]] && break; sleep 0.1; done
[[ "$(field stored_on < "$work/set.out")" == 2 ]] || { cat "$work/set.out"; fail "a name is not stored on both other nodes"; }
no set docs P2PDRIVE "$(field link < "$work/named.out")" > /dev/null
no set secret TXT mine --private > /dev/null
[[ "$(ns resolve "www.$ztld" A --json | field value)" == 192.0.2.7 ]] || fail "a stranger does not resolve the name"
"$p2p" --home "$work/ns" clone "docs.$ztld" "$work/copy-named" > /dev/null
same "$work/notes" "$work/copy-named" "clone by name"
expect 4 "$p2p" --home "$work/ns" name resolve "secret.$ztld"
expect 4 "$p2p" --home "$work/ns" name resolve "nothing.$ztld"
begun=$(date +%s%N)
no set www A 192.0.2.8 > /dev/null
until [[ "$(ns resolve "www.$ztld" A --json | field value)" == 192.0.2.8 ]]; do sleep 0.02; done
took=$((($(date +%s%N) - begun) / 1000000))
((took < 2000)) || fail "an update is seen after $took ms"
"$p2pnode" --home "$work/no" stop
[[ "$(ns resolve "www.$ztld" A --fresh --json | field value)" == 192.0.2.8 ]] || fail "the name is gone with its owner"
expect 4 "$p2p" --home "$work/ns" name resolve "www.alice"
"$p2pnode" --home "$work/nb" stop; "$p2pnode" --home "$work/ns" stop
ok "a stranger resolves a name and clones what it stands for, sees an update after $took ms, and needs no owner online"

# History: earlier versions are listed, compared, read and brought back; what never was is said.
start "$work/h"
mkdir "$work/past"; echo one > "$work/past/a"; seq 1000 > "$work/past/b"
"$p2p" --home "$work/h" share "$work/past" --json > "$work/past.out"
past="$(field drive < "$work/past.out")"
for _ in $(seq 200); do [[ -n "$(find "$work/h/drives/blobs" -type f 2>/dev/null)" ]] && break; sleep 0.05; done
past_version() { for _ in $(seq 200); do [[ "$("$p2p" --home "$work/h" log "$work/past" --json | head -n 1 | field version)" == "$1" ]] && return; sleep 0.05; done; fail "no version $1"; }
echo two > "$work/past/a"; rm "$work/past/b"
past_version 2
[[ "$("$p2p" --home "$work/h" cat "$past/a" --at 1)" == one ]] || fail "version 1 is not what it was"
[[ "$("$p2p" --home "$work/h" cat "p2p://$past/a?v=2")" == two ]] || fail "version 2 is not what it is"
[[ "$("$p2p" --home "$work/h" diff "$work/past" 1 --json | wc -l)" == 2 ]] || fail "the difference of two versions"
"$p2p" --home "$work/h" restore "$work/past" b --at 1 > /dev/null
past_version 3
cmp "$work/past/b" <(seq 1000) || fail "a file is not brought back"
"$p2p" --home "$work/c" clone "$(field link < "$work/past.out")" "$work/copy-past" --at 2 > /dev/null
[[ "$(cat "$work/copy-past/a")" == two && ! -e "$work/copy-past/b" ]] || fail "a clone of version 2"
expect 4 "$p2p" --home "$work/h" cat "$past/a" --at 9
expect 4 "$p2p" --home "$work/h" cat "$past/a" --at "3 days ago"
expect 2 "$p2p" --home "$work/h" cat "$past/a" --at "the other day"
"$p2pnode" --home "$work/h" stop
ok "earlier versions are listed, read, copied and brought back"

# Two writers: both edit, one of them or the other is killed at random points; nothing is lost and both end the same.
start "$work/w1" --bootstrap "$bootstrap"; w1=$daemon
start "$work/w2" --bootstrap "$bootstrap"; w2=$daemon
mkdir "$work/ours"; echo 0 > "$work/ours/both"
"$p2p" --home "$work/w1" share "$work/ours" --json > "$work/ours.out"
ours="$(field link < "$work/ours.out")"
"$p2p" --home "$work/w1" writers add "$work/ours" "$("$p2p" --home "$work/w2" writers key "$ours")" > /dev/null
"$p2p" --home "$work/w2" sync "$ours" "$work/theirs" --json > "$work/theirs.out"
grep -q '"may_write":true' "$work/theirs.out" || fail "the writer is not let in"
rounds="${SYNC_KILLS:-20}"
for n in $(seq "$rounds"); do
    echo "mine $n" > "$work/ours/mine-$n"; echo "theirs $n" > "$work/theirs/theirs-$n"
    head -c $((RANDOM * 40)) /dev/urandom > "$work/theirs/large-$n"
    echo "$n" > "$work/ours/both"
    sleep "0.$((RANDOM % 900 + 100))"
    if ((n % 4)); then
        kill -9 "$w2"; wait "$w2" 2>/dev/null || true
        start "$work/w2" --bootstrap "$bootstrap"; w2=$daemon
    else
        kill -9 "$w1"; wait "$w1" 2>/dev/null || true
        start "$work/w1" --bootstrap "$bootstrap"; w1=$daemon
    fi
done
for _ in $(seq 600); do diff -r "$work/ours" "$work/theirs" > "$work/diff" 2>&1 && break; sleep 0.1; done
diff -r "$work/ours" "$work/theirs" > /dev/null || { cat "$work/diff"; fail "two writers after $rounds kills: folders differ"; }
for n in $(seq "$rounds"); do
    [[ "$(cat "$work/ours/mine-$n")" == "mine $n" && "$(cat "$work/ours/theirs-$n")" == "theirs $n" ]] || fail "an edit of round $n is lost"
done
find "$work/ours" "$work/theirs" -name '.*.p2ptmp' | grep -q . && fail "half a file is left"
"$p2pnode" --home "$work/w1" stop; "$p2pnode" --home "$work/w2" stop
ok "two writers, $rounds kill -9: both folders are the same, no edit is lost"

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
expect 2 "$p2p" --home "$work/a" share "$site/run.sh"
expect 4 "$p2p" --home "$work/lonely" clone "p2p://$(echo "$bare" | cut -c7-62)/" "$work/x" --timeout 2
expect 4 "$p2p" --home "$work/a" cat "${bare}no/such/file"
expect 4 "$p2p" --home "$work/a" unshare "$work/none"
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
