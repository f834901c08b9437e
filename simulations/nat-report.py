"""The NAT lab's page: `nat-report.py CSV SECONDS MEGABYTES` writes nat-lab.csv, .svg and .md into simulations/reports."""

import csv
import pathlib
import shutil
import sys

COLOURS = {"direct": "#cde8cf", "lan": "#cde8cf", "relayed": "#f6e3b4", "FAILED": "#f2b8b5"}
CELL_WIDTH, CELL_HEIGHT, LEFT, TOP = 118, 44, 120, 64


def last_tries(path):
    """Of a pair that was tried twice the second try counts."""
    pairs = {}
    with open(path, newline="") as lines:
        for row in csv.DictReader(lines):
            pairs[row["kind_a"], row["kind_b"]] = row
    return pairs


def picture(kinds, pairs):
    width, height = LEFT + CELL_WIDTH * len(kinds) + 20, TOP + CELL_HEIGHT * len(kinds) + 20
    out = [
        f"<svg xmlns='http://www.w3.org/2000/svg' width='{width}' height='{height}' font-family='sans-serif' font-size='12'>",
        f"<rect width='{width}' height='{height}' fill='white'/>",
        "<text x='20' y='22' font-size='14'>Path of a clone, first connection, rate: who shares (rows), who clones (columns)</text>",
    ]
    for at, kind in enumerate(kinds):
        out.append(f"<text x='{LEFT + CELL_WIDTH * at + 6}' y='{TOP - 8}'>{kind}</text>")
        out.append(f"<text x='20' y='{TOP + CELL_HEIGHT * at + 26}'>{kind}</text>")
    for row, a in enumerate(kinds):
        for column, b in enumerate(kinds):
            pair = pairs.get((a, b))
            if pair is None:
                continue
            x, y = LEFT + CELL_WIDTH * column, TOP + CELL_HEIGHT * row
            colour = COLOURS.get(pair["path"], "#eee")
            out.append(f"<rect x='{x}' y='{y}' width='{CELL_WIDTH - 4}' height='{CELL_HEIGHT - 4}' fill='{colour}'/>")
            out.append(f"<text x='{x + 6}' y='{y + 17}'>{pair['path']}, {pair['connected_ms']} ms</text>")
            out.append(f"<text x='{x + 6}' y='{y + 33}'>{pair['mbit_per_s']} Mbit/s</text>")
    out.append("</svg>\n")
    return "\n".join(out)


def page(kinds, pairs, seconds, megabytes):
    out = [
        "# Every kind of router with every other",
        "",
        "Real daemons in network namespaces behind nftables, one home behind a router of each kind, a public network between",
        "them with one node that is bootstrap and relay. Each pair: one shares, the other clones by the bare link. Repeat it with",
        f"`REPORT=1 MEGABYTES={megabytes} bash simulations/nat-lab.sh` as root ({seconds} s here); `nat-lab.csv` has a line for each try.",
        "",
        "![path, first connection and rate of each pair](nat-lab.svg)",
        "",
        "| shares | clones | path in the end | first connection, ms | clone, s | Mbit/s |",
        "|---|---|---|---|---|---|",
    ]
    for (a, b), pair in pairs.items():
        out.append(
            f"| {a} | {b} | {pair['path']} | {pair['connected_ms']} | {pair['clone_s']} | {pair['mbit_per_s']} |"
        )
    relayed = sum(pair["path"] == "relayed" for pair in pairs.values())
    out += [
        "",
        f"{len(pairs)} pairs, {relayed} of them through the relay in the end. A clone begins on the relay and is often done before",
        "the direct way is there, so rates are those of whatever it ran on. `-`: the connection came and went between two looks.",
        "",
    ]
    return "\n".join(out)


def main():
    path, seconds, megabytes = sys.argv[1:]
    reports = pathlib.Path(__file__).parent / "reports"
    pairs = last_tries(path)
    kinds = list(dict.fromkeys(kind for pair in pairs for kind in pair))
    shutil.copy(path, reports / "nat-lab.csv")
    (reports / "nat-lab.svg").write_text(picture(kinds, pairs))
    (reports / "nat-lab.md").write_text(page(kinds, pairs, seconds, megabytes))


main()
