#!/usr/bin/env bash
# How fast the gateway answers, beside nginx with `sendfile off` over the same folder, interleaved in one run over loopback.
# Without arguments it measures the gateway itself over a node in memory; with the address of a site of a running node and
# the folder that it is shared from (a 1 KiB small.txt and a large.bin in it), it measures that one.
#
#   gateway.sh [SITE_ADDRESS FOLDER]
set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
cd "$here/../../.."
for tool in wrk nginx curl; do
    command -v "$tool" > /dev/null || { echo "skipped: $tool is not installed"; exit 0; }
done
seconds="${SECONDS_EACH:-5}" rounds="${ROUNDS:-3}" large_mib="${LARGE_MIB:-64}"
work="$(mktemp -d)"
chmod 755 "$work"
pids=()
cleanup() { for pid in "${pids[@]}"; do kill "$pid" 2> /dev/null || true; done; rm -rf "$work"; }
trap cleanup EXIT

if [[ $# -ge 2 ]]; then
    site="${1%/}" folder="$2"
else
    folder="$work/site"
    mkdir "$folder"
    head -c 768 /dev/urandom | base64 -w 0 > "$folder/small.txt"
    head -c "$((large_mib * 1048576))" /dev/urandom > "$folder/large.bin"
    cargo build --quiet --release -p p2p-gateway --example folder-site
    "${CARGO_TARGET_DIR:-target}/release/examples/folder-site" "$folder" 127.0.0.1:0 > "$work/out" 2> "$work/log" &
    pids+=($!)
    until [[ "$(wc -l < "$work/out")" -ge 2 ]]; do sleep 0.1; done
    site="$(head -n 1 "$work/out")" site="${site%/}"
fi
port="${site##*:}" host="${site#http://}"

other=$((20000 + RANDOM % 20000))
cat > "$work/nginx.conf" <<CONF
worker_processes 2;
pid $work/nginx.pid;
error_log $work/nginx.log;
events { worker_connections 512; }
http {
    access_log off;
    sendfile off;
    keepalive_requests 1000000;
    client_body_temp_path $work/b; proxy_temp_path $work/p; fastcgi_temp_path $work/f; uwsgi_temp_path $work/u;
    scgi_temp_path $work/s;
    server { listen 127.0.0.1:$other; root $folder; }
}
CONF
nginx -e "$work/nginx.log" -c "$work/nginx.conf" -g 'daemon off;' & pids+=($!)
until curl -s -o /dev/null "http://127.0.0.1:$other/small.txt"; do sleep 0.1; done
curl -s -o /dev/null -H "Host: $host" "http://127.0.0.1:$port/small.txt"

per_second() { # the figure of wrk's line $1, in plain numbers
    awk -v line="$1" '$1 == line { v = $2; u = substr(v, length(v) - 1)
        if (u == "GB") v *= 1024; else if (u == "KB") v /= 1024; printf "%.1f\n", v }'
}
median() { sort -n | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'; }

small_ours="" small_nginx="" large_ours="" large_nginx=""
for _ in $(seq "$rounds"); do
    small_ours+="$(wrk -t 1 -c 32 -d "$seconds" -H "Host: $host" "http://127.0.0.1:$port/small.txt" | per_second Requests/sec:)"$'\n'
    small_nginx+="$(wrk -t 1 -c 32 -d "$seconds" "http://127.0.0.1:$other/small.txt" | per_second Requests/sec:)"$'\n'
    large_ours+="$(wrk -t 1 -c 2 -d "$seconds" -H "Host: $host" "http://127.0.0.1:$port/large.bin" | per_second Transfer/sec:)"$'\n'
    large_nginx+="$(wrk -t 1 -c 2 -d "$seconds" "http://127.0.0.1:$other/large.bin" | per_second Transfer/sec:)"$'\n'
done
a="$(median <<< "${small_ours%$'\n'}")" b="$(median <<< "${small_nginx%$'\n'}")"
c="$(median <<< "${large_ours%$'\n'}")" d="$(median <<< "${large_nginx%$'\n'}")"
ratio() { awk -v a="$1" -v b="$2" 'BEGIN { printf "%.2f", a / b }'; }
echo "| median of $rounds rounds of $seconds s | gateway | nginx, sendfile off | nginx = 1 |"
echo "|---|---|---|---|"
echo "| small file, requests/s | $a | $b | $(ratio "$a" "$b") |"
echo "| large file, MiB/s | $c | $d | $(ratio "$c" "$d") |"
