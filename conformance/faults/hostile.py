"""Peers that want to take more than they are given: slow ones, those that do not read, floods. Honest clients talk on meanwhile.

Each test gets a Bench (run) with a server on it, and its row of cases.toml.
"""

import contextlib
import threading
import time
import zlib

import peers
from lib.process import tail
from peers import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, Crowd, frame, header
from server import LATE, expect


def in_time(crowd, least, most, what):
    """All have been ended, none before its time; returns it in words."""
    expect(not crowd.alive, f"{len(crowd.alive)} of {len(crowd.order)} {what} are still there after {most} s")
    first, last = min(crowd.ended.values()), max(crowd.ended.values())
    expect(first >= least, f"one of the {what} was ended after {first:.2f} s already, not {least}")
    return f"{len(crowd.ended)} {what} ended after {first:.1f} to {last:.1f} s"


# --- slow ---------------------------------------------------------------------------------------------------------------


def slow_heads(bench, case):
    """Connections that say nothing, or a request octet by octet, with or without a body: ended at --open-timeout."""
    server = bench.server
    limit = case["flags"]["open-timeout"]
    requests = [b"", peers.head(server.address), b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n" + b"X: 1\r\n" * 100]
    if server.scheme == "https":
        # RFC 8446 section 5.1: a record of 512 octets of handshake, whose first message is a ClientHello of 508
        requests = [b"", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc" + bytes(508)]
    with contextlib.closing(Crowd([peers.connect(server) for _ in range(case["peers"])])) as crowd:
        sent = {}

        def drip(place, connection):
            request, at = requests[place % len(requests)], sent.get(place, 0)
            if at < len(request):
                sent[place] = at + connection.send(request[at:at + 1])

        crowd.wait(limit + LATE, drip, every=limit / 20)
        # The peer's clock starts before the server's.
        words = in_time(crowd, limit - 0.1, limit + LATE, "slow openings")
    now = server.wait_for("all of them are counted", lambda now: refused(now) >= case["peers"])
    expect(now.all("sockeye_connections_closed_total") == 0, "one of them has become a WebSocket")
    return words


def refused(now, reason="timeout"):
    return int(now.all("sockeye_handshakes_refused_total", reason=reason))


def slow_bodies(bench, case):
    """Plain requests that declare a body which comes octet by octet, or not at all: the answer comes, and then the end."""
    server = bench.server
    crowd = Crowd([peers.connect(server) for _ in range(case["peers"])])
    with contextlib.closing(crowd):
        began = set()

        def drip(place, connection):
            if place not in began:
                began.add(place)
                length = b"Transfer-Encoding: chunked" if place % 3 == 2 else b"Content-Length: 100000"
                connection.send(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n" + length + b"\r\n\r\n")
            elif place % 3:
                connection.send(b"1\r\nx\r\n" if place % 3 == 2 else b"x")

        crowd.wait(case["ends"] + LATE, drip)
        words = in_time(crowd, 0, case["ends"] + LATE, "requests with a body that does not come")
        answered = sum(came.startswith(b"HTTP/1.1 200 ") for came in crowd.came.values())
    expect(answered == case["peers"], f"{answered} of {case['peers']} were answered")
    return words


def slow_frames(bench, case):
    """Part of a frame, or of a message, and no more: ended by keepalive. With an octet now and then: alive, and small, until that ends."""
    server, flags, count = bench.server, case["flags"], case["peers"]
    limit = flags["ping-interval"] + flags["ping-timeout"]
    # A header alone; half a header; half a payload; a whole fragment; half a text.
    begun = [header(BINARY, 1 << 20), header(BINARY, 1 << 20)[:5], header(BINARY, 1 << 20) + b"x" * 5000,
             frame(BINARY, b"x" * 5000, fin=False), frame(TEXT, b"x" * 70)[:60]]
    connections = [peers.websocket(server) for _ in range(2 * count)]
    for place, connection in enumerate(connections):
        connection.sendall(header(BINARY, 1 << 20) if place < count else begun[place % len(begun)])

    def drip(place, connection):
        if place < count:
            connection.send(b"x")

    with contextlib.closing(Crowd(connections)) as crowd:
        crowd.wait(limit + LATE, drip, until=lambda: len(crowd.ended) >= count)
        early = [place for place in crowd.ended if place < count]
        expect(not early, f"{len(early)} peers were ended that sent an octet five times a second")
        expect(len(crowd.ended) == count, f"{2 * count - len(crowd.ended)} peers are left, {count} of them are silent")
        first, last = min(crowd.ended.values()), max(crowd.ended.values())
        expect(first >= limit - 0.5, f"one was ended after {first:.2f} s of silence already")
        crowd.wait(limit + LATE)
        expect(not crowd.alive, f"{len(crowd.alive)} peers are still there after they had fallen silent")
    server.wait_for("all of them are counted with 1006", lambda now: now.closed(1006) == 2 * count)
    return f"{count} stalled frames ended after {first:.1f} to {last:.1f} s; as many kept while an octet came now and then"


def stops_reading(bench, case):
    """Peers that send and read nothing: no more is read of them when their answers wait, and keepalive ends them."""
    server, flags, size, count = bench.server, case["flags"], case["size"], case["peers"]
    limit = flags["ping-interval"] + flags["ping-timeout"]
    connections = [peers.websocket(server, receive_buffer=4096) for _ in range(count)]
    message = frame(BINARY, peers.noise(size)) * max(1, (256 << 10) // size)
    ended, taken = peers.push(connections, [message], lambda ended, idle: len(ended) == count or idle > limit + LATE)
    expect(len(ended) == count, f"{count - len(ended)} peers that do not read are still there, {limit + LATE} s after they took nothing more")
    words = f"{count} peers that read nothing ended after {min(ended.values()):.1f} to {max(ended.values()):.1f} s"
    peers.reset(*connections)
    server.wait_for("all of them are counted with 1006", lambda now: now.closed(1006) == count)
    return f"{words}, {taken / count / 1024:.0f} KiB taken of each"


def never_ends(bench, case):
    """Peers that do not let go: what comes after a Close, after an error or after a refusal does not keep a connection, nor does silence."""
    server, count, limit = bench.server, case["peers"], case["flags"]["close-timeout"]
    before = server.descriptors()
    close, wrong = frame(CLOSE, b"\x03\xe8"), frame(3, b"?")
    bad, nowhere = b"GET /echo HTTP/1.1\r\nHost: ?\r\n\r\n", peers.head(server.address, "/nowhere")
    flood, drip, nothing = frame(PING, b"x" * 125) * 100, frame(PONG)[:1], b""
    kinds = [(close, nothing), (close, drip), (close, flood), (wrong, nothing), (wrong, drip), (wrong, flood)]
    refused = [(bad, nothing), (bad, drip), (nowhere, nothing), (nowhere, drip)]
    connections = []
    for first, _ in kinds:
        some = [peers.websocket(server) for _ in range(count)]
        for connection in some:
            connection.sendall(first)
        connections += some
    for first, _ in refused:
        some = [peers.connect(server) for _ in range(count)]
        for connection in some:
            connection.sendall(first)
        connections += some
    blocks = [more for _, more in [*kinds, *refused] for _ in range(count)]
    start = time.monotonic()
    # Our own side stays open: only the server's descriptors tell.
    peers.push(connections, blocks, lambda ended, idle: server.descriptors() <= before or time.monotonic() > start + limit + LATE, every=0.05)
    left, took = server.descriptors() - before, time.monotonic() - start
    expect(left <= 0, f"{left} connections are still there {limit + LATE} s after their end")
    expect(took > limit - 0.5, f"the last was ended after {took:.1f} s already: its peer had {limit} s to end its side")
    peers.reset(*connections)
    now = server.metrics()
    expect(now.all("sockeye_connections_closed_total", code=1000, initiator="peer") == 3 * count, "not all of those that closed are counted")
    return f"{len(connections)} peers of {len(kinds) + len(refused)} kinds that do not end their side gone after {took:.1f} s (--close-timeout {limit})"


# --- floods -------------------------------------------------------------------------------------------------------------


def flood(connection, data, seconds):
    """Sends the same again and again; returns how many octets it were. That it is cut off is no error."""
    deadline, sent = time.monotonic() + seconds, 0
    try:
        while time.monotonic() < deadline:
            connection.sendall(data)
            sent += len(data)
    except OSError:
        pass
    return sent


def together(count, one):
    """Runs `one(number)` in so many threads; returns what they returned, or raises what one of them has raised."""
    results, errors = [None] * count, []

    def run(number):
        try:
            results[number] = one(number)
        except Exception as error:  # whatever it is: it is raised below
            errors.append(error)

    threads = [threading.Thread(target=run, args=[number], daemon=True) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(3 * LATE)
    if errors:
        raise errors[0]
    expect(not any(thread.is_alive() for thread in threads), "it takes too long")
    return results


def control_frames(bench, case):
    """Pings, or pongs that nobody has asked for, as fast as they can be sent, by peers that read and peers that do not; then a message is answered."""
    kind = {"ping": PING, "pong": PONG}[case["kind"]]
    block = frame(kind, b"x" * 125) * 500
    fresh = frame(PING, b"newest") + frame(TEXT, b"after all of them")

    def one(number):
        connection = peers.websocket(bench.server)
        answers = []

        def read():
            with contextlib.suppress(EOFError, OSError):
                while not answers or answers[-1][0] != TEXT:
                    answers.append(peers.read_frame(connection))
                    del answers[:-3]

        reader = threading.Thread(target=read, daemon=True)
        if number % 2:
            reader.start()
        sent = flood(connection, block, case["seconds"])
        connection.sendall(fresh)
        if number % 2 == 0:
            reader.start()
        reader.join(LATE)
        expect(answers and answers[-1] == (TEXT, b"after all of them"), f"after the flood came {answers[-1:]}")
        expect((PONG, b"newest") in answers, "the newest ping was not answered")
        peers.reset(connection)
        return sent // len(block) * 500

    sent = sum(together(case["peers"], one))
    return f"{sent:,} {case['kind']}s of 125 octets from {case['peers']} peers"


def fragments(bench, case):
    """A message in as many frames as are allowed comes back; one frame more, with or without octets in it, closes with 1009."""
    most = case["fragments"]

    def one(number):
        connection = peers.websocket(bench.server)
        payload = b"x" if number % 2 else b""
        middle = frame(CONTINUATION, payload, fin=False)
        sender = threading.Thread(target=flood_once, args=[
            connection, frame(BINARY, payload, fin=False) + middle * (most - 2) + frame(CONTINUATION, payload)], daemon=True)
        sender.start()
        echo = peers.next_of(connection, BINARY, CLOSE)
        expect(echo == (BINARY, payload * most), f"of {most} fragments of {len(payload)} octets {echo[1][:40]!r} came back")
        sender.join(LATE)
        sender = threading.Thread(target=flood_once, args=[
            connection, frame(BINARY, payload, fin=False) + middle * most * 2], daemon=True)
        sender.start()
        code = peers.close_code(connection)
        expect(code == 1009, f"{most + 1} fragments of {len(payload)} octets close with {code}, not 1009")
        peers.reset(connection)

    together(case["peers"], one)
    return f"{case['peers']} times {most:,} fragments of 0 or 1 octet came back, one more was 1009"


def flood_once(connection, data):
    with contextlib.suppress(OSError):
        connection.sendall(data)


def heads(bench, case):
    """Heads without an end, of few fields or many or in the request line: refused, and read no further than that takes."""
    begin = f"GET /echo HTTP/1.1\r\nHost: {bench.server.address}\r\n".encode()
    endless = [(begin + b"X: ", b"x" * 4096), (begin, b"X: y\r\n" * 700), (b"GET /", b"x" * 4096), (begin, b"X" * 4096),
               (b"", b"\r\n" * 2048), (b"", b"\0" * 4096)]

    def one(number):
        connection = peers.connect(bench.server)
        first, more = endless[number % len(endless)]
        start = time.monotonic()
        sender = threading.Thread(target=lambda: (flood_once(connection, first), flood(connection, more, LATE)), daemon=True)
        sender.start()
        try:
            status = peers.read_head(connection).decode("latin-1")[9:12]
        except ConnectionError:
            status = "reset"
        # Until it is cut off: the sender ends by that.
        sender.join(2 * LATE)
        took = time.monotonic() - start
        peers.reset(connection)
        expect(took < LATE, "a head without an end is still being read")
        return number % len(endless), status, took

    results = together(case["peers"], one)
    for kind, status, _ in results:
        expect(status in case["statuses"], f"a head of kind {kind} was answered with {status!r}")
    bench.server.wait_for("all of them are counted", lambda now: refused(now, "invalid") == case["peers"])
    statuses = sorted({(kind, status) for kind, status, _ in results})
    return (f"{case['peers']} endless heads refused ({', '.join(f'{status}' for _, status in statuses)}), cut off after "
            f"{max(took for *_, took in results):.1f} s at most")


def lengths(bench, case):
    """Headers that declare what never comes: more than is allowed closes at once, what is allowed takes no memory before it comes."""
    server = bench.server
    for length, code in ((1 << 62, 1009), ((1 << 63) - 1, 1009), (1 << 63, 1002), ((16 << 20) + 1, 1009)):
        connections = [peers.websocket(server) for _ in range(case["peers"])]
        for connection in connections:
            connection.sendall(header(BINARY, length))
        for connection in connections:
            found = peers.close_code(connection)
            expect(found == code, f"a frame of {length} octets closes with {found}, not {code}")
        peers.reset(*connections)
    connections = [peers.websocket(server) for _ in range(case["peers"])]
    for connection in connections:
        connection.sendall(header(BINARY, 16 << 20) + b"x" * 10_000)
    received = case["peers"] * 10_000
    server.wait_for("the last octets are read", lambda now: now.all("sockeye_wire_bytes_total", direction="received") >= received)
    peers.reset(*connections)
    return f"{case['peers']} headers each of 2^62, 2^63 - 1, 2^63 and 16 MiB + 1 octets refused, of 16 MiB waited for"


def bombs(bench, case):
    """Zeros, compressed a thousand times: 1009 at the limit."""
    size, count = case["size"], case["peers"]
    deflater = zlib.compressobj(9, wbits=-15)
    bomb = deflater.compress(bytes(size)) + deflater.flush(zlib.Z_SYNC_FLUSH)
    bomb = bomb.removesuffix(b"\0\0\xff\xff")  # RFC 7692 section 7.2.1
    for shape in (frame(BINARY, bomb, compressed=True), frame(TEXT, bomb[:1000], fin=False, compressed=True) + frame(CONTINUATION, bomb[1000:])):
        connections = [peers.websocket(bench.server, "Sec-WebSocket-Extensions: permessage-deflate") for _ in range(count)]
        for connection in connections:
            connection.sendall(shape)
        for connection in connections:
            code = peers.close_code(connection)
            expect(code == 1009, f"a bomb closes with {code}, not 1009{tail(bench.server.log)}")
        peers.reset(*connections)
    return f"2 x {count} bombs, {size >> 20} MiB in {len(bomb) >> 10} KiB each, refused"


def stalled_bombs(bench, case):
    """Messages that are inflated to just under the limit, and never end: each takes what it was inflated to, until keepalive ends it."""
    server, flags, size, count = bench.server, case["flags"], case["size"], case["peers"]
    deflater = zlib.compressobj(9, wbits=-15)
    bomb = deflater.compress(bytes(size)) + deflater.flush(zlib.Z_SYNC_FLUSH)
    connections = [peers.websocket(server, "Sec-WebSocket-Extensions: permessage-deflate") for _ in range(count)]
    for connection in connections:
        connection.sendall(frame(BINARY, bomb, fin=False, compressed=True))
    limit = flags["ping-interval"] + flags["ping-timeout"]
    with contextlib.closing(Crowd(connections)) as crowd:
        crowd.wait(limit + LATE)
        words = in_time(crowd, limit - 0.5, limit + LATE, "stalled bombs")
    server.wait_for("all of them are counted with 1006", lambda now: now.closed(1006) == count)
    return f"{words}, {size >> 20} MiB in {len(bomb) >> 10} KiB each"


def heavy_messages(bench, case):
    """Messages that cost a thousand times what they weigh, within the limit, one after the other: they are answered, and others in between."""
    size, deflater = case["size"], zlib.compressobj(9, wbits=-15)
    bomb = (deflater.compress(bytes(size)) + deflater.flush(zlib.Z_SYNC_FLUSH)).removesuffix(b"\0\0\xff\xff")
    message = frame(BINARY, bomb, compressed=True)

    def one(_):
        connection = peers.websocket(bench.server, "Sec-WebSocket-Extensions: permessage-deflate; client_no_context_takeover")
        deadline, answers = time.monotonic() + case["seconds"], 0
        while time.monotonic() < deadline:
            connection.sendall(message * 3)
            for _ in range(3):
                opcode, _ = peers.next_of(connection, BINARY, CLOSE)
                expect(opcode == BINARY, "a message within the limit is refused")
                answers += 1
        peers.reset(connection)
        return answers

    return f"{sum(together(case['peers'], one))} messages of {size >> 20} MiB in {len(bomb) >> 10} KiB each, by {case['peers']} peers, answered"


def connections(bench, case):
    """Connections as fast as they can be opened and ended, within the limits and beyond, while those within talk on."""
    server, per_addr = bench.server, case["flags"]["max-connections-per-addr"]
    greedy = [peers.websocket(server, source="127.0.9.1") for _ in range(per_addr)]
    found = {}
    for source, kind in (("127.0.9.1", "close"), ("127.0.9.2", "close"), ("127.0.9.2", "reset")):
        found[source, kind] = answers(bench, case, source, kind)
    away = found.pop(("127.0.9.1", "close"))
    expect(not set(away) - {0, 503}, f"connections beyond the limit per address were answered: {away}")
    turned_away, counted = sum(away.values()), refused(server.metrics(), "limit")
    expect(counted == turned_away, f"{turned_away} were turned away, {counted} are counted")
    for (_, kind), others in found.items():
        expect(set(others) == {101}, f"others, within the limit, were answered: {kind}, {others}")
    aborted = answers(bench, case, "127.0.9.3", "abort")[0]
    for connection in greedy:
        connection.sendall(frame(TEXT, b"still here"))
        expect(peers.next_of(connection, TEXT, CLOSE) == (TEXT, b"still here"), "those within the limit do not go on")
    peers.reset(*greedy)
    opened = sum(others[101] for others in found.values())
    return f"{opened:,} connections opened and ended, {aborted:,} reset at once, {turned_away:,} turned away"


def answers(bench, case, source, kind):
    """Floods; returns how often which status was answered, 0 for none."""
    with bench.load("flood", bench.server.address, case["seconds"], case["threads"], source, kind) as load:
        load.under_way()
        lines = load.finish(case["seconds"] + 2 * LATE)
    return {int(status): int(count) for _, status, count in map(str.split, lines)}
