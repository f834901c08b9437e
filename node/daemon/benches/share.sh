#!/usr/bin/env bash
# How long sharing and cloning take beside rsync through a local rsync daemon, in one run on this machine, over loopback,
# two processes. Writes the table into share.md beside this script. PROFILE=dev measures the test build instead.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../../.."
profile="${PROFILE:-release}"
command -v rsync > /dev/null || { echo "skipped: rsync is not installed"; exit 0; }
cargo build --quiet --locked -p p2pnode --profile "$profile"
folder="$profile"; [[ "$profile" == dev ]] && folder=debug
bin="$(cd "${CARGO_TARGET_DIR:-target}/$folder" && pwd)"
work="$(mktemp -d)"
unset P2PNODE_HOME P2PNODE_API XDG_RUNTIME_DIR
pids=()
cleanup() { for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done; rm -rf "$work"; }
trap cleanup EXIT

mkdir -p "$work"/in/{a,b,c}
head -c 1073741824 /dev/urandom > "$work/in/a/one.bin"
for n in $(seq 0 99); do
    mkdir "$work/in/b/$n"
    head -c 409600 /dev/urandom | split -a 3 -d -b 4096 - "$work/in/b/$n/f"
done
for n in $(seq 2000); do
    mkdir -p "$work/in/c/$((n % 40))"
    head -c $((n * n % 186000 + 500)) /dev/urandom > "$work/in/c/$((n % 40))/$n"
done
port=$((20000 + RANDOM % 20000))
cat > "$work/rsyncd.conf" <<CONF
port = $port
address = 127.0.0.1
use chroot = no
pid file = $work/rsyncd.pid
[in]
path = $work/in
read only = yes
CONF
rsync --daemon --no-detach --config "$work/rsyncd.conf" & pids+=($!)
"$bin/p2pnode" start --json --no-mdns --home "$work/home" --listen /ip4/127.0.0.1/tcp/0 > "$work/ready" 2> /dev/null & daemon=$!
pids+=("$daemon")
until [[ -s "$work/ready" ]]; do sleep 0.05; done

now() { date +%s.%N; }
spent() { awk -v a="$1" -v b="$2" 'BEGIN { printf "%.2f", b - a }'; }
median() { sort -n | sed -n 2p; }

table="| input | rsync s | share s | clone s | share + clone, rsync = 1 |
|---|---|---|---|---|"
for set in a b c; do
    rsyncs="" shares="" clones=""
    for round in 1 2 3; do
        t0=$(now); rsync -a "rsync://127.0.0.1:$port/in/$set/" "$work/out-r"; t1=$(now)
        rsyncs+="$(spent "$t0" "$t1")"$'\n'
        cp -rl "$work/in/$set" "$work/s-$set-$round"
        t0=$(now); "$bin/p2p" --home "$work/home" share "$work/s-$set-$round" --json > "$work/out.json"; t1=$(now)
        shares+="$(spent "$t0" "$t1")"$'\n'
        link="$(grep -o '"link":"[^"]*' "$work/out.json" | head -n 1 | cut -c9-)"
        t0=$(now); "$bin/p2p" --home "$work/h-$set-$round" clone "$link" "$work/out-p" --json > /dev/null; t1=$(now)
        clones+="$(spent "$t0" "$t1")"$'\n'
        diff -rq "$work/in/$set" "$work/out-p"
        rm -rf "$work/out-r" "$work/out-p" "$work/s-$set-$round"
    done
    r=$(printf '%s' "$rsyncs" | median) s=$(printf '%s' "$shares" | median) c=$(printf '%s' "$clones" | median)
    table+=$'\n'"| ($set) | $r | $s | $c | $(awk -v r="$r" -v s="$s" -v c="$c" 'BEGIN { printf "%.2f", (s + c) / r }') |"
done
rss="$(grep -E 'RssAnon' /proc/$daemon/status | awk '{ printf "%.0f MiB", $2 / 1024 }')"
{
    echo "# Sharing and cloning beside rsync"
    echo
    echo "Written by \`just bench-share\` on $(date -I), profile \`$profile\`, $(nproc) cores ($(grep -m1 'model name' /proc/cpuinfo | cut -d: -f2 | xargs))."
    echo "Medians of three interleaved rounds, loopback. rsync copies through a local rsync daemon, unencrypted and without sync;"
    echo "cloning encrypts, verifies, and has everything on the disk when it returns; it starts and stops a node of its own."
    echo
    echo "(a) one file of 1 GiB, (b) 10,000 files of 4 KiB, (c) 2,000 files of mixed size."
    echo
    echo "$table"
    echo
    echo "Anonymous memory of the sharing daemon afterwards: $rss."
} > node/daemon/benches/share.md
cat node/daemon/benches/share.md
