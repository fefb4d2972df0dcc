"""The counterparts, each started with a configuration of this directory and on ports of its own.

In a configuration `@NAME@` stands for what is known by that name: a path, an address. An unknown one is a port that is picked, and the address
127.0.0.1:PORT is known as NAME from then on.
"""

import os
import re
import shutil
import signal
import socket
import time
from pathlib import Path

from lib.process import Failure, Program, run

from network import free_port

HERE = Path(__file__).resolve().parent
START = 30  # seconds for a server to listen
USER, PASSWORD = "alice", "s3cret"


class Servers:
    """What runs, and what is known: `known` is what the cases can name."""

    def __init__(self, directory, logs, stack):
        self.directory, self.logs, self.stack = directory, logs, stack
        self.known = {"run": str(directory)}
        self.programs = {}

    def know(self, name, host, port):
        """Gives an address a name, and its port NAME_port; returns it."""
        self.known.update({name: f"{host}:{port}", f"{name}_port": str(port)})
        return self.known[name]

    def config(self, name, text, **more):
        """Writes a configuration; returns its path, and the addresses that are in it."""
        addresses = []

        def value(match):
            key = match[1]
            if key in more:
                return more[key]
            if key not in self.known:
                host = self.known["away_host"] if key.startswith("away") else "127.0.0.1"
                addresses.append(self.know(key, host, free_port()))
                return self.known[f"{key}_port"]
            return self.known[key]

        path = self.directory / name
        path.write_text(re.sub(r"@(\w+)@", value, text))
        return path, addresses

    def start(self, name, command, addresses, **options):
        """Starts a program that listens at `addresses`."""
        program = self.stack.enter_context(Program(command, self.logs / f"{name}.log", **options))
        self.programs[name] = program
        deadline = time.monotonic() + START
        for address in addresses:
            self.listening(name, program, address, deadline)

    @staticmethod
    def listening(name, program, address, deadline):
        host, port = address.rsplit(":", 1)
        while True:
            try:
                socket.create_connection((host, int(port)), timeout=1).close()
                return
            except OSError as error:
                if program.process.poll() is not None or time.monotonic() > deadline:
                    program.reader.join(1)
                    raise Failure(f"{name} does not listen on {address}: {error}\n{program.log.read_text()}") from None
            time.sleep(0.02)  # it has no way to tell

    def sockeye(self, program, away):
        """`sockeye serve`: at `echo`, at `dual`, and at `away` if this machine has such an address."""
        listen = {"echo": "127.0.0.1:0", "dual": self.known["dual"]}
        if away:
            listen["away"] = f"{away}:0"
            self.known["away_host"] = away
        command = [program, "serve", "--allow-host", "away.test"]
        for address in listen.values():
            command += ["--listen", address]
        server = self.stack.enter_context(Program(command, self.logs / "sockeye.log", stop=signal.SIGINT))
        self.programs["sockeye"] = server
        for name in listen:
            found = server.expect(r"^listening on http://([^/\s]+):(\d+)/$", START)
            self.know(name, found[1], found[2])

    def passwords(self):
        """A file with the one user, for nginx and squid."""
        log = self.directory / "passwords"
        run(["openssl", "passwd", "-apr1", PASSWORD], 10, log=log)
        log.write_text(f"{USER}:{log.read_text().strip()}\n")

    def nginx(self):
        self.known["nginx_unix"] = str(self.directory / "nginx.sock")
        text = (HERE / "nginx.conf").read_text()
        if "away" not in self.known:
            text = re.sub(r"\n    server \{\n        listen @away_host@(.*\n)*?    \}\n", "", text)
        if "ipv6" not in self.known:
            text = re.sub(r".*\[::1\].*", "", text)
        path, addresses = self.config("nginx.conf", text)
        self.start("nginx", ["nginx", "-c", path, "-p", self.directory], addresses)

    def haproxy(self):
        self.known["haproxy_unix"] = str(self.directory / "haproxy.sock")
        text = (HERE / "haproxy.cfg").read_text()
        if "tinyproxy" not in self.known:
            text = re.sub(r"\nlisten tinyproxy\n(.+\n)+", "\n", text)
        path, addresses = self.config("haproxy.cfg", text)
        self.start("haproxy", ["haproxy", "-db", "-f", path], addresses)

    def squid(self):
        place = self.directory / "squid"
        place.mkdir()
        if os.geteuid() == 0:  # it changes its user
            shutil.chown(place, "proxy", "proxy")
        path, addresses = self.config("squid.conf", (HERE / "squid.conf").read_text())
        self.start("squid", ["squid", "-N", "-f", path], addresses)

    def tinyproxy(self):
        for name, password in (("tinyproxy", ""), ("tinyproxy_password", f"BasicAuth {USER} {PASSWORD}")):
            address = self.know(name, "127.0.0.1", free_port())
            port = self.known[f"{name}_port"]
            path, _ = self.config(f"{name}.conf", (HERE / "tinyproxy.conf").read_text(), port=port, password=password)
            self.start(name, ["tinyproxy", "-d", "-c", path], [address])

    def microsocks(self):
        for name, password in (("microsocks", []), ("microsocks_password", ["-u", USER, "-P", PASSWORD])):
            address = self.know(name, "127.0.0.1", free_port())
            command = ["microsocks", "-i", "127.0.0.1", "-p", self.known[f"{name}_port"], *password]
            self.start(name, command, [address])

    def danted(self):
        path, addresses = self.config("danted.conf", (HERE / "danted.conf").read_text())
        self.start("dante", ["danted", "-f", path, "-p", self.directory / "danted.pid"], addresses)

    def log_of(self, proxy):
        """What a proxy has said of the tunnels it made."""
        path = self.directory / "squid" / "access.log" if proxy == "squid" else self.logs / f"{proxy}.log"
        return path.read_text(errors="replace") if path.exists() else ""


# how a proxy's log names a tunnel to an address
TUNNELS = {
    "squid": r"TCP_TUNNEL/200 .* CONNECT {host}:{port} ",
    "tinyproxy": r"CONNECT {host}:{port} HTTP",
    "microsocks": r"connected to {host}:{port}",
    "dante": r"pass\(.*\): tcp/connect .*{host}\.{port}",
}
