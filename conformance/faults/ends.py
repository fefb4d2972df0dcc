"""Ends: of the server while many are connected, of certificates, of descriptors, and of the wire between."""

import contextlib
import math
import os
import re
import signal
import socket
import ssl
import subprocess
import time

import peers
from lib import process
from lib.process import Program, tail
from peers import Crowd
from server import LATE, Server, expect


def counts(lines, word):
    """Of lines `WORD KEY COUNT`: the counts by key."""
    found = {}
    for line in lines:
        first, *key, count = line.split()
        if first == word:
            found[" ".join(key)] = found.get(" ".join(key), 0) + int(count)
    return found


# --- going down -----------------------------------------------------------------------------------------------------------


def drain(bench, case):
    """Many connections, closed over the time that was asked for."""
    server, over, total = bench.server, case["flags"]["drain"], case["connections"]
    before = server.memory()
    with contextlib.ExitStack() as stack:
        share = total // case["processes"]
        loads = [stack.enter_context(bench.load("hold", server.url, share, 10 + number)) for number in range(case["processes"])]
        for load in loads:
            load.under_way()
        now = server.wait_for("all are open", lambda now: now.all("sockeye_connections_open") == total)
        each = (server.memory(now) - before) / total
        expect(each <= case["each"], f"a connection takes {each:.0f} octets; {case['each']} are the bound")
        start = time.time()
        server.process.send_signal(signal.SIGTERM)
        seen = going_down(server, total, start, over)
        server.succeed(over + 2 * LATE)
        took = time.time() - start
        lines = [line for load in loads for line in load.finish()]
    ends = counts(lines, "end")
    expect(ends == {"1001 clean": total}, f"not all have got 1001, and answered it: {ends}")
    seconds = {int(second): count for second, count in counts(lines, "second").items()}
    closed = 0
    for second in sorted(seconds):
        closed += seconds[second]
        # In steps of over / total, each at a moment within its step: none has come before its step, however slow the machine.
        due = math.ceil(total * (second + 1 - start) / over) + 1
        expect(closed <= due, f"{closed} had been closed {second + 1 - start:.1f} s after SIGTERM, where {due} were due")
    expect(took > over * 0.9, f"all was over after {took:.1f} s, not {over}")
    text = server.log.read_text()
    expect(" did not" not in text, f"it tells of connections that did not close cleanly{tail(server.log)}")
    return (f"{total:,} connections at {each:,.0f} octets of resident memory each, closed with 1001 within {took:.1f} s "
            f"(--drain {over}), at most {max(seconds.values()):,} in a second; {seen} looks at /metrics meanwhile")


def going_down(server, total, start, over):
    """What is to be seen from outside meanwhile; returns how often it was looked at."""
    seen, last = 0, total
    while time.time() < start + over + LATE:
        try:
            now, (ready, _), (healthy, _) = server.metrics(), server.get("/readyz"), server.get("/healthz")
        except OSError:
            break  # it has ended
        if not now.all("sockeye_draining"):
            continue  # the signal has not come yet
        left, closed = int(now.all("sockeye_connections_open")), now.closed(1001)
        expect((ready, healthy) == (503, 200), f"while it goes down, /readyz is {ready} and /healthz {healthy}")
        expect(left <= last, f"{left} connections are open, {last} were before")
        expect(closed + left <= total, f"{left} are open and {closed} closed with 1001, of {total}")
        last, seen = left, seen + 1
        with contextlib.suppress(subprocess.TimeoutExpired):
            server.process.wait(0.25)
    expect(seen >= 3 and last < total, f"/metrics was seen {seen} times, with {last} connections at last")
    return seen


def full_load(bench, case):
    """SIGTERM while all talk both ways without a pause: what comes has no gap, and then 1001."""
    server, count = bench.server, case["clients"]
    with bench.load("talk", "full", server.url, count) as load:
        load.under_way()
        server.wait_for("all have talked for a while", lambda now: now.all("sockeye_messages_total") >= count * case["messages"])
        server.process.send_signal(signal.SIGTERM)
        server.succeed(3 * LATE)
        lines = load.finish()
    ends = counts([line for line in lines if line.startswith("end ")], "end")
    expect(ends == {"1001 clean": count}, f"not all have got 1001, and answered it: {ends}")
    text = server.log.read_text()
    expect(" did not" not in text, f"it tells of connections that did not close cleanly{tail(server.log)}")
    return f"{count} clients, {int(re.search('messages ([0-9]+)', lines[-1])[1]):,} messages back before SIGTERM's 1001, no gap"


def bad_company(bench, case):
    """SIGTERM while there are slow openings, stalled frames, peers that do not read, and such as do not answer a Close: the others are closed well,
    and these cut off in time."""
    server, count, limit = bench.server, case["peers"], case["flags"]["close-timeout"]
    begun = [b"", peers.head(server.address)[:50], b"GET / HTTP/1.1\r\n"]
    if server.scheme == "https":
        begun = [b"", b"\x16\x03\x01\x02\x00\x01"]
    opening = [peers.connect(server) for _ in range(count)]
    for place, connection in enumerate(opening):
        connection.sendall(begun[place % len(begun)])
    stalled = [peers.websocket(server) for _ in range(count)]
    for connection in stalled:
        connection.sendall(peers.header(peers.BINARY, 1 << 20) + b"x" * 100)
    silent = [peers.websocket(server) for _ in range(count)]
    full = [peers.websocket(server, receive_buffer=4096) for _ in range(count)]
    peers.push(full, [peers.frame(peers.BINARY, peers.noise(4096)) * 16], lambda ended, idle: idle > 1)
    with contextlib.ExitStack() as stack:
        words = [str(bench.files / "ca.crt")] if server.scheme == "https" else []
        load = stack.enter_context(bench.load("talk", "full", server.url, case["clients"], *words))
        load.under_way()
        start = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        server.succeed(limit + LATE)
        took = time.monotonic() - start
        lines = load.finish()
    ends = counts([line for line in lines if line.startswith("end ")], "end")
    expect(ends == {"1001 clean": case["clients"]}, f"not all who behave have got 1001, and answered it: {ends}")
    told = re.search(r"(\d+) closed cleanly, (\d+) did not", server.log.read_text())
    expect(told and (int(told[1]), int(told[2])) == (case["clients"], 3 * count),
           f"{case['clients']} closed cleanly and {3 * count} did not, but it tells: {told and told[0]}{tail(server.log)}")
    expect(took > limit - 0.5, f"it ended after {took:.1f} s already, and not after --close-timeout")
    peers.reset(*opening, *stalled, *silent, *full)
    return f"{4 * count} peers that do not go and {case['clients']} that do; exit code 0 after {took:.1f} s (--close-timeout {limit}); '{told[0]}'"


def pushed(bench, case):
    """The same in one process, with a server that counts what `send` has taken: all of that arrives."""
    log = bench.logs / "push.log"
    process.run([bench.driver, "push", case["clients"]], 3 * LATE, log=log)
    figures = re.search(r"^clients (\d+) messages (\d+)$", log.read_text(), re.M)
    expect(figures and int(figures[1]) == case["clients"], f"it did not say what came{tail(log)}")
    return f"{figures[1]} clients, {int(figures[2]):,} messages that `send` took before the server went down, all arrived"


# --- certificates ---------------------------------------------------------------------------------------------------------


def certificates(bench, case):
    """Certificates swapped while clients talk and come anew; broken files leave the old one."""
    server, files = bench.server, bench.files
    chain, key = case["flags"]["tls-cert"], case["flags"]["tls-key"]
    trust = ssl.create_default_context(cafile=files / "ca.crt")

    def shown():
        with socket.create_connection((server.host, server.port), LATE) as plain, \
                trust.wrap_socket(plain, server_hostname="localhost") as tls:
            return tls.getpeercert(binary_form=True)

    def of(name):
        return ssl.PEM_cert_to_DER_cert((files / f"{name}.crt").read_text())

    def put(certificate, private):
        for content, path in ((certificate, chain), (private, key)):
            beside = path.with_suffix(".new")
            beside.write_text(content)
            beside.rename(path)
        server.process.send_signal(signal.SIGHUP)

    with bench.load("talk", "reopen", server.url, case["clients"], files / "ca.crt") as load:
        load.under_way()
        now = "leaf0"
        for turn in range(case["swaps"]):
            expect(shown() == of(now), f"not the certificate {now} is shown")
            broken = (files / f"{now}.crt").read_text(), (files / "other.key").read_text()
            put(*[("no certificate\n", "no key\n"), broken, ("", "")][turn % 3])
            server.expect("all stays as it was", LATE)
            expect(shown() == of(now), f"not the certificate {now} is shown, after files that are broken")
            came = server.metrics().all("sockeye_connections_total") + case["clients"]
            server.wait_for("clients come anew", lambda metrics: metrics.all("sockeye_connections_total") >= came)
            now = f"leaf{(turn + 1) % 3}"
            put((files / f"{now}.crt").read_text(), (files / f"{now}.key").read_text())
            server.expect("read again: certificate", LATE)
        expect(shown() == of(now), f"not the certificate {now} is shown")
        lines = load.finish(2 * LATE)
    opened = int(re.search(r"connections (\d+)", lines[-1])[1])
    expect(opened > case["clients"], f"{case['clients']} clients have made {opened} connections")
    expect(refusals(server) == 0, f"{refusals(server)} handshakes were refused")
    return f"{case['swaps']} swaps, as many broken files; {opened:,} connections opened by {case['clients']} clients meanwhile, none lost"


def refusals(server):
    # Those that only look at the certificate are lost before they are WebSockets.
    now = server.metrics()
    return int(now.all("sockeye_handshakes_refused_total") - now.all("sockeye_handshakes_refused_total", reason="lost"))


def make_certificates(directory):
    """A CA, three leaves for this machine, and a key that belongs to none of them."""
    log = directory / "openssl.log"
    new = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-x509", "-days", "30"]
    for name in ("ca", "other"):
        process.run(["openssl", "req", *new, "-subj", f"/CN=Sockeye {name}", "-keyout", directory / f"{name}.key",
                     "-out", directory / f"{name}.crt"], LATE, log=log)
    for number in range(3):
        process.run(["openssl", "req", *new, "-subj", f"/CN=leaf {number}", "-keyout", directory / f"leaf{number}.key",
                     "-out", directory / f"leaf{number}.crt", "-CA", directory / "ca.crt", "-CAkey", directory / "ca.key",
                     "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
                     "-addext", "basicConstraints=critical,CA:FALSE"], LATE, log=log)


# --- descriptors ----------------------------------------------------------------------------------------------------------


def no_descriptors(bench, case):
    """More connections than there are file descriptors: those that are there go on, the others wait, and get in when they can."""
    server, seconds = bench.server, case["seconds"]
    connections = [peers.connect(server) for _ in range(case["peers"])]
    for connection in connections:
        connection.sendall(peers.head(server.address))
    server.expect("cannot accept connections: .*[Tt]oo many open files", LATE)
    start, processor = time.monotonic(), server.processor()
    with contextlib.closing(Crowd(connections)) as crowd:
        crowd.wait(seconds)
        expect(not crowd.ended, f"{len(crowd.ended)} connections were dropped for want of descriptors")
        took, spent = time.monotonic() - start, server.processor() - processor
        answered = set(crowd.came)
        expect(0 < len(answered) < case["peers"], f"{len(answered)} of {case['peers']} were let in")
        expect(spent < took * case["processor"], f"{spent:.2f} s of processor time in {took:.1f} s: it spins")
        # Each that goes makes room for another, until all had their turn.
        deadline = time.monotonic() + 2 * LATE
        while len(crowd.came) < case["peers"]:
            expect(time.monotonic() < deadline, f"{len(crowd.came)} of {case['peers']} were let in, the others never")
            for number, connection in list(crowd.alive.items()):
                if crowd.order[number] in crowd.came:
                    crowd.poll.unregister(number)
                    peers.reset(crowd.alive.pop(number))
            crowd.wait(0.2)
        wrong = [came for came in crowd.came.values() if not came.startswith(b"HTTP/1.1 101 ")]
        expect(not wrong, f"{len(wrong)} were answered otherwise: {wrong[:1]}")
    told = server.log.read_text().count("cannot accept connections")
    most = 1 + math.floor((time.monotonic() - start) / 10)
    expect(1 <= told <= most, f"it was told {told} times, {most} at most were due")
    errors = int(server.metrics().all("sockeye_accept_errors_total"))
    expect(errors >= told, f"{errors} failures are counted")
    return (f"{case['peers']} connections with {case['descriptors']} descriptors: {len(answered)} let in at once, the others later; "
            f"told {told} times of {errors} failures; {spent:.2f} s of processor time in {took:.1f} s")


# --- the wire -------------------------------------------------------------------------------------------------------------

NEAR, FAR = "192.0.2.1", "192.0.2.2"  # RFC 5737: for documentation


@contextlib.contextmanager
def two_networks():
    """Two network namespaces with a wire between them; gives the commands that run others in one and the other. Raises PermissionError
    where that is not allowed. They end with the processes that hold them."""
    with contextlib.ExitStack() as stack:
        within = []
        for _ in range(2):
            holder = subprocess.Popen(["unshare", "--net", "sleep", "600"], stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                      start_new_session=True)
            stack.callback(process.end_group, holder, signal.SIGKILL)
            deadline = time.monotonic() + 5
            while os.readlink(f"/proc/{holder.pid}/ns/net") == os.readlink("/proc/self/ns/net"):
                if holder.poll() is not None or time.monotonic() > deadline:
                    raise PermissionError("no network namespace is allowed here")
                time.sleep(0.01)
            within.append(["nsenter", "-t", str(holder.pid), "-n"])
        process.run([*within[0], "ip", "link", "add", "wire", "type", "veth", "peer", "name", "wire", "netns", within[1][2]], LATE)
        for command, address in zip(within, (NEAR, FAR), strict=True):
            process.run([*command, "ip", "addr", "add", f"{address}/24", "dev", "wire"], LATE)
            process.run([*command, "ip", "link", "set", "wire", "up"], LATE)
        yield within


def cut(within):
    """From now on every packet on the wire is lost."""
    rules = "table inet cut { chain in { type filter hook input priority 0; iifname wire drop; }; " \
            "chain out { type filter hook output priority 0; oifname wire drop; }; }"
    process.run([*within, "nft", rules], LATE)


def half_open(bench, case):
    """A wire that is cut without a word: the server finds its clients dead, and the client its server."""
    flags, count = case["flags"], case["connections"] + case["talking"]
    limit = flags["ping-interval"] + flags["ping-timeout"]
    with two_networks() as (near, far), contextlib.ExitStack() as stack:
        path = bench.files / "metrics.sock"
        server = stack.enter_context(Server(bench.program, bench.logs / "half-open-server.log", flags,
                                            listen=(f"{NEAR}:0", f"unix:{path}"), within=near))
        load = stack.enter_context(bench.load("hold", server.url, case["connections"], 1, within=far))
        load.under_way()
        talking = stack.enter_context(bench.load("talk", "full", server.url, case["talking"], within=far))
        talking.under_way()
        client = stack.enter_context(Program(
            [*far, bench.program, "connect", "--verbose", "--ping-interval", str(flags["ping-interval"]), "--wait", "inf", server.url],
            bench.logs / "half-open-client.log", stdin=subprocess.PIPE))
        client.process.stdin.write(b"hello\n")
        client.process.stdin.flush()
        client.expect("^hello$", LATE)
        server.wait_for("all are open", lambda now: now.all("sockeye_connections_open") == count + 1)
        start = time.monotonic()
        cut(near)
        seen = []

        def all_dead(now):
            if now.closed(1006) and not seen:
                seen.append(time.monotonic() - start)
            return now.closed(1006) == count + 1

        server.wait_for("all dead clients are found", all_dead, limit + LATE)
        took = time.monotonic() - start
        # The last ping may have been answered just before: a silence of ping-interval less what has passed of it, and ping-timeout.
        expect(seen[0] >= flags["ping-timeout"] - 0.2, f"the first was given up after {seen[0]:.1f} s already")
        expect(server.metrics().all("sockeye_connections_open") == 0, "some are counted as open still")
        # `connect` waits 20 s for a pong.
        expect(client.wait(20 + flags["ping-interval"] + LATE) == 18, f"`sockeye connect` exits with {client.process.returncode}, not 18")
        found = time.monotonic() - start
        expect(found >= 20 - 0.2, f"`sockeye connect` gave up after {found:.1f} s already")
        server.all_gone()
        server.stop(LATE)
    return (f"{count + 1} dead clients found after {seen[0]:.1f} to {took:.1f} s (configured: {limit}), "
            f"a dead server after {found:.1f} s (configured: {20 + flags['ping-interval']})")
