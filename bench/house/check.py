"""Whether a server is what the tables say it is: text that is not UTF-8 must not come back (the floor checks nothing)."""

import socket

from . import build

REQUEST = (
    b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
GOOD, BAD = b"caf\xc3\xa9", b"caf\xc3\x28"


def text_frame(payload):
    """With a masking key of zeros."""
    return bytes([0x81, 0x80 | len(payload)]) + bytes(4) + payload


def utf8(house, name):
    with house.server(name) as (_, port):
        with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
            connection.sendall(REQUEST)
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                head += receive(connection)
            connection.sendall(text_frame(GOOD))
            echo = b""
            while len(echo) < 2 + len(GOOD):
                echo += receive(connection)
            if echo != bytes([0x81, len(GOOD)]) + GOOD:
                raise build.Failed(f"{name} answered {echo!r} to text")
            connection.sendall(text_frame(BAD))
            rest = b""
            try:
                rest = connection.recv(1024)
            except ConnectionError:
                pass
            if BAD in rest:
                raise build.Failed(f"{name} echoes text that is not UTF-8")


def receive(connection):
    received = connection.recv(1024)
    if not received:
        raise build.Failed("a server ended a connection")
    return received
