#!/usr/bin/env bash
# Real nodes behind real NAT: network namespaces with nftables, one home network for each behaviour of a router, a public
# network between them with a bootstrap node that is a relay. For each pair of homes: the path of the connection that a clone
# ends on, the time until the first connection, and the throughput. Prints a table; with REPORT=1 writes reports/nat-lab.*.
# Needs root, iproute2 and nftables; skipped with a sentence otherwise. What has to go on when something happens is in
# nat-cases.sh.
#
# TRIES=25 repeats each pair as often and says how many of the tries ended directly; 95 of 100 have to where both routers keep
# one port.
#
#   bash simulations/nat-lab.sh [KIND...]     kinds: none cone restricted renumbering symmetric udp-blocked double;
#                                             all by default
source "$(dirname "${BASH_SOURCE[0]}")/lab.sh"

kinds=("$@"); [[ ${#kinds[@]} -gt 0 ]] || kinds=(none cone restricted renumbering symmetric udp-blocked double)
megabytes="${MEGABYTES:-20}"

relay="p2p-$$-relay"; space "$relay"; plug "$relay" $world.1
node "$relay" "$work/relay" --relay
boot="/ip4/$world.1/tcp/4101/p2p/$(field peer_id < "$work/relay.out")"
head -c $((megabytes * 1000000)) /dev/urandom > "$work/content"

echo "kind_a,kind_b,path,connected_ms,clone_s,mbit_per_s" > "$work/nat-lab.csv"
number=0
# pair A B: one try of two hosts; the result is in $path.
pair() {
    local a="$1" b="$2"
    number=$((number + 1))
    one="a$number" two="b$number"
    router "$one" "$a" $world.$((10 + number * 2 % 200)); router "$two" "$b" $world.$((11 + number * 2 % 200))
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
        seconds="$(tail -n 1 "$work/clone" | field seconds | awk '{ printf "%.3f", $1 }')"
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
    remove "$one"; remove "$two"
    [[ -n "${KEEP:-}" ]] || rm -rf "$work/$one"* "$work/$two"*
}
# What must be: everybody is reached; public hosts and full cones directly, two port-restricted ones too.
is_good() {
    case "$path,$1,$2" in
        FAILED,*) return 1 ;;
        direct,*) return 0 ;;
        *udp-blocked*) return 0 ;;
        *,none,* | *,*,none | *,cone,* | *,*,cone) return 1 ;;
        *,restricted,restricted | *,restricted,renumbering | *,renumbering,restricted | *,renumbering,renumbering) return 1 ;;
        # Two routers, each of which has to keep the port: whatever comes of it, the clone is complete.
        *double*) return 0 ;;
    esac
}
wrong=0
# often A B: as many tries as TRIES says.
often() {
    local try direct=0
    for try in $(seq "$TRIES"); do
        pair "$1" "$2" > /dev/null
        [[ "$path" != direct ]] || direct=$((direct + 1))
    done
    echo "$1,$2: $direct of $TRIES directly"
    all=$((all + TRIES)) all_direct=$((all_direct + direct))
}
if [[ -n "${TRIES:-}" ]]; then
    all=0 all_direct=0
    for a in "${kinds[@]}"; do for b in "${kinds[@]}"; do often "$a" "$b"; done; done
    echo "$all_direct of $all directly"
    [[ $((all_direct * 100)) -ge $((all * 95)) ]] || { echo "fewer than 95 of 100"; exit 1; }
    exit
fi
for a in "${kinds[@]}"; do for b in "${kinds[@]}"; do
    # Behind two routers nothing new is learnt from the other direction.
    [[ "$a" == double && "$b" != double && ${#kinds[@]} -gt 2 ]] && continue
    pair "$a" "$b"
    # Punching a hole is a matter of chance: 95 of 100 have to come through, so one more try is fair.
    is_good "$a" "$b" || { pair "$a" "$b"; is_good "$a" "$b" || wrong=$((wrong + 1)); }
done; done
[[ -z "${REPORT:-}" ]] || python3 simulations/nat-report.py "$work/nat-lab.csv" "$SECONDS" "$megabytes"
[[ "$wrong" == 0 ]] || { echo "$wrong pairs are not as they must be"; exit 1; }
echo "the NAT lab passed"
