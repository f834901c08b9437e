#!/usr/bin/env bash
# Four real nodes of one drive, killed again and again while they add, merge, follow and receive (specs/drives.md, 3.7).
#
# The owner and a second writer edit, a third node follows, a fourth clones. Every round one of them gets a kill -9 at a
# random moment and starts again; now and then all of them at once, with the node they found each other by, as when the power
# fails. The name of every file ends in the hash of its content, so a file that is not whole shows
# wherever it lies; at the end all four folders must hold everything that anybody wrote, and nothing else.
#
# KILLS=1000 is the long run (about 20 minutes); 100 by default. SEED repeats a run.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# BIN names a folder with programs that are built already.
[[ -n "${BIN:-}" ]] || cargo test --quiet --locked --workspace --no-run
bin="${BIN:-${CARGO_TARGET_DIR:-target}/debug}"
[[ "$bin" == /* ]] || bin="$PWD/$bin"
p2p="$bin/p2p"
p2pnode="$bin/p2pnode"
kills="${KILLS:-100}"
# The power fails for all of them, also for the node they found each other by, every so many kills.
cut_every="${CUT_EVERY:-90}"
work="$(mktemp -d)"
declare -A pid=()
unset P2PNODE_HOME P2PNODE_API XDG_RUNTIME_DIR
RANDOM="${SEED:-$$}"
echo "seed ${SEED:-$$}, $kills kills"

cleanup() {
    for name in "${!pid[@]}"; do kill -9 "${pid[$name]}" 2>/dev/null && wait "${pid[$name]}" 2>/dev/null || true; done
    [[ -n "${KEEP:-}" ]] || rm -rf "$work"
}
trap cleanup EXIT
fail() { echo "FAILED: $*"; exit 1; }
field() { grep -o "\"$1\":\"\?[^,\"}]*" | head -n 1 | sed "s/\"$1\":\"\?//"; }

# node NAME [flags]: starts one on loopback and waits until it is ready.
node() {
    local name="$1"; shift
    rm -f "$work/$name.out"
    "$p2pnode" start --json --no-mdns --gateway off --home "$work/$name" --listen /ip4/127.0.0.1/tcp/0 "$@" \
        > "$work/$name.out" 2>> "$work/$name.err" &
    pid[$name]=$!
    for _ in $(seq 400); do
        { read -r < "$work/$name.out"; } 2>/dev/null && return
        kill -0 "${pid[$name]}" 2>/dev/null || break
        sleep 0.02
    done
    tail "$work/$name.err"
    fail "$name did not start again"
}

# strike NAME: kill -9 for a node, and for the command that talks to it: without a node it would run one of its own there.
declare -A command=([f]=following [c]=cloning)
strike() {
    local name
    for name in "$1" ${command[$1]:-}; do
        kill -9 "${pid[$name]}" 2>/dev/null || [[ "$name" != "$1" ]]
        wait "${pid[$name]}" 2>/dev/null || true
    done
}

# put FOLDER PREFIX BYTES: a file that says by its name what is in it, there all at once. Its name is in $put.
put() {
    head -c "$3" /dev/urandom > "$work/new"
    put="$2.$(sha256sum < "$work/new" | cut -c 1-16)"
    mv "$work/new" "$1/$put"
}

# whole: no file that came or changed since the last look is anything but whole.
whole() {
    local file
    while IFS= read -r file; do
        [[ "$(sha256sum < "$file" | cut -c 1-16)" == "${file##*.}" ]] || fail "$file is not whole after kill $n"
    done < <(find "$work"/{ours,theirs,follower,clone} -type f -newer "$work/looked" ! -path "$work/*/.*" 2>/dev/null)
    touch "$work/looked.now"; mv "$work/looked.now" "$work/looked"
}

follow() { "$p2p" --home "$work/f" clone "$link" "$work/follower" --follow --timeout 60 > /dev/null 2>&1 & pid[following]=$!; }
clone() { "$p2p" --home "$work/c" clone "$link" "$work/clone" --timeout 60 > /dev/null 2> "$work/clone.err" & pid[cloning]=$!; }

touch -d '1 hour ago' "$work/looked"
bootstrap() {
    node b
    boot="$(grep -o '/ip4/127.0.0.1/tcp/[0-9]*' "$work/b.out" | head -n 1)/p2p/$(field peer_id < "$work/b.out")"
}
bootstrap
for name in a w f c; do node "$name" --bootstrap "$boot"; done
mkdir "$work/ours"
: > "$work/expected"
for i in $(seq 20); do put "$work/ours" "start-$i" $((RANDOM * 20)); echo "$put" >> "$work/expected"; done
put "$work/ours" large 40000000; echo "$put" >> "$work/expected"
"$p2p" --home "$work/a" share "$work/ours" --json > "$work/ours.out"
link="$(field link < "$work/ours.out")"
"$p2p" --home "$work/a" writers add "$work/ours" "$("$p2p" --home "$work/w" writers key "$link")" > /dev/null
"$p2p" --home "$work/w" sync "$link" "$work/theirs" --json > "$work/theirs.out"
grep -q '"may_write":true' "$work/theirs.out" || fail "the writer is not let in"
follow
clone

declare -A struck=([a]=0 [w]=0 [f]=0 [c]=0)
for n in $(seq "$kills"); do
    put "$work/ours" "mine-$n" $((RANDOM * (RANDOM % 20 + 1))); echo "$put" >> "$work/expected"
    put "$work/theirs" "theirs-$n" $((RANDOM * (RANDOM % 20 + 1))); echo "$put" >> "$work/expected"
    # Now and then something goes, at the one or the other, and stays gone.
    if ((n % 5 == 0)); then
        old="$(grep -m 1 "^\(start\|mine\|theirs\)-" "$work/expected" || true)"
        if [[ -n "$old" && -e "$work/ours/$old" ]]; then
            rm "$work/ours/$old"
            grep -vxF "$old" "$work/expected" > "$work/rest"; mv "$work/rest" "$work/expected"
        fi
    fi
    sleep "0.$(printf '%03d' $((RANDOM % 600)))"
    victim="$(printf 'a\nw\nf\nc\n' | sed -n "$((RANDOM % 4 + 1))p")"
    struck[$victim]=$((struck[$victim] + 1))
    kill -0 "${pid[cloning]}" 2>/dev/null || touch "$work/clone.done"
    strike "$victim"
    whole
    node "$victim" --bootstrap "$boot"
    case "$victim" in
        f) follow ;;
        c)
            # A clone that was done begins anew: it is the receiving that is to be struck.
            [[ ! -e "$work/clone.done" ]] || { "$p2p" --home "$work/c" unshare "$work/clone" > /dev/null 2>&1 || true; rm -rf "$work/clone" "$work/clone.done"; }
            clone
            ;;
    esac
    if ((n % cut_every == 0)); then
        for name in a w f c b; do strike "$name"; done
        whole
        bootstrap
        for name in a w f c; do node "$name" --bootstrap "$boot"; done
        follow; clone
    fi
    ((n % 100)) || echo "   $n kills after $SECONDS s"
done

# Quiet: everything has to arrive everywhere.
wait "${pid[cloning]}" 2>/dev/null || true
sort "$work/expected" > "$work/wanted"
for _ in $(seq 900); do
    ls "$work/follower" | sort | cmp -s - "$work/wanted" && ls "$work/ours" | sort | cmp -s - "$work/wanted" \
        && ls "$work/theirs" | sort | cmp -s - "$work/wanted" && break
    sleep 0.1
done
for folder in ours theirs follower; do
    ls "$work/$folder" | sort | diff - "$work/wanted" > "$work/diff" || { head "$work/diff"; fail "$folder is not what was written"; }
done
for _ in 1 2 3; do "$p2p" --home "$work/c" clone "$link" "$work/clone" --timeout 60 > /dev/null 2> "$work/clone.err" && break; done
ls "$work/clone" | sort | diff - "$work/wanted" > "$work/diff" || { cat "$work/clone.err"; head "$work/diff"; fail "the clone is not what was written"; }
touch -d '1 hour ago' "$work/looked"
whole
! find "$work"/{ours,theirs,follower,clone} -name '.*.p2ptmp' | grep -q . || fail "half a file is left"
! grep -l panicked "$work"/*.err || fail "a panic"
echo "ok - $kills kill -9 (owner ${struck[a]}, writer ${struck[w]}, follower ${struck[f]}, clone ${struck[c]}): $(wc -l < "$work/wanted") files whole and the same on four nodes, none lost ($SECONDS s)"
