"""A front of /packaging and what stands behind it, each with the file of that directory, and fronts.toml's changes to it."""

import os
import re
import signal
import socket
import subprocess
import time
import tomllib
from pathlib import Path

from lib import process
from lib.install import BUILD, ROOT
from lib.process import Failure, Program

from network import free_port

HERE = Path(__file__).resolve().parent
PACKAGING = ROOT / "packaging"
TABLE = tomllib.loads((HERE / "fronts.toml").read_text())
CHANGES = {change["name"]: change for change in TABLE["change"]}
LOGS = BUILD / "fronts"
START = 30  # seconds for a server to listen
SOON = 15  # seconds for anything else to happen


def packaged(name, directory, values):
    """Writes a file of /packaging with its changes into a directory; returns its path."""
    change = CHANGES[name]
    text = (PACKAGING / change["file"]).read_text()
    for old, new in change["texts"]:
        if text.count(old) != 1:
            raise Failure(f"packaging/{change['file']} has {old!r} {text.count(old)} times, not once")
        text = text.replace(old, re.sub(r"\{(\w+)\}", lambda match: str(values[match[1]]), new))
    path = Path(directory) / change["file"]
    path.write_text(text)
    return path


def until(holds, what, seconds=SOON):
    """Waits until something holds that nobody tells."""
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            raise Failure(f"not within {seconds} s: {what() if callable(what) else what}")
        time.sleep(0.02)


class Site:
    """A front, and one `sockeye serve` or two behind it, or one at a unix socket. `kind` is `nginx` or `haproxy`."""

    def __init__(self, kind, program, directory, stack, servers=1, unix=False, **values):
        self.kind, self.program, self.stack, self.unix = kind, program, stack, unix
        self.directory = Path(directory)
        self.values = {"run": directory, "shutdown": "60s", "idle": "75s", "per_addr": 1000, "more": "",
                       **{name: free_port() for name in ("http", "https", "port", "metrics")}, **values}
        hosts = ["127.0.0.11", "127.0.0.12"][:servers]
        places = [f"unix:{directory}/sockeye.sock"] if unix else [f"{host}:{self.values['port']}" for host in hosts]
        self.values["upstream"] = "".join(f"        server {place} max_fails=0;\n" for place in places)
        self.servers = {host: self.serve(host) for host in hosts}
        self.front = self.start()

    def log(self, name):
        """A log file that is not there yet."""
        for number in range(1000):
            path = LOGS / f"{name}-{number}.log"
            if not path.exists():
                return path
        raise Failure(f"too many logs of {name}")

    def serve(self, host):
        """Starts `sockeye serve` at an address."""
        directory = self.directory / host
        directory.mkdir(exist_ok=True)
        name = f"sockeye behind {self.kind}" + " by a unix socket" * self.unix
        path = packaged(name, directory, {**self.values, "host": host})
        with path.open("a") as file:
            file.write(self.values["more"])
        command = [self.program, "serve", "--config", path]
        server = self.stack.enter_context(Program(command, self.log(f"sockeye-behind-{self.kind}")))
        server.expect(r"^listening on ", START)
        return server

    def start(self):
        path = packaged(self.kind, self.directory, self.values)
        # As Debian's units start them, but for what would put them into the background.
        command = {"nginx": ["nginx", "-e", "stderr", "-c", path, "-g", "daemon off;"],
                   "haproxy": ["haproxy", "-Ws", "-f", path, "-p", self.directory / "haproxy.pid"]}[self.kind]
        stop = {"nginx": signal.SIGTERM, "haproxy": signal.SIGTERM}[self.kind]
        front = self.stack.enter_context(Program(command, self.log(self.kind), stop=stop))

        def listens():
            if front.process.poll() is not None:
                front.reader.join(1)
                raise Failure(f"{self.kind} {process.ended(front.process.returncode)}{process.tail(front.log)}")
            with socket.socket() as probe:
                return probe.connect_ex(("127.0.0.1", self.values["http"])) == 0

        until(listens, f"{self.kind} listens", START)
        if self.kind == "haproxy":
            until(lambda: len(self.up()) == len(self.servers), "HAProxy finds that its servers are up", START)
        return front

    def up(self):
        """The servers that HAProxy's probes have found to be up."""
        with socket.socket(socket.AF_UNIX) as admin:
            admin.settimeout(SOON)
            try:
                admin.connect(str(self.directory / "admin.sock"))
            except OSError:
                return set()
            admin.sendall(b"show stat\n")
            answer = b""
            while piece := admin.recv(65536):
                answer += piece
        lines = [line.split(",") for line in answer.decode().splitlines() if line]
        status = lines[0].index("status")
        checked = lines[0].index("check_status")
        return {line[1] for line in lines[1:] if line[0] == "sockeye" and line[1] != "BACKEND"
                and line[status] == "UP" and line[checked] == "L7OK"}

    def reload(self):
        """Has the front read its configuration again; returns when new workers work and the old ones have been told to end."""
        if self.kind == "nginx":
            # What `nginx -s reload` does, with the pid from its file.
            process.run(["nginx", "-e", "stderr", "-c", self.directory / "nginx.conf", "-s", "reload"], SOON,
                        log=LOGS / "reload.log")
            self.front.expect(r"start worker process ", SOON)
            self.front.expect(r"gracefully shutting down", SOON)
        else:
            # `ExecReload` of Debian's unit.
            self.front.process.send_signal(signal.SIGUSR2)
            self.front.expect(r"Loading success", SOON)

    def workers(self):
        """How many processes the front has, besides its first."""
        return sum(name == self.kind for name in process.descendants().values()) - 1

    def url(self, scheme="ws"):
        return f"{scheme}://127.0.0.1:{self.values['http' if scheme == 'ws' else 'https']}/echo"


class Load:
    """fronts_load: clients that talk."""

    def __init__(self, tool, mode, url, clients, newcomers, stack, log, *more, **options):
        command = [tool, mode, url, clients, newcomers, *more]
        self.program = stack.enter_context(Program(command, log, stdin=subprocess.PIPE, **options))
        self.program.expect(r"^open$", SOON)

    def mark(self):
        """Returns when all have got on."""
        self.program.process.stdin.write(b"mark\n")
        self.program.process.stdin.flush()
        self.program.expect(r"^marked$", 2 * SOON)

    def end(self):
        """Ends all; returns what was counted, by name, with `ends`, a text."""
        self.program.process.stdin.close()
        return self.ended()

    def ended(self, seconds=2 * SOON):
        status = self.program.wait(seconds)
        self.program.reader.join(5)
        if status != 0:
            raise Failure(f"the clients: {process.ended(status)}{process.tail(self.program.log)}")
        report = self.program.expect(r"^ended: (.*); ends: (.*)$", 1)
        counts = {name: int(count) for count, name in re.findall(r"(\d+) (\w+)", report[1])}
        return {**counts, "ends": report[2]}


def handshake(port, *fields, path="/echo", host="127.0.0.1", source="127.0.0.1", to="127.0.0.1", first=b""):
    """Opens a WebSocket by hand; returns the status, and the connection, which ends when it is dropped."""
    connection = socket.create_connection((to, port), timeout=SOON, source_address=(source, 0))
    lines = [f"GET {path} HTTP/1.1", f"Host: {host}", "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13",
             "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", *fields, "", ""]
    connection.sendall(first + "\r\n".join(lines).encode())
    answer = b""
    while b"\r\n\r\n" not in answer:
        try:
            piece = connection.recv(65536)
        except ConnectionResetError:
            piece = b""
        if not piece:
            break
        answer += piece
    match = re.match(rb"HTTP/1\.[01] (\d{3})", answer)
    return int(match[1]) if match else None, connection
