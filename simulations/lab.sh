#!/usr/bin/env bash
# What the labs share, to be sourced: network namespaces with nftables, routers of several kinds, and nodes in them. Ends the
# calling script with a sentence and status 0 where root, iproute2, nftables or the kernel's part of them is missing.
#
# Gives: $bin (the programs), $work (a folder that goes with the script), $net (the public network) and $world (its first
# three numbers: a block that is global for us, for UPnP and for routers), and the functions below. Everything made here is
# gone when the script ends.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
if [[ "$(id -u)" != 0 ]] || ! command -v nft > /dev/null || ! command -v ip > /dev/null; then
    echo "skipped: the labs need root, iproute2 and nftables"; exit 0
fi
# Everything that the lab is made of, once, in a namespace that is thrown away.
ip netns add "p2p-$$-probe" 2> /dev/null || { echo "skipped: no network namespace can be made here"; exit 0; }
probe='ip link add name wan type bridge && ip link add name lan type veth peer name far &&
    nft add table ip nat && nft "add chain ip nat post { type nat hook postrouting priority srcnat; }" &&
    nft add rule ip nat post meta l4proto udp masquerade random,fully-random'
has_all=yes; ip netns exec "p2p-$$-probe" sh -c "$probe" > /dev/null 2>&1 || has_all=no
ip netns del "p2p-$$-probe"
[[ "$has_all" == yes ]] || { echo "skipped: this kernel has no bridges, veth pairs or NAT for the lab"; exit 0; }

# The programs of $BIN, if that is given; else of this tree.
profile="${PROFILE:-debug}"
if [[ -n "${BIN:-}" ]]; then
    bin="$BIN"
else
    # With the same features as the tests, so that nothing is built twice where these have run.
    if [[ "$profile" == debug ]]; then
        cargo test --quiet --locked --workspace --no-run
    else
        cargo build --quiet --locked --release -p p2pnode
    fi
    bin="$(cd "${CARGO_TARGET_DIR:-target}/$profile" && pwd)"
fi
work="$(mktemp -d)"
unset P2PNODE_HOME P2PNODE_API XDG_RUNTIME_DIR
pids=() spaces=()
cleanup() {
    for pid in "${pids[@]}"; do kill -9 "$pid" 2> /dev/null && wait "$pid" 2> /dev/null || true; done
    for name in "${spaces[@]}"; do ip netns del "$name" 2> /dev/null || true; done
    # KEEP=1 leaves homes and logs to be looked at.
    if [[ -n "${KEEP:-}" ]]; then echo "kept: $work"; else rm -rf "$work"; fi
}
trap cleanup EXIT
fail() { echo "FAILED: $*"; exit 1; }
# space NAME: a namespace with nothing but its loopback.
space() { ip netns add "$1"; spaces+=("$1"); ip -n "$1" link set lo up; }
# field NAME: the value of that field in the JSON on stdin.
field() { grep -o "\"$1\":\"\?[^,\"}]*" | head -n 1 | sed "s/\"$1\":\"\?//"; }
# await TENTHS COMMAND...: until the command succeeds, that many tenths of a second at most.
await() {
    local tenths="$1"; shift
    for _ in $(seq "$tenths"); do "$@" && return; sleep 0.1; done
    return 1
}

# The public network: a bridge in a namespace of its own.
net="p2p-$$-net" world=11.22.33; space "$net"
ip -n "$net" link add name wan type bridge; ip -n "$net" link set wan up
port=0
# plug SPACE ADDRESS: an interface of SPACE in the public network.
plug() {
    port=$((port + 1))
    ip -n "$1" link add name wan type veth peer name "p$port" netns "$net"
    ip -n "$net" link set "p$port" master wan up
    ip -n "$1" addr add "$2/24" dev wan; ip -n "$1" link set wan up
}
# inside ROUTER PREFIX SPACE INTERFACE: SPACE has PREFIX.2 on INTERFACE in the network of ROUTER, which is PREFIX.1.
inside() {
    ip -n "$3" link add name "$4" type veth peer name lan netns "$1"
    ip -n "$3" addr add "$2.2/24" dev "$4"; ip -n "$3" link set "$4" up
    ip -n "$1" addr add "$2.1/24" dev lan; ip -n "$1" link set lan up
    ip -n "$3" route add default via "$2.1"
}
# nat SPACE KIND HOST: makes SPACE a router of that kind between wan and lan; a full cone hands everything to HOST.
nat() {
    ip netns exec "$1" sysctl -q -w net.ipv4.ip_forward=1
    local out="masquerade" in="" forward=""
    case "$2" in
        cone) in="iifname wan meta l4proto { tcp, udp } dnat to $3" ;;
        restricted) ;;
        symmetric) out="meta l4proto { tcp, udp } masquerade random,fully-random" ;;
        udp-blocked) forward="meta l4proto udp drop" ;;
        # Keeps one port for everybody, and not the one that the host has.
        renumbering)
            local wan; wan="$(ip -n "$1" -4 -o addr show wan | grep -o "inet [0-9.]*" | cut -d " " -f 2)"
            out="udp sport 4101 snat to $wan:5101
    oifname wan tcp sport 4101 snat to $wan:5101
    oifname wan masquerade" ;;
        *) fail "no such kind of router: $2" ;;
    esac
    # What nobody inside asked for is dropped, but behind a full cone.
    local unasked="iifname wan ct state new drop"; [[ "$2" == cone ]] && unasked=""
    ip netns exec "$1" nft -f - <<NFT
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
# router NAME KIND ADDRESS: the host p2p-$$-NAME behind a router p2p-$$-NAME-r of that kind; `double` has the provider's
# router p2p-$$-NAME-p in front of that; `none` is a public host.
router() {
    local name="$1" kind="$2" address="$3" host="p2p-$$-$1" nat="p2p-$$-$1-r" provider="p2p-$$-$1-p"
    space "$host"
    case "$kind" in
        none) plug "$host" "$address"; return ;;
        double)
            kind=restricted
            space "$provider"; plug "$provider" "$address"; nat "$provider" restricted -
            space "$nat"; inside "$provider" 100.64.0 "$nat" wan ;;
        *) space "$nat"; plug "$nat" "$address" ;;
    esac
    inside "$nat" 192.168.50 "$host" eth0
    nat "$nat" "$kind" 192.168.50.2
}
# remove NAME: what router made.
remove() {
    local made
    for made in "p2p-$$-$1" "p2p-$$-$1-r" "p2p-$$-$1-p"; do ip netns del "$made" 2> /dev/null || true; done
}
# Flags of every node that is started from now on.
quiet=(--no-mdns --no-port-mapping)
# node SPACE HOME [flags]: a daemon there; its process is $daemon.
node() {
    local where="$1" home="$2"; shift 2
    ip netns exec "$where" "$bin/p2pnode" --home "$home" start --json "${quiet[@]}" --gateway off \
        --listen /ip4/0.0.0.0/tcp/4101 --listen /ip4/0.0.0.0/udp/4101/quic-v1 "$@" > "$home.out" 2> "$home.err" & daemon=$!
    pids+=("$daemon")
    for _ in $(seq 200); do [[ -s "$home.out" ]] && return; sleep 0.05; done
    cat "$home.err"; fail "the node in $where did not start"
}
# ended PROCESS: kills it as a power cut would.
ended() { { kill -9 "$1" && wait "$1"; } 2> /dev/null || true; }
