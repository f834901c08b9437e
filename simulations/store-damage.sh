#!/usr/bin/env bash
# Stores that are damaged under real nodes, and what `p2p gc` and `p2p repair` make of them: the cache deleted, a byte flipped
# in a pack, in a proof, in the cache's own files and in kept content; drives that are dropped. Each time a stranger clones what
# is shared, and earlier versions are read as far as they are there. Everything lies in one temporary folder and talks over
# loopback. BIN=DIR takes the programs from there instead of building them.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

[[ -n "${BIN:-}" ]] || cargo test --quiet --locked --workspace --no-run --test start
bin="$(realpath "${BIN:-${CARGO_TARGET_DIR:-target}/debug}")"
p2p="$bin/p2p" p2pnode="$bin/p2pnode"
work="$(mktemp -d)"
pids=()
passed=0
unset P2PNODE_HOME P2PNODE_API XDG_RUNTIME_DIR
RANDOM="${SEED:-$$}"
echo "seed ${SEED:-$$}"

cleanup() {
    for pid in "${pids[@]}"; do kill -9 "$pid" 2>/dev/null && wait "$pid" 2>/dev/null || true; done
    rm -rf "$work"
}
trap cleanup EXIT

ok() { passed=$((passed + 1)); echo "ok $passed - $* ($SECONDS s)"; }
fail() { echo "FAILED: $*"; exit 1; }
field() { grep -o "\"$1\":\"\?[^,\"}]*" | head -n 1 | sed "s/\"$1\":\"\?//"; }

# start HOME: a daemon that listens on loopback only; its address is in $address.
start() {
    local home="$1"; shift
    rm -f "$home.out"
    "$p2pnode" start --json --no-mdns --gateway off --home "$home" --listen /ip4/127.0.0.1/tcp/0 "$@" > "$home.out" 2> "$home.err" &
    daemon=$!
    pids+=("$daemon")
    for _ in $(seq 400); do
        { read -r < "$home.out"; } 2>/dev/null && break
        kill -0 "$daemon" 2>/dev/null || { cat "$home.err"; fail "the node in $home did not start"; }
        sleep 0.05
    done
    address="$(grep -o '/ip4/127.0.0.1/tcp/[0-9]*' "$home.out" | head -n 1)/p2p/$(field peer_id < "$home.out")"
}

stop() { "$p2pnode" --home "$1" stop > /dev/null; }
o() { "$p2p" --home "$work/o" "$@"; }

# flip FILE OFFSET: one bit of one byte.
flip() {
    local byte
    byte=$(od -An -tu1 -j "$2" -N 1 "$1" | tr -d ' ')
    printf "$(printf '\\x%02x' $((byte ^ 16)))" | dd of="$1" bs=1 seek="$2" conv=notrunc status=none
}

# A stranger, each time another one, gets what is in the folder now.
strangers=0
stranger() {
    strangers=$((strangers + 1))
    local home="$work/s$strangers"
    start "$home" --bootstrap "$owner"
    "$p2p" --home "$home" clone "$link" "$work/copy-$strangers" --json > "$work/clone.out" || { tail -n 2 "$work/clone.out"; fail "$1: no clone"; }
    diff -r "$work/site" "$work/copy-$strangers" > "$work/diff" || { head "$work/diff"; fail "$1: the clone differs"; }
    stop "$home"
    rm -rf "$home" "${work:?}/copy-$strangers"
}

# The owner's address changes with each start, its link does not.
up() { start "$work/o"; owner="$address"; }
history() {
    for version in 1 2 3; do
        [[ "$(o cat "${drive}/text" --at "$version")" == "text of version $version" ]] || fail "$1: version $version of a text"
        [[ "$(o cat "${drive}/large" --at "$version" | head -c 1)" == "$version" ]] || fail "$1: version $version of a large file"
    done
}
log_has() { for _ in $(seq 400); do [[ "$(o log "$work/site" --json | field version)" == "$1" ]] && return; sleep 0.05; done; fail "no version $1"; }
# kept N: waits until so many contents are kept for history.
kept() {
    for _ in $(seq 400); do
        [[ "$( (find "$work/o/drives/blobs" -type f ! -name 'new-*' 2>/dev/null || true) | wc -l)" == "$1" ]] && return
        sleep 0.05
    done
    fail "$1 contents are not kept"
}

mkdir -p "$work/site/many"
for n in $(seq 2000); do echo "file number $n" > "$work/site/many/a-file-with-number-$n"; done
head -c 5000000 /dev/urandom > "$work/site/same.bin"
version_of() { echo "text of version $1" > "$work/site/text"; head -c 2000000 /dev/zero | tr '\0' "$1" > "$work/site/large"; }
version_of 1
up
o share "$work/site" --json > "$work/share.out"
link="$(field link < "$work/share.out")"
drive="p2p://$(field drive < "$work/share.out")"
kept 2
for version in 2 3; do
    version_of "$version"
    log_has "$version"
    kept $((version + 1))
done
history "before"
stranger "before"
o repair --json | tail -n 1 > "$work/repair.out"
grep -q '"lost":\[\]' "$work/repair.out" && grep -q '"damaged_nodes":0' "$work/repair.out" && grep -q '"proofs":0' "$work/repair.out" \
    || { cat "$work/repair.out"; fail "a store in order is repaired"; }
ok "a store in order: nothing to repair"

stop "$work/o"
rm -rf "$work/o/cache" "$work/o"/cache.*
up
grep -qi "the cache was gone" "$work/o.err" || { cat "$work/o.err"; fail "nobody says that the cache was gone"; }
stranger "without a cache"; history "without a cache"
o repair --json | tail -n 1 > "$work/repair.out"
grep -q '"lost":\[\]' "$work/repair.out" || { cat "$work/repair.out"; fail "something is lost with the cache"; }
log_has 3
ok "the cache was deleted: the node serves again by itself, history too, and makes no new version"

for where in 10 50 90; do
    stop "$work/o"
    biggest="$(find "$work/o/cache" -type f -printf '%s %p\n' | sort -n | tail -n 1 | cut -d' ' -f2)"
    size=$(stat -c %s "$biggest")
    for n in 0 1 2 3 4 5 6 7; do flip "$biggest" $((size * where / 100 + n * 97)); done
    up
    o repair --json > "$work/repair.all" 2> "$work/repair.err" || { cat "$work/repair.err"; fail "no repair of a damaged cache"; }
    tail -n 1 "$work/repair.all" > "$work/repair.out"
    grep -q '"lost":\[\]' "$work/repair.out" || { cat "$work/repair.out"; fail "something is lost with the cache"; }
    stranger "a damaged cache"; history "a damaged cache"
    ! grep -q panicked "$work/o.err" || grep -qi "cache" "$work/o.err" || fail "a panic"
done
ok "bytes of the cache's own files are flipped: everything comes back"

proof="$(find "$work/o/drives/outboards" -type f | sort | head -n 1)"
flip "$proof" 70
o repair --json | tail -n 1 > "$work/repair.out"
[[ "$(field proofs < "$work/repair.out")" == 1 ]] || { cat "$work/repair.out"; fail "the proof is not made again"; }
find "$work/o/drives/outboards" -type f -delete
stranger "without proofs"
o repair > /dev/null
history "after the proofs"
ok "proofs are damaged and deleted: they are made again"

stop "$work/o"
pack="$(find "$work/o/drives/packs" -type f | sort | head -n 1)"
# The second item: a leaf that all versions have in common; its length, so that the scan loses its way too.
first=$((0x$(od -An -tx1 -j 32 -N 4 "$pack" | tr -d ' ')))
flip "$pack" $((36 + first + 34))
up
o repair > "$work/repair.out" 2>&1 || { cat "$work/repair.out"; fail "no repair of a damaged pack"; }
# The watcher of the folder may have come first; then what is lost is the same.
grep -q "lost: part of the index of version 2" "$work/repair.out" || { cat "$work/repair.out"; fail "the damage is not said"; }
stranger "a damaged pack"
[[ "$(o cat "$drive/text" --at 3)" == "text of version 3" ]] || fail "what is there of version 3"
ok "a pack is damaged: the index is made anew from the folder, what is lost is said: $(grep -c 'lost: part' "$work/repair.out") versions in part"

# What the large file was in version 1: nothing else has it any more.
victim="$(find "$work/o/drives/blobs" -type f -size +1000k | while read -r blob; do [[ "$(head -c 2 "$blob")" != 11 ]] || echo "$blob"; done)"
flip "$victim" 1234
o repair > "$work/repair.out"
grep -q "large" "$work/repair.out" || { cat "$work/repair.out"; fail "the lost content is not named"; }
[[ ! -e "$victim" ]] || fail "damaged content is kept"
ok "kept content is damaged: it is removed, and named"

before=$(du -sb "$work/o/drives" | cut -f1)
o unshare "$work/site" > /dev/null
# Those who were there a moment ago may have to be missed first.
for _ in $(seq 100); do o du --json > "$work/du.out"; [[ "$(field freeable_bytes < "$work/du.out")" != 0 ]] && break; sleep 0.1; done
(($(field freeable_bytes < "$work/du.out") > 100000)) || { cat "$work/du.out"; fail "du does not say what can be freed"; }
o gc > "$work/gc.out"
grep -q "index node" "$work/gc.out" || { cat "$work/gc.out"; fail "gc frees nothing"; }
after=$(du -sb "$work/o/drives" | cut -f1)
((after < 200000 && after < before / 10)) || { cat "$work/gc.out"; find "$work/o/drives" -type f | head; fail "$after of $before bytes are left"; }
o gc | grep -q "nothing to free" || fail "gc frees twice"
o share "$work/site" --json > "$work/again.out"
[[ "$(field drive < "$work/again.out")" == "${drive#p2p://}" ]] || fail "another drive"
stranger "shared again"
ok "unshared and collected: $before bytes became $after; shared again it is the same drive"

echo "$passed passed, 0 failed"
