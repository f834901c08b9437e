#!/usr/bin/env python3
"""How a drive lives: how soon an edit is at a follower, what a million entries cost, what four uneven peers give together.

    python3 node/daemon/benches/live.py [--bin DIR] [--edits 200] [--million] [--swarm]

Takes release programs from `target/release`. Everything runs on loopback or in network namespaces of its own (--swarm, needs
root and `tc`) and below one temporary folder. What came out, and where the time goes: live.md beside this file.
"""
import argparse
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

arguments = argparse.ArgumentParser()
arguments.add_argument("--bin", default="target/release")
arguments.add_argument("--edits", type=int, default=200)
arguments.add_argument("--million", action="store_true")
arguments.add_argument("--swarm", action="store_true")
options = arguments.parse_args()
P2P, P2PNODE = (os.path.abspath(os.path.join(options.bin, name)) for name in ("p2p", "p2pnode"))
WORK = tempfile.mkdtemp(prefix="p2p-live-")
started = []
namespaces = []


class Node:
    def __init__(self, name, bootstrap=None, namespace=None, listen="127.0.0.1"):
        self.home, self.prefix = os.path.join(WORK, name), ["ip", "netns", "exec", namespace] if namespace else []
        command = self.prefix + [P2PNODE, "start", "--json", "--no-mdns", "--gateway", "off", "--home", self.home]
        command += ["--listen", f"/ip4/{listen}/tcp/0"] + (["--bootstrap", bootstrap] if bootstrap else [])
        errors = open(self.home + ".err", "w")
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True)
        started.append(self.process)
        ready = json.loads(self.process.stdout.readline())
        self.address = next(a for a in ready["listen"] if "/tcp/" in a and listen in a) + "/p2p/" + ready["peer_id"]

    def p2p(self, *words):
        return subprocess.run(self.prefix + [P2P, "--home", self.home, *words], capture_output=True, text=True)

    def memory(self):
        with open(f"/proc/{self.process.pid}/status") as status:
            fields = dict(line.split(":", 1) for line in status)
        return {name: int(fields[name].split()[0]) / 1024 for name in ("VmRSS", "VmHWM", "RssAnon")}

    def received(self):
        flows = self.p2p("api", "GET", "/v1/drives/traffic").stdout
        try:
            return sum(flow["received_bytes"] for flow in json.loads(flows).get("flows", []))
        except (json.JSONDecodeError, AttributeError):
            return None

    def share(self, folder):
        out = self.p2p("share", folder, "--json").stdout.splitlines()
        return json.loads(out[-1])["link"]

    def follow(self, link, folder):
        command = self.prefix + [P2P, "--home", self.home, "clone", link, folder, "--follow", "--json"]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        started.append(process)
        return process


def until(check, patience=60):
    begun = time.monotonic()
    while not check():
        if time.monotonic() - begun > patience:
            sys.exit("it does not come")
        time.sleep(0.001)
    return time.monotonic() - begun


def reads(path, text):
    try:
        with open(path) as file:
            return file.read() == text
    except FileNotFoundError:
        return False


def edits(count, folder, copy, names, label):
    """Each edit is made when the one before has arrived, after a random pause."""
    times = []
    for number in range(count):
        name, text = names[number * 7919 % len(names)], f"edit {number}\n"
        begun = time.monotonic()
        with open(os.path.join(folder, name), "w") as file:
            file.write(text)
        until(lambda: reads(os.path.join(copy, name), text))
        times.append((time.monotonic() - begun) * 1000)
        time.sleep(number * 37 % 100 / 1000)
    times.sort()
    print(f"{label}: {count} edits, p50 {statistics.median(times):.0f} ms, p99 {times[int(len(times) * 0.99)]:.0f} ms, "
          f"slowest {times[-1]:.0f} ms (300 ms of it is the wait for quiet)")


def small():
    folder, copy = os.path.join(WORK, "folder"), os.path.join(WORK, "copy")
    os.mkdir(folder)
    names = [f"note-{number:04}.txt" for number in range(1000)]
    for name in names:
        with open(os.path.join(folder, name), "w") as file:
            file.write(name * 20)
    owner = Node("owner")
    follower = Node("follower", owner.address)
    follower.follow(owner.share(folder), copy)
    until(lambda: len(os.listdir(copy)) == len(names) if os.path.isdir(copy) else False)
    time.sleep(2)
    edits(options.edits, folder, copy, names, "1,000 files")


def million():
    folder, copy = os.path.join(WORK, "million"), os.path.join(WORK, "million-copy")
    for a in range(100):
        for b in range(100):
            os.makedirs(f"{folder}/section-{a:02}/chapter-{b:02}")
            for c in range(100):
                with open(f"{folder}/section-{a:02}/chapter-{b:02}/note-{c:03}-about-something.txt", "w") as file:
                    file.write(f"{c} small notes about section {a} chapter {b}\n" * 3)
    owner = Node("many")
    begun = time.monotonic()
    link = owner.share(folder)
    took, memory = time.monotonic() - begun, owner.memory()
    print(f"1,000,000 files: shared in {took:.1f} s (60), resident {memory['VmRSS']:.0f} MiB, at most {memory['VmHWM']:.0f} (200)")
    time.sleep(20)
    print(f"  20 s later: resident {owner.memory()['VmRSS']:.0f} MiB, at most {owner.memory()['VmHWM']:.0f}")
    stranger = Node("stranger", owner.address)
    begun = time.monotonic()
    answer = stranger.p2p("cat", link.split("#")[0].rstrip("/") + "/section-77/chapter-42/note-099-about-something.txt")
    print(f"  a stranger reads one file after {time.monotonic() - begun:.2f} s: {answer.stdout.splitlines()[:1]}")
    follower = Node("one-of-many", owner.address)
    begun = time.monotonic()
    follower.follow(link, copy)
    last = "section-99/chapter-99/note-099-about-something.txt"
    until(lambda: os.path.exists(os.path.join(copy, last)), 900)
    print(f"  followed: the last file came after {time.monotonic() - begun:.0f} s; resident {follower.memory()['VmRSS']:.0f} MiB")
    time.sleep(20)
    names = [f"section-{a:02}/chapter-{a:02}/note-{a:03}-about-something.txt" for a in range(100)]
    before = follower.received()
    edits(min(options.edits, 50), folder, copy, names, "1,000,000 files")
    after = follower.received()
    if before is not None and after is not None:
        print(f"  each edit cost the follower {(after - before) / min(options.edits, 50):.0f} bytes (65,536)")
    print(f"  then: owner resident {owner.memory()['VmRSS']:.0f} MiB, follower {follower.memory()['VmRSS']:.0f} MiB")


def tc(*words):
    subprocess.run(["ip", *words] if words[0] != "tc" else list(words), check=True)


def swarm():
    """Four providers behind lines of 1, 3, 6 and 12 MB/s in namespaces of their own; one bridge, nothing else."""
    hub = f"p2plive{os.getpid() % 10000}"
    tc("netns", "add", hub)
    namespaces.append(hub)
    tc("-n", hub, "link", "add", "br", "type", "bridge")
    tc("-n", hub, "link", "set", "br", "up")
    places = {}
    for number, name in enumerate(["p1", "p3", "p6", "p12", "reader"]):
        place = f"{hub}{name}"
        tc("netns", "add", place)
        namespaces.append(place)
        tc("-n", hub, "link", "add", name, "type", "veth", "peer", "name", "up0", "netns", place)
        tc("-n", hub, "link", "set", name, "master", "br", "up")
        tc("-n", place, "link", "set", "lo", "up")
        tc("-n", place, "addr", "add", f"10.77.0.{number + 1}/24", "dev", "up0")
        tc("-n", place, "link", "set", "up0", "up")
        places[name] = (place, f"10.77.0.{number + 1}")
    folder = os.path.join(WORK, "film")
    os.mkdir(folder)
    size = 400_000_000
    with open(os.path.join(folder, "film.bin"), "wb") as file:
        for _ in range(size // 1_000_000):
            file.write(os.urandom(1_000_000))
    nodes = {"p1": Node("p1", None, places["p1"][0], places["p1"][1])}
    link = nodes["p1"].share(folder)
    for name in ("p3", "p6", "p12"):
        nodes[name] = Node(name, nodes["p1"].address, *places[name])
        if nodes[name].p2p("clone", link, os.path.join(WORK, name + "-copy")).returncode != 0:
            sys.exit("a provider has no copy")
    rates = {"p1": 1, "p3": 3, "p6": 6, "p12": 12}
    for name, rate in rates.items():
        tc("tc", "-n", places[name][0], "qdisc", "add", "dev", "up0", "root", "tbf", "rate", f"{rate * 8}mbit",
           "burst", "64kb", "latency", "200ms")
    total = sum(rates.values())
    for case in ("all healthy", "the one with 6 stops after 5 s"):
        reader = Node("reader-" + case.split()[0], nodes["p1"].address, *places["reader"])
        begun = time.monotonic()
        command = reader.prefix + [P2P, "--home", reader.home, "clone", link, os.path.join(WORK, reader.home + "-copy"), "--json"]
        clone = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        ideal = size / (total * 1e6)
        if case.startswith("the"):
            time.sleep(5)
            os.kill(nodes["p6"].process.pid, signal.SIGSTOP)
            ideal = 5 + (size - 5 * total * 1e6) / ((total - 6) * 1e6)
        clone.wait()
        took = time.monotonic() - begun
        print(f"400 MB from four peers of 1, 3, 6, 12 MB/s, {case}: {took:.1f} s, {ideal / took * 100:.0f} % of their lines ({ideal:.1f} s)")
        os.kill(nodes["p6"].process.pid, signal.SIGCONT)


try:
    small()
    if options.million:
        million()
    if options.swarm:
        swarm()
finally:
    for process in started:
        process.kill()
        process.wait()
    for namespace in namespaces:
        subprocess.run(["ip", "netns", "del", namespace], check=False)
    shutil.rmtree(WORK, ignore_errors=True)
