"""`sockeye serve` under test, what it counts, and the load of load/main.rs."""

import contextlib
import http.client
import os
import re
import resource
import socket
import subprocess
import threading
import time

from lib.process import Failure, Program, tail

LATE = 60  # seconds for what has no deadline: this machine may be busy
MIB = 1 << 20
METRIC = re.compile(r"^(\w+)(?:\{(.*)\})? (\S+)$", re.M)


def expect(condition, words):
    if not condition:
        raise Failure(words)


class Server(Program):
    """`sockeye serve` with these flags; a context manager that ends it."""

    def __init__(self, program, log, flags, descriptors=None, listen=("127.0.0.1:0",), within=()):
        words = [word for place in listen for word in ("--listen", place)]
        self.unix = next((place.removeprefix("unix:") for place in listen if place.startswith("unix:")), None)
        if not self.unix:
            words += ["--metrics-listen", "127.0.0.1:0"]
        for name, value in flags.items():
            for one in value if isinstance(value, list) else [value]:
                words += [f"--{name}"] if one is True else [f"--{name}", str(one)]
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        most = descriptors or hard
        super().__init__(
            [*within, program, "serve", *words], log,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (most, most if descriptors else hard)))
        self.scheme, self.address = self.expect(r"listening on (https?)://([^/]+)/", LATE).groups()
        if not self.unix:
            self.metrics_address = self.expect(r"metrics on http://([^/]+)/", LATE)[1]
        self.host, port = self.address.rsplit(":", 1)
        self.port = int(port)
        self.pid = self.process.pid
        self.settled()
        self.at_first = self.memory()
        self.descriptors_at_first = self.descriptors()
        self.processor_at_first = self.processor()

    @property
    def url(self):
        return f"{self.scheme.replace('http', 'ws')}://{self.address}/echo"

    def get(self, path):
        """Status and body of a plain request to the address for metrics."""
        if self.unix:
            connection = http.client.HTTPConnection("localhost", timeout=LATE)
            connection.sock = socket.socket(socket.AF_UNIX)
            connection.sock.settimeout(LATE)
            connection.sock.connect(self.unix)
        else:
            connection = http.client.HTTPConnection(self.metrics_address, timeout=LATE)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, response.read().decode()
        finally:
            connection.close()

    def metrics(self):
        return Metrics(self.get("/metrics")[1])

    def wait_for(self, what, test, seconds=LATE):
        """Waits until the metrics pass `test`; returns them."""
        deadline = time.monotonic() + seconds
        while True:
            now = self.metrics()
            if test(now):
                return now
            if time.monotonic() > deadline:
                raise Failure(f"{what}: not within {seconds} s; {now}{tail(self.log)}")
            time.sleep(0.05)  # nobody tells when a figure changes

    # --- what it takes -------------------------------------------------------------------------------------------------

    def status(self, key):
        with open(f"/proc/{self.pid}/status") as status:
            found = [int(line.split()[1]) << 10 for line in status if line.startswith(f"{key}:")]
        if not found:
            raise ProcessLookupError(f"process {self.pid} has ended")
        return found[0]

    def memory(self, metrics=None):
        """Resident memory, in octets: by its own count if it has one."""
        own = (metrics or self.metrics()).all("process_resident_memory_bytes")
        return int(own) if own else self.status("VmRSS")

    def descriptors(self):
        """Open file descriptors, without those of the question."""
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def processor(self):
        """Seconds of processor time."""
        with open(f"/proc/{self.pid}/stat") as stat:
            words = stat.read().rpartition(")")[2].split()
        return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")

    def settled(self):
        """Waits until nothing of this suite's own questions is open any more."""
        self.get("/healthz")
        last = -1
        while last != (last := self.descriptors()):
            time.sleep(0.05)

    def all_gone(self):
        """Once all peers are gone, nothing is open, and as many descriptors as at first."""
        self.wait_for("no connection is open", lambda now: now.all("sockeye_connections_open") == 0)
        deadline = time.monotonic() + LATE
        while self.descriptors() > self.descriptors_at_first:
            if time.monotonic() > deadline:
                raise Failure(f"{self.descriptors_at_first} descriptors at first, {self.descriptors()} in the end")
            time.sleep(0.05)


class Metrics:
    def __init__(self, text):
        self.text = text
        self.found = METRIC.findall(text)

    def __str__(self):
        """What is not 0, in a line."""
        return ", ".join(f"{name}{{{labels}}} {value}" for name, labels, value in self.found
                         if name.startswith("sockeye_") and "_bucket" not in name and float(value))

    def all(self, name, **labels):
        """The sum of all samples with this name and these labels."""
        wanted = [f'{key}="{value}"' for key, value in labels.items()]
        return sum(float(value) for found, given, value in self.found
                   if found == name and all(one in given for one in wanted))

    def closed(self, code):
        return int(self.all("sockeye_connections_closed_total", code=code))


class Watch:
    """Looks at a server's memory while a case runs, and holds it to a bound: MiB beyond what it had at first."""

    def __init__(self, server, bound):
        self.server, self.bound = server, bound
        self.resident = self.buffered = 0
        self.over = threading.Event()
        self.thread = threading.Thread(target=self.look, daemon=True)

    def look(self):
        while not self.over.wait(0.2):
            try:
                self.highest()
                now = self.server.metrics()
            except (OSError, http.client.HTTPException):
                continue  # no descriptors, or it has gone
            self.resident = max(self.resident, self.server.memory(now))
            self.buffered = max(self.buffered, int(now.all("sockeye_buffered_bytes")))

    def highest(self):
        """What the kernel saw at its highest, between two looks too. Raises OSError if it has gone."""
        self.resident = max(self.resident, self.server.status("VmHWM"))

    def __enter__(self):
        self.highest()
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.thread.join(LATE)

    def check(self):
        """Returns what was seen, in words."""
        with contextlib.suppress(OSError):
            self.highest()
        grown = (self.resident - self.server.at_first) / MIB
        words = f"memory grew by {grown:.1f} MiB at most (bound {self.bound})"
        if self.buffered:
            words += f", {self.buffered / MIB:.1f} MiB of it buffered"
        expect(grown <= self.bound, words)
        return words


class Load(Program):
    """A verb of load/main.rs, under way; a context manager."""

    def __init__(self, program, log, *words, within=()):
        super().__init__([*within, program, *words], log, stdin=subprocess.PIPE)

    def under_way(self):
        self.expect("^under way", LATE * 2)
        return self

    def finish(self, seconds=LATE):
        """Ends its input and waits for it to end; returns the lines that it printed from then on."""
        self.process.stdin.close()
        self.succeed(seconds)
        self.reader.join(LATE)
        lines = []
        while (line := self.lines.get()) is not None:
            lines.append(line)
        return lines


class Honest(Load):
    """Clients that talk steadily all the while, none of which may be kept waiting for long, fail, or be dropped."""

    def __init__(self, program, log, server, count, longest, *more, within=()):
        super().__init__(program, log, "talk", "steady", server.url, str(count), *more, within=within)
        self.count, self.longest = count, longest
        self.under_way()

    def check(self):
        """Ends it; returns what it saw, in words."""
        figures = re.search(r"connections (\d+) messages (\d+) longest (\S+)", "\n".join(self.finish()))
        connections, messages, longest = int(figures[1]), int(figures[2]), float(figures[3])
        words = f"{connections} honest clients, {messages} messages, the slowest answer after {longest:.2f} s"
        if connections != self.count or messages < self.count or longest > self.longest:
            raise Failure(f"{words}; wanted {self.count}, and {self.longest} s at most")
        return words
