"""Peers that do as they like, octet by octet: raw sockets, frames masked with zeros."""

import os
import select
import socket
import ssl
import struct
import time

from lib.process import Failure

from server import LATE

TEXT, BINARY, CLOSE, PING, PONG, CONTINUATION = 1, 2, 8, 9, 10, 0
MASK = bytes(4)  # RFC 6455 section 5.3 wants chance here, but nobody can tell


def head(host, path="/echo", fields=()):
    """An opening handshake's request."""
    lines = [f"GET {path} HTTP/1.1", f"Host: {host}", "Upgrade: websocket", "Connection: Upgrade",
             "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", *fields]
    return "\r\n".join([*lines, "", ""]).encode()


def header(opcode, length, fin=True, compressed=False):
    """A frame's header, masked, whatever is behind it."""
    first = opcode | (0x80 if fin else 0) | (0x40 if compressed else 0)
    if length < 126:
        return bytes([first, 0x80 | length]) + MASK
    if length < 65536:
        return bytes([first, 0xFE]) + struct.pack(">H", length) + MASK
    return bytes([first, 0xFF]) + struct.pack(">Q", length) + MASK


def frame(opcode, payload=b"", **options):
    return header(opcode, len(payload), **options) + payload


class Connection(socket.socket):
    """A TCP connection that knows since when it is there."""

    since = 0


def connect(server, source="127.0.0.1", receive_buffer=None):
    """A TCP connection to the server."""
    connection = Connection()
    connection.settimeout(LATE)
    if receive_buffer:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    if server.host.startswith("127."):
        connection.bind((source, 0))
    connection.connect((server.host, server.port))
    connection.since = time.monotonic()
    return connection


# What a socket raises that neither blocks nor has ended.
NOT_NOW = (BlockingIOError, ssl.SSLWantWriteError, ssl.SSLWantReadError)


def over_tls(connection):
    """TLS over it, with whatever certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    tls = context.wrap_socket(connection)
    tls.since = connection.since
    return tls


def websocket(server, *fields, **options):
    """An open WebSocket: the socket, all that came up to the end of the response's head read."""
    connection = connect(server, **options)
    if server.scheme == "https":
        connection = over_tls(connection)
    connection.sendall(head(server.address, fields=fields))
    answer = read_head(connection)
    if not answer.startswith(b"HTTP/1.1 101 "):
        raise Failure(f"the opening handshake was answered with {answer!r}")
    return connection


def read_head(connection):
    """A response's head, and not an octet more; what there is of it if it ends."""
    answer = b""
    while not answer.endswith(b"\r\n\r\n"):
        octet = connection.recv(1)
        if not octet:
            break
        answer += octet
    return answer


def read_exactly(connection, count):
    parts = []
    while count:
        part = connection.recv(min(count, 1 << 16))
        if not part:
            raise EOFError
        parts.append(part)
        count -= len(part)
    return b"".join(parts)


def read_frame(connection):
    """Opcode and payload of the next frame of the server's; raises EOFError at the end."""
    first, second = read_exactly(connection, 2)
    length = second & 0x7F
    if length > 125:
        length = int.from_bytes(read_exactly(connection, 2 if length == 126 else 8), "big")
    return first & 0x0F, read_exactly(connection, length)


def next_of(connection, *wanted):
    """The next frame of one of these kinds; others are passed over."""
    while True:
        opcode, payload = read_frame(connection)
        if opcode in wanted:
            return opcode, payload


def close_code(connection):
    """The code of the server's Close, whatever comes before it; 0 if it ends without one."""
    try:
        return int.from_bytes(next_of(connection, CLOSE)[1][:2], "big")
    except (EOFError, ConnectionError):
        return 0


def reset(*connections):
    """Ends connections at once, without a trace in the kernel."""
    for connection in connections:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()


class Crowd:
    """Many connections whose ends are waited for; what comes on them is read."""

    def __init__(self, connections):
        self.alive = {connection.fileno(): connection for connection in connections}
        self.order = {connection.fileno(): index for index, connection in enumerate(connections)}
        self.ended = {}  # how many seconds after it was made, by the connection's place
        self.came = {}  # the first octets that came
        self.poll = select.poll()
        for connection in connections:
            connection.setblocking(False)
            self.poll.register(connection, select.POLLIN)

    def wait(self, seconds, act=None, every=0.2, until=None):
        """Until all have ended, or `until()` is true: at most so long; `act(place, connection)` for each that is alive, every so often."""
        deadline = time.monotonic() + seconds
        due = time.monotonic()
        while self.alive and time.monotonic() < deadline and not (until and until()):
            if act and time.monotonic() >= due:
                due = time.monotonic() + every
                for number, connection in list(self.alive.items()):
                    try:
                        act(self.order[number], connection)
                    except BlockingIOError:
                        pass  # nobody reads there
                    except ConnectionError:
                        self.end(number)
            for number, _ in self.poll.poll(50):
                try:
                    data = self.alive[number].recv(1 << 16)
                except BlockingIOError:
                    continue
                except ConnectionError:
                    data = b""
                if data:
                    place = self.order[number]
                    self.came[place] = (self.came.get(place, b"") + data)[:4096]
                else:
                    self.end(number)
        return self

    def end(self, number):
        self.poll.unregister(number)
        connection = self.alive.pop(number)
        self.ended[self.order[number]] = time.monotonic() - connection.since
        connection.close()

    def close(self):
        for number in list(self.alive):
            reset(self.alive.pop(number))


def push(connections, blocks, over, every=0.01):
    """Sends each its block again and again, as far as it takes it, until `over(ended, idle)`; `ended` are those that have, with the seconds after
    which they had, `idle` the seconds in which none took anything. Returns these, and how many octets were taken."""
    left, taken, ended = {connection: b"" for connection in connections}, 0, {}
    start = moved = time.monotonic()
    for connection in connections:
        connection.setblocking(False)
    while not over(ended, time.monotonic() - moved) and time.monotonic() < start + 2 * LATE:
        for place, connection in enumerate(connections):
            if connection in ended:
                continue
            try:
                left[connection] = left[connection] or blocks[place % len(blocks)]
                count = connection.send(left[connection]) if left[connection] else 0
                left[connection] = left[connection][count:]
                taken += count
                moved = time.monotonic() if count else moved
            except NOT_NOW:
                pass
            except OSError:
                ended[connection] = time.monotonic() - start
        time.sleep(every)  # there is nothing that all of them could be waited for by
    return ended, taken


def noise(length):
    return os.urandom(length)
