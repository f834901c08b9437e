#!/usr/bin/env bash
# What has to go on behind real NAT: routers that are asked for a port (a real miniupnpd), hosts that move, relays that die or
# have had enough. Each case is a check with its figure. Needs root, iproute2 and nftables, and miniupnpd for the first three;
# skipped with a sentence otherwise.
#
#   bash simulations/nat-cases.sh [CASE...]     cases: upnp pcp nested symmetric behaviour relay-killed capped trusted young
#                                               clone-moves share-moves; all by default
#
# TRUSTED_MB is what goes over a relay that trusts both sides: 300 by default, which is more than a public relay carries at once.
source "$(dirname "${BASH_SOURCE[0]}")/lab.sh"

cases=("$@"); [[ ${#cases[@]} -gt 0 ]] || cases=(upnp pcp nested symmetric behaviour relay-killed capped trusted young clone-moves share-moves)
relay="p2p-$$-relay"; space "$relay"; plug "$relay" $world.1
node "$relay" "$work/relay" --relay; first_relay=$daemon
boot="/ip4/$world.1/tcp/4101/p2p/$(field peer_id < "$work/relay.out")"

now_ms() { echo $(($(date +%s%N) / 1000000)); }
status_of() { "$bin/p2pnode" --home "$work/$1" status --json; }
has_relay() { ! status_of "$1" | grep -q '"relays":\[\]'; }
is_public() { status_of "$1" | grep -q '"reachability":"public"'; }
# host NAME KIND NUMBER [flags]: a host with a node of that name.
host() {
    local name="$1" kind="$2" number="$3"; shift 3
    router "$name" "$kind" "$world.$number"
    node "p2p-$$-$name" "$work/$name" --bootstrap "$boot" "$@"
}
# slow SPACE INTERFACE MBIT: what leaves there is that slow.
slow() { ip netns exec "$1" tc qdisc add dev "$2" root tbf rate "$3mbit" burst 256k latency 100ms; }
# share NAME MEGABYTES: a drive of that size; its link is $link.
share() {
    mkdir "$work/$1.site"; head -c "$2"000000 /dev/urandom > "$work/$1.site/content"
    "$bin/p2p" --home "$work/$1" share "$work/$1.site" --json > "$work/$1.share" 2> /dev/null
    link="$(field link < "$work/$1.share")"; link="${link%%#*}"
}
# begin NAME: clones $link in the background; its process is $cloning.
begin() {
    "$bin/p2p" --home "$work/$1" clone "$link" "$work/$1.copy" --json --timeout 60 > "$work/$1.clone" 2> "$work/$1.clone.err" & cloning=$!
    pids+=("$cloning")
}
# bytes NAME: how many of them are there.
bytes() { local got; got="$(tail -n 1 "$work/$1.clone" | field bytes_done)" || got=0; echo "${got:-0}"; }
has_bytes() { [[ "$(bytes "$1")" -gt "$2" ]]; }
# complete NAME FROM MOST: the clone ends, equals what FROM shares, and fetched no more than MOST bytes; they are in $fetched.
complete() {
    wait "$cloning" || { cat "$work/$1.clone.err"; fail "the clone did not come through"; }
    cmp -s "$work/$2.site/content" "$work/$1.copy/content" || fail "the copy is not what was shared"
    fetched="$(tail -n 1 "$work/$1.clone" | field bytes_fetched)"
    [[ "$fetched" -le "$3" ]] || fail "$fetched bytes fetched, more than $3: it began anew"
}
path_to() { "$bin/p2p" --home "$work/$1" peers --json | grep -o "\"peer\":\"$(field peer_id < "$work/$2.out")\"[^}]*" | field kind; }
# over NAME...: the hosts go.
over() {
    local name
    for name in "$@"; do
        "$bin/p2pnode" --home "$work/$name" stop > /dev/null 2>&1 || true
        remove "$name"; rm -rf "${work:?}/$name" "${work:?}/$name".*
    done
}

# port_router NAME NATPMP UPNP: the router of NAME gives ports, in those protocols, for ten seconds each in PCP; its process
# is $router.
port_router() {
    local nat="p2p-$$-$1-r"
    ip netns exec "$nat" nft -f - <<NFT
table inet filter {
  chain miniupnpd { }
  chain prerouting_miniupnpd { }
  chain postrouting_miniupnpd { }
  chain before { type nat hook prerouting priority dstnat - 1; jump prerouting_miniupnpd
  }
  chain after { type nat hook postrouting priority srcnat - 1; jump postrouting_miniupnpd
  }
}
insert rule inet filter forward jump miniupnpd
NFT
    cat > "$work/$1.conf" <<CONF
ext_ifname=wan
listening_ip=lan
enable_natpmp=$2
enable_upnp=$3
min_lifetime=8
max_lifetime=10
secure_mode=yes
uuid=00000000-0000-4000-8000-000000000001
upnp_table_name=filter
upnp_nat_table_name=filter
upnp_forward_chain=miniupnpd
upnp_nat_chain=prerouting_miniupnpd
upnp_nat_postrouting_chain=postrouting_miniupnpd
lease_file=$work/$1.leases
allow 1024-65535 192.168.50.0/24 1024-65535
deny 0-65535 0.0.0.0/0 0-65535
CONF
    ip netns exec "$nat" miniupnpd -d -f "$work/$1.conf" -P "$work/$1.pid" > "$work/$1.log" 2>&1 & router=$!
    pids+=("$router")
    await 50 grep -qi "listening" "$work/$1.log" || { cat "$work/$1.log"; fail "miniupnpd did not start"; }
}
# Ports that the router of NAME leads inside, and until when it does so, as its leases say.
led() { ip netns exec "p2p-$$-$1-r" nft list chain inet filter prerouting_miniupnpd | grep -c "dnat" || true; }
until_when() { cut -d : -f 5 "$work/$1.leases" | sort -n | head -n 1; }
has_led() { [[ "$(led "$1")" == "$2" ]]; }
is_renewed() { local ends; ends="$(until_when "$1")"; [[ -n "$ends" && "$ends" -gt "$2" ]]; }
# ports PROTOCOL NATPMP UPNP: a host behind a closed router that gives ports is reached directly by those who can do the least.
ports() {
    command -v miniupnpd > /dev/null || { echo "$1: skipped: the lab needs miniupnpd"; return; }
    router a restricted $world.20; port_router a "$2" "$3"
    quiet=(--no-mdns); node "p2p-$$-a" "$work/a" --bootstrap "$boot"; quiet=(--no-mdns --no-port-mapping)
    local begun mapped before=; begun="$(now_ms)"
    await 100 has_led a 2 || { tail -n 5 "$work/a.err" "$work/a.log"; fail "$1: the router leads no port to the host"; }
    mapped="$(now_ms)"
    await 150 is_public a || fail "$1: nobody dialled the mapped address"
    "$bin/p2p" --home "$work/a" doctor nat | grep -q "asked for by $1" || fail "$1: the doctor does not say by what the port was got"
    share a 5
    local kind path
    host symmetric symmetric 30; host udp-blocked udp-blocked 31
    for kind in symmetric udp-blocked; do
        begin "$kind"; complete "$kind" a 9000000
        path="$(path_to "$kind" a)"
        [[ "$path" == direct ]] || fail "$1: $kind reaches the host $path"
    done
    if [[ "$1" == PCP ]]; then
        before="$(until_when a)"
        await 120 is_renewed a "$before" || fail "$1: the mapping was not renewed"
    fi
    "$bin/p2pnode" --home "$work/a" stop > /dev/null
    await 20 has_led a 0 || fail "$1: the mapping is still there after the node has stopped"
    echo "$1: mapped within $((mapped - begun)) ms, direct from symmetric and from udp-blocked${before:+, renewed}, gone at the end"
    ended "$router"; over a symmetric udp-blocked
}

# moves CLONER_OR_SHARER: the host of one side gets another address in the middle of a clone.
moves() {
    host x restricted 40; host y restricted 41
    slow "p2p-$$-x" eth0 160; await 100 has_relay x || fail "no relay"
    share x 150; begin y
    await 200 has_bytes y 20000000 || { cat "$work/y.clone.err"; fail "$1 moves: the clone did not begin"; }
    local where="p2p-$$-$1" begun after got path
    path="$(path_to y x)"
    begun="$(now_ms)"
    ip -n "$where" addr del 192.168.50.2/24 dev eth0
    ip -n "$where" addr add 192.168.50.3/24 dev eth0
    ip -n "$where" route add default via 192.168.50.1
    # What was on its way may still come.
    sleep 0.3; got="$(bytes y)"
    await 300 has_bytes y $((got + 1000000)) || { cat "$work/y.clone.err"; fail "$1 moves: nothing came any more"; }
    after=$(($(now_ms) - begun))
    [[ "$after" -le 5000 ]] || fail "$1 moves: bytes flowed again only after $after ms"
    complete y x 200000000
    echo "$1 moves in the middle of a clone ($path before, $(path_to y x) after): bytes flow again after $after ms, $fetched fetched in all"
    over x y
}

# nested: a router that gives ports behind another one that does not: the doctor says so, and a clone goes another way.
nested() {
    command -v miniupnpd > /dev/null || { echo "nested: skipped: the lab needs miniupnpd"; return; }
    router a double "$world.50"; port_router a yes no
    quiet=(--no-mdns); node "p2p-$$-a" "$work/a" --bootstrap "$boot"; quiet=(--no-mdns --no-port-mapping)
    says_nested() { "$bin/p2p" --home "$work/a" doctor nat | grep -q "or stands behind another router"; }
    await 100 says_nested || fail "nested: the doctor does not say that there are two routers"
    await 100 has_relay a || fail "nested: no relay"
    share a 5; host b symmetric 51
    begin b; complete b a 9000000
    echo "nested: the doctor names the second router; the clone came $(path_to b a), $fetched fetched"
    ended "$router"; over a b
}
# observed: a second node in the world, at $other, as one observer tells nothing about a mapping; until unobserved.
observed() {
    local where="p2p-$$-observer"
    space "$where"; plug "$where" $world.99; node "$where" "$work/observer" --bootstrap "$boot"; observer=$daemon
    other="/ip4/$world.99/tcp/4101/p2p/$(field peer_id < "$work/observer.out")"
}
unobserved() { ended "$observer"; ip netns del "p2p-$$-observer"; rm -rf "${work:?}/observer"*; }
# symmetric: two hosts that can only meet on a relay, and are told why.
symmetric() {
    observed
    host x symmetric 60 --bootstrap "$other"; host y symmetric 61 --bootstrap "$other"
    await 100 has_relay x || fail "symmetric: no relay"
    share x 20; begin y; complete y x 30000000
    [[ "$(path_to y x)" == relayed ]] || fail "symmetric: the way is $(path_to y x)"
    # Both routers were measured, each by its own side.
    says_both() {
        "$bin/p2p" --home "$work/y" doctor nat > "$work/y.doctor"; grep -q "both routers take another port for each peer" "$work/y.doctor"
    }
    await 150 says_both || { cat "$work/y.doctor"; fail "symmetric: the doctor does not say what both routers do"; }
    local peer; peer="$(field peer_id < "$work/x.out")"
    "$bin/p2p" --home "$work/y" peers | grep -q "$peer is relayed: both routers" || fail "symmetric: p2p peers does not say why"
    "$bin/p2p" --home "$work/y" ping "$peer" | grep -q "why not directly: both routers" || fail "symmetric: p2p ping does not say why"
    echo "symmetric: relayed, $fetched fetched; doctor, peers and ping say why"
    over x y; unobserved
}
# relay_killed: the relay in use dies in the middle of a clone between two hosts that cannot do without one.
relay_killed() {
    local second="p2p-$$-relay2" other victim=$first_relay begun used second_relay
    space "$second"; plug "$second" "$world.2"
    node "$second" "$work/relay2" --relay --bootstrap "$boot"; second_relay=$daemon
    other="/ip4/$world.2/tcp/4101/p2p/$(field peer_id < "$work/relay2.out")"
    host x symmetric 70 --bootstrap "$other"; host y symmetric 71 --bootstrap "$other"
    has_two() { status_of x | grep -q '"relays":\["[^]]*","'; }
    await 100 has_two || fail "relay-killed: no second relay"
    slow "p2p-$$-x" eth0 400; share x 200; begin y
    await 200 has_bytes y 20000000 || { cat "$work/y.clone.err"; fail "relay-killed: the clone did not begin"; }
    used="$("$bin/p2p" --home "$work/y" peers --json | grep -o '"address":"[^"]*p2p-circuit' | head -n 1)" || used=
    [[ "$used" == *"/$world.2/"* ]] && victim=$second_relay
    ended "$victim"
    begun="$(now_ms)"
    sleep 0.3; got="$(bytes y)"
    await 300 has_bytes y $((got + 1000000)) || { cat "$work/y.clone.err"; fail "relay-killed: nothing came any more"; }
    local after=$(($(now_ms) - begun))
    complete y x 300000000
    echo "relay-killed: bytes flow again after $after ms over another relay, $fetched fetched in all of 200000000"
    over x y
    # For the cases that follow: one relay, at the address that they know.
    "$bin/p2pnode" --home "$work/relay2" stop > /dev/null 2>&1 || true
    "$bin/p2pnode" --home "$work/relay" stop > /dev/null 2>&1 || true
    ip netns del "$second"
    node "$relay" "$work/relay" --relay; first_relay=$daemon
}
# capped: a public relay cuts a circuit after 256 MiB; what was fetched is kept, and the rest comes over the next one.
capped() {
    host x symmetric 80; host y symmetric 81; await 100 has_relay x || fail "capped: no relay"
    share x 560; begin y; complete y x 650000000
    [[ "$(path_to y x)" == relayed ]] || fail "capped: the way is $(path_to y x)"
    # Counters are brought up to date every 15 s.
    local cut=0
    has_cut() {
        cut="$("$bin/p2p" --home "$work/relay" api GET /v1/metrics | grep "^p2pnode_relay_circuits_cut_total" | cut -d " " -f 2)"
        [[ "$cut" -ge 1 ]]
    }
    await 200 has_cut || fail "capped: the relay cut nothing"
    echo "capped: $cut circuits cut at their cap, $fetched fetched in all of 560000000"
    over x y
}

# A relay that trusts both sides has no cap: one clone, one circuit, however much.
trusted() {
    local megabytes="${TRUSTED_MB:-300}" id before begun
    local friend="p2p-$$-friend"; space "$friend"; plug "$friend" $world.90
    # Who they are has to be known before the relay starts.
    host x symmetric 91; host y symmetric 92
    for id in x y; do
        before="${before:+$before, }\"$(field peer_id < "$work/$id.out")\""
        "$bin/p2pnode" --home "$work/$id" stop > /dev/null
    done
    printf '[transport.limits]\ntrusted_peers = [%s]\n' "$before" > "$work/friend.toml"
    node "$friend" "$work/friend" --relay=trusted --config "$work/friend.toml"; local relaying=$daemon
    local only="/ip4/$world.90/tcp/4101/p2p/$(field peer_id < "$work/friend.out")"
    for id in x y; do rm -f "$work/$id.out"; node "p2p-$$-$id" "$work/$id" --bootstrap "$only"; done
    await 100 has_relay x || fail "trusted: no relay"
    share x "$megabytes"; begun="$(now_ms)"; begin y; complete y x $((megabytes * 1001000))
    [[ "$(path_to y x)" == relayed ]] || fail "trusted: the way is $(path_to y x)"
    local cut; cut="$("$bin/p2p" --home "$work/friend" api GET /v1/metrics | grep "^p2pnode_relay_circuits_cut_total" | cut -d " " -f 2)"
    [[ "$cut" == 0 ]] || fail "trusted: the relay cut $cut circuits"
    echo "trusted: $megabytes MB over a relay that trusts both, nothing cut, $(($(now_ms) - begun)) ms"
    over x y; ended "$relaying"; ip netns del "$friend"
}
# young: a second node in the world, which is no island for it knows the first, answers queries itself soon.
young() {
    local second="p2p-$$-young" begun
    space "$second"; plug "$second" $world.95; begun="$(now_ms)"; node "$second" "$work/young" --bootstrap "$boot"; local answering=$daemon
    answers() { status_of young > "$work/young.status"; grep -q '"dht_mode":"server"' "$work/young.status" && ! grep -q '"dht_peers":0' "$work/young.status"; }
    await 250 answers || { cat "$work/young.status"; fail "young: the second node answers no queries"; }
    echo "young: the second node in the world answers queries after $(($(now_ms) - begun)) ms"
    ended "$answering"; ip netns del "$second"
}

# nat_of NAME TRANSPORT FIELD: what the node of NAME has measured about its router.
nat_of() { status_of "$1" | grep -o "\"nat\":{.*" | grep -o "\"$2\":{[^}]*" | field "$3"; }
is_measured() { [[ "$(nat_of "$1" "$2" mapping) $(nat_of "$1" "$2" filtering) $(nat_of "$1" "$2" blocked)" =~ ^$3$ ]]; }
# visit NAME NUMBER: somebody whom the host of NAME does not know knocks at its router, by both transports.
visit() {
    local at="p2p-$$-visitor" transport visitor
    space "$at"; plug "$at" $world.98; rm -f "$work/visitor.out"; node "$at" "$work/visitor"; visitor=$daemon
    for transport in tcp/4101 udp/4101/quic-v1; do
        "$bin/p2p" --home "$work/visitor" dial "/ip4/$world.$2/$transport/p2p/$(field peer_id < "$work/$1.out")" --timeout 2 > /dev/null 2>&1 || true
    done
    ended "$visitor"; ip netns del "$at"; rm -rf "${work:?}/visitor"
}
# behaviour: each kind of router is told for what it is, within the time that a first test by others takes.
behaviour() {
    local begun kind number=100 udp tcp strict=address_and_port_dependent
    observed
    for kind in none cone restricted renumbering symmetric udp-blocked; do
        number=$((number + 1)); begun="$(now_ms)"
        case "$kind" in
            # Whether the first one who came in had been written to by that transport is chance.
            none) udp="none (address_dependent|endpoint_independent) false" ;;
            cone) udp="endpoint_independent (address_dependent|endpoint_independent) false" ;;
            restricted | renumbering) udp="endpoint_independent $strict false" ;;
            symmetric) udp="endpoint_dependent $strict false" ;;
            udp-blocked) udp="null null true" ;;
        esac
        tcp="$udp"; [[ "$kind" == udp-blocked ]] && tcp="endpoint_independent $strict false"
        host "$kind" "$kind" "$number" --bootstrap "$other"
        "$bin/p2p" --home "$work/$kind" doctor nat > "$work/$kind.doctor"
        await 250 is_measured "$kind" udp "$udp" || { status_of "$kind"; fail "behaviour: UDP behind $kind is not $udp"; }
        await 250 is_measured "$kind" tcp "$tcp" || { status_of "$kind"; fail "behaviour: TCP behind $kind is not $tcp"; }
        echo "behaviour: $kind told after $(($(now_ms) - begun)) ms: UDP $udp, TCP $tcp"
        visit "$kind" "$number"
        # Whom the host has never written to says whether anybody gets in.
        udp="${udp/(*)/endpoint_independent}"; tcp="${tcp/(*)/endpoint_independent}"
        await 30 is_measured "$kind" udp "$udp" || { status_of "$kind"; fail "behaviour: after a visit UDP behind $kind is not $udp"; }
        await 30 is_measured "$kind" tcp "$tcp" || { status_of "$kind"; fail "behaviour: after a visit TCP behind $kind is not $tcp"; }
        over "$kind"
    done
    unobserved
}

for case in "${cases[@]}"; do
    case "$case" in
        nested) nested ;;
        symmetric) symmetric ;;
        behaviour) behaviour ;;
        relay-killed) relay_killed ;;
        capped) capped ;;
        trusted) trusted ;;
        young) young ;;
        upnp) ports UPnP no yes ;;
        pcp) ports PCP yes no ;;
        clone-moves) moves y ;;
        share-moves) moves x ;;
        *) fail "no such case: $case" ;;
    esac
done
echo "the NAT cases passed"
