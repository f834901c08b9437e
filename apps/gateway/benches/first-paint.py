#!/usr/bin/env python3
"""How soon a site that lies far away is on the screen: 50 assets, 5 MiB, over a link of 100 ms round trip.

    first-paint.py [FOLDER WITH p2p AND p2pnode]        target/release by default

Two nodes on loopback; what the second one's connection to the first carries is held back by a forwarder of this script,
50 ms each way, 20 Mbit/s. The page is asked for like a browser does, then its assets over six connections. Prints a row
of a Markdown table: milliseconds from the connection to the first byte of the page, to the last byte of what the
publisher's list names (first paint), and to the last byte of the site; and the round trips of the first two.

Measured (release, two cores, another program at work beside, 26 November 2026): 209, 221 and 2,881 ms. Two round trips are
the proof that both may read the drive, and the question; the rest is the way of 8 KiB of index and page, and of 29 KiB of what
the list names, at 20 Mbit/s (3 and 12 ms), and 5 ms of work.
"""
import base64, http.client, json, os, pathlib, shutil, signal, socket, subprocess, sys, tempfile, threading, time

DELAY = 0.05
BYTES_PER_SECOND = 20e6 / 8
PACKET = 1_448
ROUNDS = int(os.environ.get("ROUNDS", "5"))
bin_dir = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else "target/release").resolve()
work = pathlib.Path(tempfile.mkdtemp())
env = {key: value for key, value in os.environ.items() if key not in ("P2PNODE_HOME", "P2PNODE_API", "XDG_RUNTIME_DIR")}
started = []


def forward(source, target):
    """Passes bytes on after a delay and at a rate; order is kept, nothing is lost."""
    waiting, ready = [], threading.Condition()

    def take():
        free_at = 0.0
        while True:
            try:
                data = source.recv(65536)
            except OSError:
                data = b""
            free_at = max(free_at, time.monotonic())
            # In packets, as a line carries them: the first is there before the last has left.
            packets = [data[at : at + PACKET] for at in range(0, len(data), PACKET)] or [b""]
            with ready:
                for packet in packets:
                    free_at += len(packet) / BYTES_PER_SECOND
                    waiting.append((free_at + DELAY, packet))
                ready.notify()
            if not data:
                return

    threading.Thread(target=take, daemon=True).start()
    while True:
        with ready:
            ready.wait_for(lambda: waiting)
            due, data = waiting.pop(0)
        time.sleep(max(0.0, due - time.monotonic()))
        try:
            if not data:
                target.shutdown(socket.SHUT_WR)
                return
            target.sendall(data)
        except OSError:
            return


def forwarder(port):
    listener = socket.create_server(("127.0.0.1", 0))

    def accept():
        while True:
            near, _ = listener.accept()
            time.sleep(2 * DELAY)  # the handshake of TCP itself
            far = socket.create_connection(("127.0.0.1", port))
            for connection in (near, far):
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for pair in ((near, far), (far, near)):
                threading.Thread(target=forward, args=pair, daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    return listener.getsockname()[1]


def daemon(home, *flags):
    process = subprocess.Popen(
        [bin_dir / "p2pnode", "start", "--json", "--no-mdns", "--home", home, *flags],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=env, text=True,
    )
    started.append(process)
    return process, json.loads(process.stdout.readline())


def api(home, *call):
    return subprocess.run([bin_dir / "p2p", "--home", home, "api", *call], env=env, capture_output=True, text=True, check=True).stdout


def get(host, port, path):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("GET", path, headers={"Host": f"{host}:{port}"})
    answer = connection.getresponse()
    first = answer.read(1)
    at = time.monotonic()
    rest = answer.read()
    assert answer.status == 200, (path, answer.status)
    connection.close()
    return at, time.monotonic(), len(first) + len(rest)


def through(link, real, far):
    """The link with the port of its only address replaced; both ports are above 16,383, so three bytes each."""
    address, hints = link.split("#")
    packed = base64.b32decode(hints.upper() + "=" * (-len(hints) % 8))
    packed = packed.replace(varint(real), varint(far))
    return address + "#" + base64.b32encode(packed).decode().lower().rstrip("=")


def varint(number):
    return bytes([number & 127 | 128, number >> 7 & 127 | 128, number >> 14])


def make_site():
    site = work / "site"
    (site / ".p2p").mkdir(parents=True)
    assets = [f"asset-{number}.bin" for number in range(50)]
    for name in assets:
        (site / name).write_bytes(os.urandom(5 * 1024 * 1024 // 50))
    (site / "style.css").write_bytes(b"p { margin: 0 } " * 600)
    (site / "app.js").write_bytes(b"console.log(1); " * 1200)
    (site / "index.html").write_text("<link rel=stylesheet href=style.css><script src=app.js></script>" + "".join(f"<img src={name}>" for name in assets))
    (site / ".p2p/site.json").write_text(json.dumps({"prefetch": ["/style.css", "/app.js"]}))
    return site, assets


def look(link, drive, number, assets):
    """One cold look by a node that knows nothing; times in ms after its connection stood."""
    home = work / f"looker-{number}"
    process, ready = daemon(home, "--listen", "/ip4/127.0.0.1/tcp/0", "--gateway", "127.0.0.1:0")
    port = int(ready["gateway"].rstrip("/").rsplit(":", 1)[1])
    host = f"{drive}.p2p.localhost"
    connected = {}

    def watch():
        events = subprocess.Popen(
            [bin_dir / "p2p", "--home", home, "api", "GET", "/v1/events?topics=network"], env=env, stdout=subprocess.PIPE, text=True,
        )
        started.append(events)
        for line in events.stdout:
            if "peer.connected" in line:
                connected["at"] = time.monotonic()
                return

    threading.Thread(target=watch, daemon=True).start()
    time.sleep(0.5)
    api(home, "POST", "/v1/apps/gateway/open", "--data", json.dumps({"link": link}))
    first, page, _ = get(host, port, "/")
    painted = max(get(host, port, path)[1] for path in ("/style.css", "/app.js"))
    left, lock, total = list(assets), threading.Lock(), [0]

    def fetch():
        while True:
            with lock:
                if not left:
                    return
                name = left.pop(0)
            size = get(host, port, "/" + name)[2]
            with lock:
                total[0] += size

    threads = [threading.Thread(target=fetch) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    whole = time.monotonic()
    assert total[0] == 50 * (5 * 1024 * 1024 // 50)
    process.send_signal(signal.SIGTERM)
    process.wait(20)
    return [1000 * (at - connected["at"]) for at in (first, painted, whole)]


try:
    site, assets = make_site()
    home = work / "owner"
    _, ready = daemon(home, "--listen", "/ip4/127.0.0.1/tcp/0", "--gateway", "off")
    real = int(next(a for a in ready["listen"] if "/tcp/" in a).split("/tcp/")[1].split("/")[0])
    far = forwarder(real)
    shared = subprocess.run([bin_dir / "p2p", "--home", home, "share", site, "--json"], env=env, capture_output=True, text=True, check=True)
    link = json.loads(shared.stdout.splitlines()[0])
    far_link = through(link["link"], real, far)
    rows = [look(far_link, link["drive"], number, assets) for number in range(ROUNDS)]
    first, painted, whole = (sorted(column)[ROUNDS // 2] for column in zip(*rows))
    print("| first byte of the page, ms | first paint, ms | whole site, ms | round trips to first byte, paint | whole / paint |")
    print("|---|---|---|---|---|")
    print(f"| {first:.0f} | {painted:.0f} | {whole:.0f} | {first / 100:.1f}, {painted / 100:.1f} | {whole / painted:.1f} |")
finally:
    for process in started:
        if process.poll() is None:
            process.kill()
            process.wait()
    shutil.rmtree(work, ignore_errors=True)
