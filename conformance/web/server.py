"""The scripted server: HTTP for the page and its reports, and WebSocket connections that do what their URL says.

    GET  /page                the page that runs the scenarios
    GET  /web/NAME            a file of this directory
    GET  /echo                a WebSocket that echoes, and answers a Close
    GET  /ws/ID?STEPS         a WebSocket that does STEPS, a JSON array of [step, argument...]; see `Connection`
    POST /gate/ID/NAME        lets the connection ID go on from its step ["gate", NAME]
    GET  /seen/ID             what the connection ID has got from the client, once it is over
    GET  /request/ID          its request, as [request line, [name, value]...]
    GET  /ports               {"refused": a port at which nobody listens}
    POST /report/ENGINE       a scenario's log, put into `Server.reports`

The framing is its own, so that nothing under test is compared with itself. It sends what it is told to, right or wrong.
"""

import asyncio
import base64
import hashlib
import json
import queue
import socket
import struct
import threading
import urllib.parse
import zlib
from collections import defaultdict
from pathlib import Path

HERE = Path(__file__).resolve().parent
PAGE = "<!doctype html><meta charset=utf-8><title>web</title><script type=module src=/web/page.mjs></script>"
TYPES = {".mjs": "text/javascript", ".html": "text/html"}
CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
WAIT = 8  # seconds for a client to do what a step waits for
OVER = 5  # seconds for a connection to end whose client asks what it has seen


def frame(opcode, payload, fin=True, rsv=0, masked=False, length=None):
    """A frame; `length` is a length field to write in place of the right one, as hexadecimal digits."""
    size = len(payload)
    if length is not None:
        field = bytes.fromhex(length)
    elif size < 126:
        field = bytes([size])
    elif size < 65536:
        field = b"\x7e" + struct.pack("!H", size)
    else:
        field = b"\x7f" + struct.pack("!Q", size)
    head = bytes([fin << 7 | rsv << 4 | opcode, field[0] | masked << 7]) + field[1:]
    return head + (b"\x01\x02\x03\x04" + unmask(payload, b"\x01\x02\x03\x04") if masked else payload)


def unmask(payload, key):
    """Masks or unmasks."""
    size = len(payload)
    keys = (key * (size // 4 + 1))[:size]
    return (int.from_bytes(payload, "big") ^ int.from_bytes(keys, "big")).to_bytes(size, "big")


def pattern(size):
    """The binary data that both sides make by themselves: octet i is i modulo 251."""
    return (bytes(range(251)) * (size // 251 + 1))[:size]


class Connection:
    """One scripted connection. What is written is held back until a step waits, so that it goes out in one piece."""

    def __init__(self, reader, writer, request, gates):
        self.reader, self.writer, self.request, self.gates = reader, writer, request, gates
        self.headers = {name.lower(): value for name, value in request[1:]}
        self.out = bytearray()
        self.seen = []  # lines for /seen
        self.messages = []  # (opcode, payload) that came
        self.close_payload = None  # of the Close that came
        self.eof = False
        self.changed = asyncio.Condition()
        self.reading = asyncio.Event()
        self.reading.set()
        self.receiver = None
        self.over = asyncio.Event()

    async def run(self, steps):
        """Does the steps; then ends the connection, and waits until the client has done so too."""
        try:
            for name, *arguments in steps:
                await getattr(self, f"do_{name}")(*arguments)
            await self.flush()
            self.writer.write_eof()
            self.reading.set()
            await self.until(lambda: self.eof)
        except TimeoutError:
            self.seen.append("the server has waited in vain")
        except OSError:
            pass
        finally:
            if self.receiver:
                self.receiver.cancel()
            self.writer.close()
            self.messages.clear()
            self.over.set()

    async def flush(self):
        if self.out:
            self.writer.write(bytes(self.out))
            self.out.clear()
            await self.writer.drain()

    async def until(self, condition, seconds=WAIT):
        """Waits until the client has done something, or has ended the connection."""
        self.receiver = self.receiver or asyncio.create_task(self.receive_nothing())
        await self.flush()
        async with self.changed:
            await asyncio.wait_for(self.changed.wait_for(lambda: condition() or self.eof), seconds)

    async def receive(self):
        """Reads frames, as long as `reading` is set, to the end of the connection."""
        opcode, message = None, []
        try:
            while True:
                await self.reading.wait()
                first, second = await self.reader.readexactly(2)
                await self.reading.wait()
                size = second & 127
                if size > 125:
                    size = int.from_bytes(await self.reader.readexactly(2 if size == 126 else 8), "big")
                key = await self.reader.readexactly(4) if second & 128 else None
                payload = await self.reader.readexactly(size)
                payload = unmask(payload, key) if key else payload
                if not key:
                    self.seen.append("a frame that is not masked")
                kind = first & 15
                if kind == CLOSE:
                    self.seen.append(f"close {describe_close(payload)}")
                    self.close_payload = payload
                elif kind in (PING, PONG):
                    self.seen.append(f"{'ping' if kind == PING else 'pong'} {len(payload)} {zlib.crc32(payload):08x}")
                else:
                    opcode = kind or opcode
                    message.append(payload)
                    if first & 128:
                        whole, message = b"".join(message), []
                        self.seen.append(f"{'text' if opcode == TEXT else 'binary'} {len(whole)} {zlib.crc32(whole):08x}")
                        self.messages.append((opcode, whole))
                await self.change()
        except (asyncio.IncompleteReadError, OSError):
            self.eof = True
            await self.change()

    async def receive_nothing(self):
        """Reads to the end of a connection that is no WebSocket."""
        try:
            while await self.reader.read(65536):
                pass
        except OSError:
            pass
        self.eof = True
        await self.change()

    async def change(self):
        async with self.changed:
            self.changed.notify_all()

    # The steps.

    async def do_accept(self, options=None):
        """The opening handshake's answer. `options`: accept, upgrade, connection (text, or null for none), status, headers."""
        options = options or {}
        self.receiver = asyncio.create_task(self.receive())
        key = self.headers.get("sec-websocket-key", "")
        digest = hashlib.sha1((key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest()
        right = base64.b64encode(digest).decode()
        usual = {"upgrade": "websocket", "connection": "Upgrade", "accept": "RIGHT"}
        names = {"upgrade": "Upgrade", "connection": "Connection", "accept": "Sec-WebSocket-Accept"}
        lines = [options.get("status", "HTTP/1.1 101 Switching Protocols")]
        for field, value in {**usual, **{k: v for k, v in options.items() if k in usual}}.items():
            if value is not None:
                lines.append(f"{names[field]}: {value}")
        lines += [f"{name}: {value}" for name, value in options.get("headers", [])]
        text = "\r\n".join(lines).replace("RIGHT", right) + "\r\n\r\n"
        for octet in text.encode() if options.get("pieces") else [text.encode()]:
            if options.get("pieces"):
                self.out.append(octet)
                await self.flush()
                await asyncio.sleep(0)
            else:
                self.out += octet

    async def do_respond(self, text):
        """Any answer in place of the opening handshake's."""
        self.out += text.encode()

    async def do_text(self, unit, count=1):
        self.out += frame(TEXT, (unit * count).encode("utf-8", "surrogatepass"))

    async def do_texts(self, prefix, count):
        """Messages PREFIX0, PREFIX1, and so on."""
        for number in range(count):
            await self.do_text(f"{prefix}{number}")

    async def do_binary(self, size):
        self.out += frame(BINARY, pattern(size))

    async def do_fragments(self, opcode, parts):
        """A message in frames; each part is text, or an array [text] that is a ping in their midst."""
        first = True
        for at, part in enumerate(parts):
            if isinstance(part, list):
                self.out += frame(PING, part[0].encode())
            else:
                self.out += frame(opcode if first else CONTINUATION, part.encode(), fin=at == len(parts) - 1)
                first = False

    async def do_shreds(self, count):
        """A message of so many frames of three octets."""
        for number in range(count):
            self.out += frame(CONTINUATION if number else TEXT, b"abc", fin=number == count - 1)

    async def do_frame(self, opcode, octets="", options=None):
        """A frame with payload in hexadecimal digits; `options`: fin, rsv, masked, length, and how many `times` the payload."""
        options = dict(options or {})
        self.out += frame(opcode, bytes.fromhex(octets) * options.pop("times", 1), **options)

    async def do_raw(self, octets):
        self.out += bytes.fromhex(octets)

    async def do_ping(self, text=""):
        self.out += frame(PING, text.encode())

    async def do_close(self, code=None, reason=""):
        self.out += frame(CLOSE, b"" if code is None else struct.pack("!H", code) + reason.encode())

    async def do_messages(self, count):
        """Waits until so many messages have come."""
        await self.until(lambda: len(self.messages) >= count)

    async def do_closed(self):
        """Waits for the client's Close."""
        await self.until(lambda: self.close_payload is not None)

    async def do_answer(self):
        """Waits for the client's Close and answers with the same."""
        await self.do_closed()
        self.out += frame(CLOSE, self.close_payload or b"")

    async def do_echo(self):
        """Echoes every message; answers the client's Close."""
        done = 0
        while True:
            await self.until(lambda done=done: len(self.messages) > done or self.close_payload is not None)
            while done < len(self.messages):
                self.out += frame(*self.messages[done])
                done += 1
            if self.close_payload is not None:
                self.out += frame(CLOSE, self.close_payload)
                return
            if self.eof:
                return

    async def do_gate(self, name):
        """Waits until the client's side lets it go on."""
        await self.flush()
        await asyncio.wait_for(self.gates[name].wait(), WAIT)

    async def do_sleep(self, milliseconds):
        await self.flush()
        await asyncio.sleep(milliseconds / 1000)

    async def do_pause(self):
        """Reads nothing from now on."""
        self.reading.clear()

    async def do_resume(self):
        self.reading.set()

    async def do_eof(self, seconds=WAIT):
        """Waits until the client ends the connection."""
        await self.until(lambda: self.eof, seconds)

    async def do_reset(self):
        """Ends the connection with a TCP reset."""
        await self.flush()
        self.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()
        raise ConnectionError


def describe_close(payload):
    if len(payload) < 2:
        return "without code"
    return f"{int.from_bytes(payload[:2], 'big')} {json.dumps(payload[2:].decode(errors='replace'))}"


class Server:
    """The server, on a thread of its own."""

    def __init__(self):
        self.reports = queue.SimpleQueue()
        self.connections = {}
        self.gates = defaultdict(lambda: defaultdict(asyncio.Event))  # by connection and name
        self.refused = socket.socket()
        self.refused.bind(("127.0.0.1", 0))  # and nobody listens
        self.loop = asyncio.new_event_loop()
        self.server = self.loop.run_until_complete(asyncio.start_server(self.serve, "127.0.0.1", 0))
        self.port = self.server.sockets[0].getsockname()[1]
        threading.Thread(target=self.loop.run_forever, daemon=True).start()

    async def serve(self, reader, writer):
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, ConnectionError):
            writer.close()
            return
        request = [head[0], *([part.strip() for part in line.split(":", 1)] for line in head[1:] if line)]
        method, target, _ = head[0].split(" ", 2)
        path, _, query = target.partition("?")
        words = path.split("/")[1:]
        if words[0] in ("echo", "ws"):
            identifier = "/".join(words[1:])
            connection = Connection(reader, writer, request, self.gates[identifier])
            steps = [["accept"], ["echo"]] if words[0] == "echo" else json.loads(urllib.parse.unquote(query))
            self.connections[identifier] = connection
            await connection.run(steps)
            return
        length = next((int(value) for name, value in request[1:] if name.lower() == "content-length"), 0)
        body = await reader.readexactly(length)
        status, kind, content = await self.answer(method, words, body)
        writer.write(f"HTTP/1.1 {status} -\r\nContent-Type: {kind}\r\nContent-Length: {len(content)}\r\n"
                     f"Cache-Control: no-store\r\nConnection: close\r\n\r\n".encode() + content)
        try:
            await writer.drain()
        except ConnectionError:
            pass
        writer.close()

    async def answer(self, method, words, body):
        """An HTTP request's status, content type and content."""
        what, rest = words[0], "/".join(words[1:])
        if what == "page":
            return 200, "text/html", PAGE.encode()
        if what == "web" and ".." not in words and (HERE / rest).is_file():
            return 200, TYPES.get(Path(rest).suffix, "text/plain"), (HERE / rest).read_bytes()
        if what == "ports":
            return self.json({"refused": self.refused.getsockname()[1]})
        if what == "report" and method == "POST":
            self.reports.put((rest, json.loads(body)))
            return self.json(None)
        if what == "gate" and method == "POST":
            self.gates[words[1]][words[2]].set()
            return self.json(None)
        connection = self.connections.get(rest)
        if connection and what == "request":
            return self.json(connection.request)
        if connection and what == "seen":
            try:
                await asyncio.wait_for(connection.over.wait(), OVER)
            except TimeoutError:
                return self.json([*connection.seen, "the connection is still open"])
            return self.json(connection.seen)
        return 404, "text/plain", b"nothing here"

    @staticmethod
    def json(value):
        return 200, "application/json", json.dumps(value).encode()
