#!/usr/bin/env bash
# How long sharing and cloning take beside rsync through a local rsync daemon and beside what this machine could do at
# best, in one run, over loopback, two processes; how much memory both sides take; and what an idle node costs. Writes
# the tables into share.md beside this script. PROFILE=dev measures the test build instead, ROUNDS=5 takes more rounds.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../../.."
profile="${PROFILE:-release}"
rounds="${ROUNDS:-3}"
command -v rsync > /dev/null || { echo "skipped: rsync is not installed"; exit 0; }
cargo build --quiet --locked -p p2pnode --profile "$profile"
cargo build --quiet --locked -p p2p-drives --example limits --profile "$profile"
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

now() { date +%s.%N; }
spent() { awk -v a="$1" -v b="$2" 'BEGIN { printf "%.3f", b - a }'; }
ratio() { awk -v a="$1" -v b="$2" 'BEGIN { printf "%.2f", a / b }'; }
median() { sort -n | sed -n "$(((rounds + 1) / 2))p"; }
# CPU seconds of a process so far, user and system.
cpu() { awk -v hz="$(getconf CLK_TCK)" '{ print ($14 + $15) / hz }' "/proc/$1/stat"; }

# start HOME: a daemon on loopback; its process id is in $daemon, the milliseconds until it was ready in $ready_ms.
start() {
    rm -f "$work/ready"
    local t0; t0=$(now)
    "$bin/p2pnode" start --json --no-mdns --home "$1" --listen /ip4/127.0.0.1/tcp/0 > "$work/ready" 2> /dev/null & daemon=$!
    pids+=("$daemon")
    until [[ -s "$work/ready" ]]; do sleep 0.002; done
    ready_ms=$(awk -v a="$t0" -v b="$(now)" 'BEGIN { printf "%.0f", (b - a) * 1000 }')
}
# Something to wait on: a loop that starts a process for every look (sleep, awk) takes a tenth of such a machine from
# what is measured; with three of them cloning (a) took 2.0 s, without 1.2.
exec {pause}<> <(:)
# look PID FILE: until the process ends, its largest anonymous memory in KiB goes into FILE and the CPU time it took, in
# ticks, into FILE.cpu.
look() {
    local peak=0 now key value stat
    while true; do
        now=0
        { while read -r key value _; do [[ "$key" == RssAnon: ]] && { now=$value; break; }; done < "/proc/$1/status"; } 2> /dev/null
        ((now > 0)) || return 0
        ((now > peak)) && { peak=$now; echo "$peak" > "$2"; }
        read -ra stat 2> /dev/null < "/proc/$1/stat" || return 0
        echo $((stat[13] + stat[14])) > "$2.cpu"
        read -rt 0.02 -u "$pause" || true
    done
}

start "$work/home"
sharer=$daemon
look "$sharer" "$work/anon-share" & pids+=($!)
table="| input | rsync s | share s | clone s | clone CPU s, both sides | clone, rsync = 1 | share + clone, rsync = 1 | target |
|---|---|---|---|---|---|---|---|"
memory=0
declare -A target=([a]=2.5 [b]=2 [c]=2)
for set in a b c; do
    rsyncs="" shares="" clones="" cpus=""
    for round in $(seq "$rounds"); do
        # Nobody pays for what the one before left unwritten.
        sync -f "$work"
        t0=$(now); rsync -a "rsync://127.0.0.1:$port/in/$set/" "$work/out-r"; t1=$(now)
        rsyncs+="$(spent "$t0" "$t1")"$'\n'
        cp -rl "$work/in/$set" "$work/s-$set-$round"
        t0=$(now); "$bin/p2p" --home "$work/home" share "$work/s-$set-$round" --json > "$work/out.json"; t1=$(now)
        shares+="$(spent "$t0" "$t1")"$'\n'
        link="$(grep -o '"link":"[^"]*' "$work/out.json" | head -n 1 | cut -c9-)"
        before=$(cpu "$sharer")
        sync -f "$work"
        t0=$(now)
        "$bin/p2p" --home "$work/h-$set-$round" clone "$link" "$work/out-p" --json > /dev/null & clone=$!
        look "$clone" "$work/anon-clone" & watcher=$!
        wait "$clone"; t1=$(now)
        wait "$watcher" 2> /dev/null || true
        used=$(awk -v hz="$(getconf CLK_TCK)" '{ print $1 / hz }' "$work/anon-clone.cpu")
        (($(< "$work/anon-clone") > memory)) && memory=$(< "$work/anon-clone")
        clones+="$(spent "$t0" "$t1")"$'\n'
        cpus+="$(awk -v a="$before" -v b="$(cpu "$sharer")" -v c="$used" 'BEGIN { printf "%.2f", b - a + c }')"$'\n'
        diff -rq "$work/in/$set" "$work/out-p"
        rm -rf "$work/out-r" "$work/out-p" "$work/s-$set-$round"
    done
    r=$(printf '%s' "$rsyncs" | median) s=$(printf '%s' "$shares" | median) c=$(printf '%s' "$clones" | median)
    both=$(awk -v s="$s" -v c="$c" 'BEGIN { print s + c }')
    table+=$'\n'"| ($set) | $r | $s | $c | $(printf '%s' "$cpus" | median) | $(ratio "$c" "$r") | $(ratio "$both" "$r") | ${target[$set]} |"
    [[ "$set" == a ]] && share_a=$s
done
limits="$("$bin/examples/limits" "$work/in/a/one.bin")"
limit() { awk -v name="$1" '$1 == name { print $2 }' <<< "$limits"; }
share_rate=$(awk -v s="$share_a" 'BEGIN { printf "%.0f", 1024 / s }')
share_memory=$(($(< "$work/anon-share") / 1024))

# An idle node with these shares, and how soon it answers again.
"$bin/p2pnode" --home "$work/home" stop; wait "$sharer" 2> /dev/null || true
start "$work/home"; clean_ms=$ready_ms
kill -9 "$daemon"; wait "$daemon" 2> /dev/null || true
start "$work/home"; crash_ms=$ready_ms
"$bin/p2pnode" --home "$work/home" stop; wait "$daemon" 2> /dev/null || true
start "$work/empty"
sleep 5; before=$(cpu "$daemon"); sleep 30
idle_cpu=$(awk -v a="$before" -v b="$(cpu "$daemon")" 'BEGIN { printf "%.2f", (b - a) * 2 }')
idle_rss=$(awk '/VmRSS/ { printf "%.1f", $2 / 1024 }' "/proc/$daemon/status")
{
    echo "# Sharing and cloning beside rsync"
    echo
    echo "Written by \`just bench-share\` on $(date -I), profile \`$profile\`, $(nproc) cores ($(grep -m1 'model name' /proc/cpuinfo | cut -d: -f2 | xargs))."
    echo "Medians of $rounds interleaved rounds, loopback. rsync copies through a local rsync daemon, unencrypted and without sync;"
    echo "cloning encrypts, verifies, and has everything on the disk when it returns; it starts and stops a node of its own."
    echo
    echo "(a) one file of 1 GiB, (b) 10,000 files of 4 KiB, (c) 2,000 files of mixed size, 185 MiB."
    echo
    echo "$table"
    echo
    echo "| limit of this machine, same run | MiB/s |"
    echo "|---|---|"
    echo "| BLAKE3, one thread, file in the page cache | $(limit blake3) |"
    echo "| TCP over loopback, one connection, nothing encrypted | $(limit tcp) |"
    echo "| 1 GiB written and made durable | $(limit write) |"
    echo
    echo "| | measured | target |"
    echo "|---|---|---|"
    echo "| sharing (a), MiB/s; BLAKE3 = 1 | $share_rate; $(ratio "$share_rate" "$(limit blake3)") | 0.5 |"
    echo "| most anonymous memory, sharing side, all inputs | $share_memory MiB | 64 MiB |"
    echo "| most anonymous memory, cloning side, all inputs | $((memory / 1024)) MiB | 64 MiB |"
    echo "| idle node: resident memory | $idle_rss MiB | 32 MiB |"
    echo "| idle node: CPU seconds a minute | $idle_cpu | 0.1 |"
    echo "| start to answering socket, after a clean stop | $clean_ms ms | 150 ms |"
    echo "| start to answering socket, after kill -9 | $crash_ms ms | 1,000 ms |"
} > node/daemon/benches/share.md
cat node/daemon/benches/share.md
