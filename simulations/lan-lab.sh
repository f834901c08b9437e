#!/usr/bin/env bash
# Real nodes on one local network: how they find each other where multicast works, where it is dropped, where an access point
# keeps its clients apart, behind one router with and without hairpin, and beside a bridge of containers. Each case prints the
# way that was taken and the milliseconds until it was there, and fails where it must be quicker or another way. Needs root,
# iproute2 and nftables; skipped with a sentence otherwise.
#
#   bash simulations/lan-lab.sh [CASE...]     cases: multicast memory link box apart hairpin docker; all by default
set -euo pipefail
# shellcheck source=simulations/lab.sh
source "$(dirname "${BASH_SOURCE[0]}")/lab.sh"
cases=("$@"); [[ ${#cases[@]} -gt 0 ]] || cases=(multicast memory link box apart hairpin docker)
# By multicast: two packets of the library's own pace have to come first.
QUICK=1000 WITH_MULTICAST=3000 THROUGH_RELAY=3000
wrong=0
quiet=(--no-port-mapping)

# switch NAME: a bridge in a namespace, whose router is 192.168.77.1.
switch() {
    lan="p2p-$$-$1"; space "$lan"
    ip -n "$lan" link add name br0 type bridge; ip -n "$lan" link set br0 up
    ip -n "$lan" addr add 192.168.77.1/24 dev br0
    # A switch does not look into packets; this kernel's part that does is not everywhere.
    ip netns exec "$lan" sysctl -q -w net.bridge.bridge-nf-call-iptables=0 2> /dev/null || true
}
# host NAME LAST: a computer at that switch; its port is the namespace's interface of the same number.
host() {
    local name="p2p-$$-$1"
    space "$name"
    ip -n "$name" link add name eth0 type veth peer name "to$2" netns "$lan"
    ip -n "$lan" link set "to$2" master br0 up
    ip -n "$name" addr add "192.168.77.$2/24" dev eth0; ip -n "$name" link set eth0 up
    ip -n "$name" route add default via 192.168.77.1
}
# deaf NAME: this computer's multicast does not get anywhere.
deaf() {
    ip netns exec "p2p-$$-$1" nft -f - <<'NFT'
table inet deaf {
  chain out { type filter hook output priority 0; meta l4proto udp ip daddr 224.0.0.0/4 drop
    meta l4proto udp ip6 daddr ff00::/8 drop
  }
  chain in { type filter hook input priority 0; meta l4proto udp ip daddr 224.0.0.0/4 drop
    meta l4proto udp ip6 daddr ff00::/8 drop
  }
}
NFT
}
# apart LAST: frames from that port reach no other port that is set so.
apart() { ip -n "$lan" link set dev "to$1" type bridge_slave isolated on; }
# started HOST HOME [flags]: a node whose id is $id afterwards, and the moment in $begun.
started() {
    local where="p2p-$$-$1" home="$2"; shift 2
    # An earlier node of this home has said who it is as well.
    rm -f "$home.out"
    node "$where" "$home" "$@"
    begun=$(date +%s%N); id="$(field peer_id < "$home.out")"
}
now_ms() { echo $((($(date +%s%N) - begun) / 1000000)); }
# path HOME PEER: the way to that peer, or nothing.
path() { "$bin/p2p" --home "$1" peers --json 2> /dev/null | grep -o "\"peer\":\"$2\"[^}]*" | field path || true; }
# reached CASE HOME PEER WAY LIMIT: until the way to the peer is that one.
reached() {
    local name="$1" home="$2" peer="$3" way="$4" limit="$5" is=""
    while [[ "$(now_ms)" -lt $((limit + 10000)) ]]; do
        is="$(path "$home" "$peer")"
        [[ "$is" == "$way" ]] && break
        sleep 0.02
    done
    told "$name" "${is:-none}" "$way" "$(now_ms)" "$limit"
}
# told CASE IS WAY MS LIMIT: prints, and counts what is not as it must be.
told() {
    local verdict=good
    [[ "$2" == "$3" && "$4" -le "$5" ]] || { verdict="WRONG: must be $3 within $5 ms"; wrong=$((wrong + 1)); }
    echo "$1: $2 after $4 ms ($verdict)"
}
# friends HOME PEER...: a configuration in which these peers are trusted.
friends() {
    local home="$1" list=""; shift
    for peer in "$@"; do list="$list\"$peer\","; done
    printf 'dns = "off"\n[transport.limits]\ntrusted_peers = [%s]\n' "${list%,}" > "$home.toml"
}
# says HOME PATTERN: whether the node's status has it.
says() { "$bin/p2pnode" --home "$1" status --json | grep -q "$2"; }
# known HOST HOME: makes the node's id without leaving it running; prints it.
known() { started "$1" "$2" --no-mdns; ended "$daemon"; }

multicast() {
    switch multicast; host ma 11; host mb 12
    started ma "$work/ma"; local a=$id
    started mb "$work/mb"
    reached "multicast" "$work/mb" "$a" lan "$WITH_MULTICAST"
}

memory() {
    switch memory; host ya 11; host yb 12
    known ya "$work/ya"; local a=$id; known yb "$work/yb"; local b=$id
    friends "$work/ya" "$b"; friends "$work/yb" "$a"
    started ya "$work/ya" --config "$work/ya.toml"; local one=$daemon
    started yb "$work/yb" --config "$work/yb.toml"; local two=$daemon
    reached "memory, the first time by multicast" "$work/yb" "$a" lan "$WITH_MULTICAST"
    # The second node is told where the first one is a moment after it has connected; then both lose their power.
    await 50 says "$work/yb" '"remembered":[1-9]' || fail "the neighbour is not remembered"
    ended "$one"; ended "$two"
    deaf ya; deaf yb
    started ya "$work/ya" --config "$work/ya.toml"
    started yb "$work/yb" --config "$work/yb.toml"
    reached "memory, multicast dropped" "$work/yb" "$a" lan "$QUICK"
}

# shared HOME: shares a small folder; the link is in $link.
shared() {
    mkdir -p "$1.site"; echo hello > "$1.site/hello.txt"
    link="$("$bin/p2p" --home "$1" share "$1.site" --json 2> /dev/null | field link)"
}
# announced: a new address is told to the directory half a second after it came.
announced() { sleep 1; }
# cloned CASE HOME LINK PEER WAY LIMIT: clones, and says by which way.
cloned() {
    local name="$1" home="$2" from="$3" peer="$4" way="$5" limit="$6" is ms
    begun=$(date +%s%N)
    "$bin/p2p" --home "$home" clone "$from" "$home.copy" --json --timeout 30 > "$home.clone" 2>&1 || true
    ms="$(now_ms)"
    grep -q hello "$home.copy/hello.txt" 2> /dev/null || { tail -n 2 "$home.clone"; told "$name" failed "$way" "$ms" "$limit"; return; }
    is="$(path "$home" "$peer")"
    told "$name" "${is:-none}" "$way" "$ms" "$limit"
}

link() {
    switch link; host la 11; host lb 12; deaf la; deaf lb
    started la "$work/la"; local a=$id
    shared "$work/la"
    started lb "$work/lb"
    # Time enough for multicast, if it got through.
    sleep 1; [[ -z "$(path "$work/lb" "$a")" ]] || fail "multicast is not dropped"
    cloned "link with addresses, multicast dropped" "$work/lb" "$link" "$a" lan "$QUICK"
}

box() {
    switch box; host ba 11; host bb 12; host bw 13; apart 11; apart 12
    started bw "$work/bw" --relay; local w=$id
    started ba "$work/ba"; local a=$id
    shared "$work/ba"
    await 100 says "$work/ba" '"relays":\["' || fail "the box is no relay for who is kept apart"
    announced
    link="$("$bin/p2p" --home "$work/ba" shares --json | field link)"
    # It knows nobody: whom to ask is all in the link.
    started bb "$work/bb" --no-mdns; local two=$daemon
    cloned "clients kept apart, through the box, by the link alone" "$work/bb" "$link" "$a" relayed "$THROUGH_RELAY"
    # Another node on that computer, so that nothing is known yet and nobody else has the folder.
    ended "$two"; started bb "$work/bc"
    reached "clients kept apart, the box again" "$work/bc" "$w" lan "$WITH_MULTICAST"
    cloned "clients kept apart, through the box, by the directory" "$work/bc" "${link%%#*}" "$a" relayed "$THROUGH_RELAY"
}

apart_alone() {
    switch apart; host aa 11; host ab 12
    known aa "$work/aa"; local a=$id; known ab "$work/ab"; local b=$id
    friends "$work/aa" "$b"; friends "$work/ab" "$a"
    started aa "$work/aa" --config "$work/aa.toml"
    started ab "$work/ab" --config "$work/ab.toml"; local two=$daemon
    reached "no path, before they are kept apart" "$work/ab" "$a" lan "$WITH_MULTICAST"
    await 50 says "$work/ab" '"remembered":[1-9]' || fail "the neighbour is not remembered"
    ended "$two"; apart 11; apart 12; ip -n "p2p-$$-ab" neigh flush all
    started ab "$work/ab" --config "$work/ab.toml"
    begun=$(date +%s%N)
    local said=""
    for _ in $(seq 100); do
        said="$("$bin/p2p" --home "$work/ab" doctor lan)"
        [[ "$said" == *"keeps computers apart"* ]] && break
        sleep 0.1
    done
    if [[ "$said" == *"keeps computers apart"* ]]; then
        echo "no path: the doctor names the cause after $(now_ms) ms"
    else
        echo "$said"; echo "no path: WRONG: the doctor does not name the cause"; wrong=$((wrong + 1))
    fi
}

# one_router NAME ADDRESS: the switch's own side is a router to the public network.
one_router() {
    switch "$1"; plug "$lan" "$2"
    nat "$lan" restricted -
}
hairpin() {
    space "p2p-$$-hw"; plug "p2p-$$-hw" 198.51.100.1
    started hw "$work/hw" --relay --no-mdns
    local boot="/ip4/198.51.100.1/tcp/4101/p2p/$id" a b
    one_router off 198.51.100.30; host ha 11; host hb 12; deaf ha; deaf hb
    known ha "$work/ha"; a=$id; known hb "$work/hb"; b=$id
    friends "$work/ha" "$b"; friends "$work/hb" "$a"
    started ha "$work/ha" --config "$work/ha.toml" --bootstrap "$boot"
    shared "$work/ha"
    await 100 says "$work/ha" '"relays":\["' || fail "no relay is found"
    announced
    started hb "$work/hb" --config "$work/hb.toml" --bootstrap "$boot"
    await 50 says "$work/hb" '"dht_peers":[1-9]' || fail "the directory is not reached"
    begun=$(date +%s%N)
    "$bin/p2p" --home "$work/hb" clone "${link%%#*}" "$work/hb.copy" --json --timeout 30 > "$work/hb.clone" 2>&1 || true
    reached "one router without hairpin, by addresses told over the relay" "$work/hb" "$a" lan "$THROUGH_RELAY"

    one_router on 198.51.100.40; host ia 11; host ib 12; deaf ia; deaf ib; apart 11; apart 12
    # The public address leads to the first host, from outside and from inside.
    ip netns exec "$lan" nft add rule ip nat pre ip daddr 198.51.100.40 meta l4proto '{ tcp, udp }' th dport 4101 dnat to 192.168.77.11
    ip netns exec "$lan" nft add rule ip nat post ip saddr 192.168.77.0/24 ip daddr 192.168.77.11 masquerade
    ip netns exec "$lan" nft flush chain inet filter forward
    # A router that turns packets round says nothing of a shorter way: it is the access point that closes that.
    for name in all default br0; do ip netns exec "$lan" sysctl -q -w "net.ipv4.conf.$name.send_redirects=0"; done
    started ia "$work/ia" --bootstrap "$boot"; a=$id
    shared "$work/ia"
    await 150 says "$work/ia" '"external":\["[^]]*198.51.100.40' || fail "the public address is not found out"
    announced
    started ib "$work/ib" --bootstrap "$boot"
    await 50 says "$work/ib" '"dht_peers":[1-9]' || fail "the directory is not reached"
    begun=$(date +%s%N)
    "$bin/p2p" --home "$work/ib" clone "${link%%#*}" "$work/ib.copy" --json --timeout 30 > "$work/ib.clone" 2>&1 || true
    reached "one router with hairpin, clients kept apart" "$work/ib" "$a" direct "$THROUGH_RELAY"
}

docker() {
    switch docker; host da 11; host db 12
    for name in da db; do
        ip -n "p2p-$$-$name" link add name docker0 type bridge
        ip -n "p2p-$$-$name" addr add 172.17.0.1/16 dev docker0; ip -n "p2p-$$-$name" link set docker0 up
    done
    started da "$work/da"; local a=$id
    started db "$work/db"
    reached "beside a bridge of containers" "$work/db" "$a" lan "$WITH_MULTICAST"
    "$bin/p2p" --home "$work/db" peers --json | grep -o "\"peer\":\"$a\"[^}]*" | grep -q '/ip4/192.168.77.11/' \
        || { echo "WRONG: not by the address in the network"; wrong=$((wrong + 1)); }
}

# What a case has made goes with it, so that the next one has the computer to itself.
gone() {
    local pid name
    for pid in "${pids[@]}"; do ended "$pid"; done; pids=()
    for name in "${spaces[@]}"; do [[ "$name" == "$net" ]] || ip netns del "$name"; done; spaces=("$net")
    rm -rf "${work:?}"/*
}
for name in "${cases[@]}"; do
    case "$name" in
        multicast | memory | link | box | hairpin | docker) try="$name" ;;
        apart) try=apart_alone ;;
        *) fail "no such case: $name" ;;
    esac
    before=$wrong
    "$try"; gone
    # The time that a case takes depends on what else the computer does, so one more try is fair.
    if [[ "$wrong" != "$before" ]]; then wrong=$before; echo "$name, once more:"; "$try"; gone; fi
done
[[ "$wrong" == 0 ]] || { echo "$wrong of the figures are not as they must be"; exit 1; }
echo "the LAN lab passed"
