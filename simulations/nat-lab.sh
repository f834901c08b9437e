#!/usr/bin/env bash
# Real nodes behind real NAT: network namespaces with nftables, one home network for each behaviour of a router, a public
# network between them with a bootstrap node that is a relay. For each pair of homes: the path of the connection that a clone
# ends on, the time until the first connection, and the throughput. Writes nat-lab.csv beside the given folder, prints a
# table. Needs root, iproute2 and nftables; skipped with a sentence otherwise.
#
#   bash simulations/nat-lab.sh [KIND...]     kinds: none cone restricted symmetric udp-blocked; all by default
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
if [[ "$(id -u)" != 0 ]] || ! command -v nft > /dev/null || ! command -v ip > /dev/null; then
    echo "skipped: the NAT lab needs root, iproute2 and nftables"; exit 0
fi
# Everything that the lab is made of, once, in a namespace that is thrown away.
ip netns add "p2p-$$-probe" 2> /dev/null || { echo "skipped: no network namespace can be made here"; exit 0; }
probe='ip link add name wan type bridge && ip link add name lan type veth peer name far &&
    nft add table ip nat && nft "add chain ip nat post { type nat hook postrouting priority srcnat; }" &&
    nft add rule ip nat post meta l4proto udp masquerade random,fully-random'
has_all=yes; ip netns exec "p2p-$$-probe" sh -c "$probe" > /dev/null 2>&1 || has_all=no
ip netns del "p2p-$$-probe"
[[ "$has_all" == yes ]] || { echo "skipped: this kernel has no bridges, veth pairs or NAT for the lab"; exit 0; }

kinds=("$@"); [[ ${#kinds[@]} -gt 0 ]] || kinds=(none cone restricted symmetric udp-blocked)
profile="${PROFILE:-debug}"
# With the same features as the tests, so that nothing is built twice where these have run.
if [[ "$profile" == debug ]]; then
    cargo test --quiet --locked --workspace --no-run
else
    cargo build --quiet --locked --release -p p2pnode
fi
bin="$(cd "${CARGO_TARGET_DIR:-target}/$profile" && pwd)"
work="$(mktemp -d)"
megabytes="${MEGABYTES:-20}"
unset P2PNODE_HOME P2PNODE_API XDG_RUNTIME_DIR
pids=() spaces=()
cleanup() {
    for pid in "${pids[@]}"; do kill -9 "$pid" 2> /dev/null && wait "$pid" 2> /dev/null || true; done
    for name in "${spaces[@]}"; do ip netns del "$name" 2> /dev/null || true; done
    rm -rf "$work"
}
trap cleanup EXIT
fail() { echo "FAILED: $*"; exit 1; }
space() { ip netns add "$1"; spaces+=("$1"); ip -n "$1" link set lo up; }
field() { grep -o "\"$1\":\"\?[^,\"}]*" | head -n 1 | sed "s/\"$1\":\"\?//"; }

# The public network: a bridge in a namespace of its own; 198.51.100.0/24 is global for every rule.
net="p2p-$$-net"; space "$net"
ip -n "$net" link add name wan type bridge; ip -n "$net" link set wan up
port=0
# plug SPACE ADDRESS: an interface of SPACE in the public network.
plug() {
    port=$((port + 1))
    ip -n "$1" link add name wan type veth peer name "p$port" netns "$net"
    ip -n "$net" link set "p$port" master wan up
    ip -n "$1" addr add "$2/24" dev wan; ip -n "$1" link set wan up
}
# router NAME KIND ADDRESS: a host behind a router of that kind.
router() {
    local name="$1" kind="$2" address="$3" host="p2p-$$-$1" nat="p2p-$$-$1-r"
    space "$host"
    if [[ "$kind" == none ]]; then plug "$host" "$address"; return; fi
    space "$nat"; plug "$nat" "$address"
    ip -n "$host" link add name eth0 type veth peer name lan netns "$nat"
    ip -n "$host" addr add 192.168.50.2/24 dev eth0; ip -n "$host" link set eth0 up
    ip -n "$nat" addr add 192.168.50.1/24 dev lan; ip -n "$nat" link set lan up
    ip -n "$host" route add default via 192.168.50.1
    ip netns exec "$nat" sysctl -q -w net.ipv4.ip_forward=1
    local out="masquerade" in="" forward=""
    case "$kind" in
        cone) in="iifname wan meta l4proto { tcp, udp } dnat to 192.168.50.2" ;;
        restricted) ;;
        symmetric) out="meta l4proto { tcp, udp } masquerade random,fully-random" ;;
        udp-blocked) forward="meta l4proto udp drop" ;;
        *) fail "no such kind of router: $kind" ;;
    esac
    # What nobody inside asked for is dropped, but behind a full cone.
    local unasked="iifname wan ct state new drop"; [[ "$kind" == cone ]] && unasked=""
    ip netns exec "$nat" nft -f - <<NFT
table ip nat {
  chain pre { type nat hook prerouting priority dstnat; $in
  }
  chain post { type nat hook postrouting priority srcnat; oifname wan $out
  }
}
table inet filter {
  chain forward { type filter hook forward priority 0; $forward
    $unasked
  }
  chain input { type filter hook input priority 0; iifname wan ct state new drop
  }
}
NFT
}
# node SPACE HOME [flags]: a daemon there.
node() {
    local where="$1" home="$2"; shift 2
    ip netns exec "$where" "$bin/p2pnode" --home "$home" start --json --no-mdns --no-port-mapping --gateway off \
        --listen /ip4/0.0.0.0/tcp/4101 --listen /ip4/0.0.0.0/udp/4101/quic-v1 "$@" > "$home.out" 2> "$home.err" & daemon=$!
    pids+=("$daemon")
    for _ in $(seq 200); do [[ -s "$home.out" ]] && return; sleep 0.05; done
    cat "$home.err"; fail "the node in $where did not start"
}
ended() { kill -9 "$1" 2> /dev/null || true; wait "$1" 2> /dev/null || true; }

relay="p2p-$$-relay"; space "$relay"; plug "$relay" 198.51.100.1
node "$relay" "$work/relay" --relay; first_relay=$daemon
boot="/ip4/198.51.100.1/tcp/4101/p2p/$(field peer_id < "$work/relay.out")"
head -c $((megabytes * 1000000)) /dev/urandom > "$work/content"

echo "kind_a,kind_b,path,connected_ms,clone_s,mbit_per_s" > "$work/nat-lab.csv"
number=0
# pair A B: one try of two hosts; the result is in $path.
pair() {
    local a="$1" b="$2"
    number=$((number + 1))
    one="a$number" two="b$number"
    router "$one" "$a" 198.51.100.$((10 + number * 2 % 200)); router "$two" "$b" 198.51.100.$((11 + number * 2 % 200))
    mkdir "$work/$one.site"; cp "$work/content" "$work/$one.site/content"
    node "p2p-$$-$one" "$work/$one" --bootstrap "$boot"; first=$daemon
    node "p2p-$$-$two" "$work/$two" --bootstrap "$boot"; second=$daemon
    "$bin/p2p" --home "$work/$one" share "$work/$one.site" --json > "$work/$one.share" 2> /dev/null
    link="$(field link < "$work/$one.share")"
    peer="$(field peer_id < "$work/$one.out")"
    # Reached through a relay, or from the world: what the sharing side has to have found out.
    for _ in $(seq 100); do
        "$bin/p2pnode" --home "$work/$one" status --json > "$work/status"
        grep -q '"relays":\[\]' "$work/status" && grep -q '"external":\[\]' "$work/status" || break
        sleep 0.1
    done
    begun=$(date +%s%N); connected=-
    ( for _ in $(seq 300); do
        if "$bin/p2p" --home "$work/$two" peers --json 2> /dev/null | grep -q "\"peer\":\"$peer\""; then
            echo $((($(date +%s%N) - begun) / 1000000)) > "$work/connected"; exit
        fi
        sleep 0.05
    done ) & watcher=$!
    rm -f "$work/connected"
    # The bare link: everything is found by the DHT.
    if "$bin/p2p" --home "$work/$two" clone "${link%%#*}" "$work/$two.copy" --json --timeout 60 > "$work/clone" 2> "$work/clone.err" \
        && cmp -s "$work/content" "$work/$two.copy/content"; then
        seconds="$(tail -n 1 "$work/clone" | field seconds)"
        # The direct connection may come a moment after the relayed one.
        for _ in $(seq 30); do
            path="$("$bin/p2p" --home "$work/$two" peers --json | grep -o "\"peer\":\"$peer\"[^}]*" | field kind)"
            [[ "$path" == relayed ]] || break
            sleep 0.1
        done
        rate="$(awk -v b="$megabytes" -v s="$seconds" 'BEGIN { printf "%.0f", b * 8 / s }')"
    else
        path=FAILED seconds=- rate=-
        tail -n 2 "$work/clone.err" >&2
    fi
    kill "$watcher" 2> /dev/null || true; wait "$watcher" 2> /dev/null || true
    [[ -s "$work/connected" ]] && connected="$(cat "$work/connected")"
    echo "$a,$b,$path,$connected,$seconds,$rate" | tee -a "$work/nat-lab.csv"
    ended "$first"; ended "$second"
    for name in "p2p-$$-$one" "p2p-$$-$one-r" "p2p-$$-$two" "p2p-$$-$two-r"; do ip netns del "$name" 2> /dev/null || true; done
    rm -rf "$work/$one"* "$work/$two"*
}
# What must be: everybody is reached; public hosts and full cones directly, two port-restricted ones too.
is_good() {
    case "$path,$1,$2" in
        FAILED,*) return 1 ;;
        direct,*) return 0 ;;
        *udp-blocked*) return 0 ;;
        *,none,* | *,none | *,cone,* | *,restricted,restricted) return 1 ;;
    esac
}
wrong=0
for a in "${kinds[@]}"; do for b in "${kinds[@]}"; do
    pair "$a" "$b"
    # Punching a hole is a matter of chance: 95 of 100 have to come through, so one more try is fair.
    is_good "$a" "$b" || { pair "$a" "$b"; is_good "$a" "$b" || wrong=$((wrong + 1)); }
done; done
[[ -n "${CSV:-}" ]] && cp "$work/nat-lab.csv" "$CSV"
# The relay in use dies in the middle of a clone between two hosts that cannot reach each other without one.
second="p2p-$$-relay2"; space "$second"; plug "$second" 198.51.100.2
node "$second" "$work/relay2" --relay --bootstrap "$boot"; second_relay=$daemon
other="/ip4/198.51.100.2/tcp/4101/p2p/$(field peer_id < "$work/relay2.out")"
router x symmetric 198.51.100.251; router y symmetric 198.51.100.252
node "p2p-$$-x" "$work/x" --bootstrap "$boot" --bootstrap "$other"
node "p2p-$$-y" "$work/y" --bootstrap "$boot" --bootstrap "$other"
mkdir "$work/large"; head -c 200000000 /dev/urandom > "$work/large/content"
"$bin/p2p" --home "$work/x" share "$work/large" --json > "$work/large.share" 2> /dev/null
for _ in $(seq 100); do
    "$bin/p2pnode" --home "$work/x" status --json | grep -q '"relays":\["[^]]*","' && break
    sleep 0.1
done
link="$(field link < "$work/large.share")"
"$bin/p2p" --home "$work/y" clone "${link%%#*}" "$work/large.copy" --json --timeout 60 > "$work/clone" 2> "$work/clone.err" & cloning=$!
pids+=("$cloning")
for _ in $(seq 600); do
    got="$(tail -n 1 "$work/clone" | field bytes_done)" || got=0
    [[ "${got:-0}" -gt 20000000 ]] && break
    sleep 0.02
done
used="$("$bin/p2p" --home "$work/y" peers --json | grep -o '"address":"[^"]*p2p-circuit' | head -n 1)" || used=
[[ "$used" == */198.51.100.2/* ]] && victim=$second_relay || victim=$first_relay
kill -9 "$victim"
begun=$(date +%s%N)
wait "$cloning" || { cat "$work/clone.err"; fail "the clone did not survive its relay"; }
took=$((($(date +%s%N) - begun) / 1000000))
cmp -s "$work/large/content" "$work/large.copy/content" || fail "the copy is not what was shared"
fetched="$(tail -n 1 "$work/clone" | field bytes_fetched)"
[[ "$fetched" -le 264000000 ]] || fail "$fetched bytes fetched for 200 MB: it began anew"
echo "the relay in use was killed: the clone was complete $took ms later, $fetched bytes fetched in all"
[[ "$wrong" == 0 ]] || { echo "$wrong pairs are not as they must be"; exit 1; }
echo "the NAT lab passed"
