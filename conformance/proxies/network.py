"""A network of the suite's own, and the servers in it that go wrong."""

import asyncio
import ctypes
import itertools
import os
import re
import select
import socket
import ssl
import threading
from pathlib import Path

from lib.process import Failure, run

CLONE_NEWNET = 0x40000000
AWAY = "192.0.2.1"  # RFC 5737: for documentation, so nobody's; here this machine's, and not a loopback address


def isolate():
    """Moves this process, and those it starts from now on, into a network namespace with nothing in it but the loopback
    interface, which has the address AWAY too; the namespace ends with them. Returns whether that is allowed here."""
    libc = ctypes.CDLL(None)
    if os.geteuid() != 0 or libc.unshare(CLONE_NEWNET) != 0:
        return False
    ip("link", "set", "lo", "up")
    ip("addr", "add", f"{AWAY}/32", "dev", "lo")
    return True


def ip(*words):
    run(["ip", *words], 10)


def has_ipv6():
    """Whether there is an IPv6 loopback address."""
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


def free_port():
    """A port on which nobody listens, on no loopback address."""
    for _ in range(100):
        with socket.create_server(("127.0.0.1", 0)) as first:
            port = first.getsockname()[1]
            if not has_ipv6():
                return port
            try:
                with socket.create_server(("::1", port), family=socket.AF_INET6):
                    return port
            except OSError:
                pass  # the next
    raise Failure("no port is free")


def family(address):
    return socket.AF_INET6 if ":" in address else socket.AF_INET


class BlackHole:
    """An address at which TCP connections are neither accepted nor refused: its queue of such is full, and what comes is dropped."""

    def __init__(self, address, port=0):
        self.listener = socket.create_server((address, port), family=family(address), backlog=0)
        self.port = self.listener.getsockname()[1]
        self.queued = []
        for _ in range(16):
            queued = socket.socket(family(address))
            queued.settimeout(0.3)
            self.queued.append(queued)
            try:
                queued.connect((address, self.port))
            except TimeoutError:
                return
        raise Failure(f"the queue of {address} does not fill")

    def close(self):
        for one in (self.listener, *self.queued):
            one.close()


class Scripted:
    """Servers that answer each read with the next of a list of texts, and then say nothing until the client ends the connection.

    A script is `{answers = [TEXT, ...]}`, of characters up to U+00FF, which are octets. With `tls` it speaks TLS first; with `drip` what
    follows the answers is one octet after the other, without end; with `close` it ends the connection instead.
    """

    def __init__(self, scripts, context):
        self.open = {}  # connections by script
        self.addresses = {}
        self.loop = asyncio.new_event_loop()
        self.loop.run_until_complete(self.start(scripts, context))
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()

    async def start(self, scripts, context):
        for name, script in scripts.items():
            server = await asyncio.start_server(
                self.handler(name, script), "127.0.0.1", 0, ssl=context if script.get("tls") else None)
            self.addresses[name] = "127.0.0.1:%d" % server.sockets[0].getsockname()[1]

    def handler(self, name, script):
        self.open[name] = 0

        async def handle(reader, writer):
            self.open[name] += 1
            try:
                answers = [self.filled(answer) for answer in script.get("answers", [])]
                await self.talk(reader, writer, answers, script)
            except (OSError, ssl.SSLError):
                pass  # as the client likes
            finally:
                self.open[name] -= 1
                writer.transport.abort()

        return handle

    def filled(self, text):
        """A text with the addresses of others of these servers in it, for {NAME}."""
        return re.sub(r"\{(\w+)\}", lambda match: self.addresses[match[1]], text)

    @staticmethod
    async def talk(reader, writer, answers, script):
        for answer in answers:
            if not await reader.read(65536):
                return
            writer.write(answer.encode("latin-1"))
        if script.get("close"):
            await writer.drain()
            return
        for octet in itertools.cycle(script.get("drip", "").encode("latin-1")):
            writer.write(bytes([octet]))
            try:
                async with asyncio.timeout(0.05):
                    if not await reader.read(65536):
                        return
            except TimeoutError:
                pass
        while await reader.read(65536):
            pass

    def close(self):
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(5)


class Names:
    """A name server where this network namespace's resolver asks: it knows no name, and says nothing at all of those with `silent`."""

    def __init__(self):
        self.sockets = []
        for line in Path("/etc/resolv.conf").read_text().splitlines():
            words = line.split()
            if words[:1] == ["nameserver"]:
                self.listen(words[1])
        if not self.sockets:
            self.listen("127.0.0.1")  # resolv.conf(5): "If no nameserver entries are present, the default is to use the [...] local machine."
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def listen(self, address):
        if not address.startswith("127.") and address != "::1":
            ip("addr", "add", address + ("/128" if ":" in address else "/32"), "dev", "lo")
        listener = socket.socket(family(address), socket.SOCK_DGRAM)
        listener.bind((address, 53))
        self.sockets.append(listener)

    def serve(self):
        while True:
            for listener in select.select(self.sockets, [], [])[0]:
                query, peer = listener.recvfrom(4096)
                if b"silent" not in query:
                    # RFC 1035 section 4.1: the header (an answer, recursion available, name error, one question), and the question;
                    # what else is in the query is not repeated.
                    end = query.index(b"\0", 12) + 5
                    listener.sendto(query[:2] + b"\x81\x83\0\1\0\0\0\0\0\0" + query[12:end], peer)


def tls_context(directory):
    """For a server with the good certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(directory / "good.crt", directory / "good.key")
    return context
