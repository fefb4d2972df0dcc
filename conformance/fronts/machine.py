"""What systemd and a container make of Sockeye, as far as that is to be seen without either running: the units and the Containerfile of /packaging."""

import contextlib
import json
import os
import re
import shlex
import signal
import socket
import stat
import subprocess

from lib import process
from lib.install import ROOT
from lib.process import Failure, Program
from lib.tally import summary

from behind import HERE, LOGS, PACKAGING, SOON, START, Load, handshake, packaged, until
from network import free_port

CLIENTS, NEWCOMERS = 50, 2  # of each socket
EXPOSURE = 1.5  # what `systemd-analyze security` may find at most, of 10


# --- systemd -----------------------------------------------------------------------------------------------------------------


def units(run, directory, also=False):
    """Writes both units into a directory; with `also`, with the settings that are commented out in them."""
    paths = [packaged(name, directory, {"program": run.program}) for name in ("service", "socket")]
    for path in paths if also else []:
        text, count = re.subn(r"(?m)^#(\w+=)", r"\1", path.read_text())
        if not count:
            raise Failure(f"nothing is commented out in {path.name}")
        path.write_text(text)
    return paths


def setting(path, name):
    """A unit's setting, which has to be there once."""
    found = re.findall(rf"(?m)^{name}=(.*)$", path.read_text())
    if len(found) != 1:
        raise Failure(f"{path.name} has {name} {len(found)} times")
    return found[0]


def verified(run, also=False):
    """systemd reads the units without a complaint."""
    paths = units(run, run.place(), also)
    result = subprocess.run(["systemd-analyze", "verify", *paths], capture_output=True, text=True, timeout=START, check=False)
    if result.returncode or result.stdout or result.stderr:
        raise Failure(f"`systemd-analyze verify` {process.ended(result.returncode)}: {result.stdout}{result.stderr}")


def confined(run):
    """What systemd thinks of how the service is confined."""
    service, _ = units(run, run.place())
    command = ["systemd-analyze", "security", "--offline=true", service]
    result = subprocess.run(command, capture_output=True, text=True, timeout=START, check=False)
    match = re.search(r"Overall exposure level for sockeye\.service: ([\d.]+)", result.stdout)
    if not match or float(match[1]) > EXPOSURE:
        raise Failure(f"exposure {match and match[1]}, not {EXPOSURE} at most: {result.stdout[-2000:]}{result.stderr}")
    summary(f"systemd-analyze security: exposure {match[1]} of 10")


def sockeyes(run):
    """The processes below this one that are the program under test, and not a shell that is going to be; those of the fronts' cases too."""
    def is_it(pid):
        with contextlib.suppress(OSError):
            return os.readlink(f"/proc/{pid}/exe") == str(run.program)
        return False
    return sorted(pid for pid in process.descendants() if is_it(pid))


def activated(run):
    """Sockets that systemd's own tool hands over: nothing runs before the first client, and a second generation takes over from the first while clients
    talk; ExecReload, KillSignal and the sockets are those of the units."""
    directory = run.place()
    service, _ = units(run, directory)
    values = {"host": "127.0.0.1", "port": free_port(), "metrics": free_port(), "per_addr": 1000}
    config = packaged("sockeye behind nginx", directory, values)
    path, port = directory / "activated.sock", free_port()
    start = shlex.split(setting(service, "ExecStart").replace("/etc/sockeye/sockeye.toml", str(config)))
    address = f"127.0.0.1:{port}"
    others = sockeyes(run)
    late = "Origin: https://late.example"

    def answer():
        """The status that a page gets which the configuration does not let in at first."""
        status, connection = handshake(port, late)
        connection.close()
        return status

    def only():
        """The one process of the program."""
        def ours():
            return [pid for pid in sockeyes(run) if pid not in others]
        until(lambda: len(ours()) == 1, lambda: f"one process of the program: {ours()}")
        return ours()[0]

    with contextlib.ExitStack() as stack:
        told = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
        told.settimeout(SOON)
        told.bind(str(directory / "notify.sock"))
        command = ["systemd-socket-activate", "-E", f"NOTIFY_SOCKET={directory}/notify.sock", "-l", address, "-l", path,
                   HERE / "hold.sh", *start]
        holder = stack.enter_context(Program(command, LOGS / "activated.log"))
        holder.expect(r"^Listening on .*activated\.sock", START)
        if sockeyes(run) != others:
            raise Failure("it runs before anybody has connected")
        status, connection = handshake(port)
        stack.callback(connection.close)
        if status != 101:
            raise Failure(f"the answer to the first client is {status}")
        loads = [Load(run.load, "return", f"ws://{address}/echo", CLIENTS, NEWCOMERS, stack, LOGS / "load-activated-tcp.log"),
                 Load(run.load, "return", "ws://ws.example.com/echo", CLIENTS, NEWCOMERS, stack, LOGS / "load-activated-unix.log", path)]
        first = only()
        mark(loads)
        hear(told, "READY=1")

        if answer() != 403:
            raise Failure(f"a page of another origin gets {answer()}")
        with config.open("a") as file:
            file.write('allow-origin = ["https://late.example"]\n')
        reload = shlex.split(setting(service, "ExecReload").replace("$MAINPID", str(first)))
        process.run(reload, SOON)
        hear(told, "RELOADING=1")
        hear(told, "READY=1")
        mark(loads)
        if only() != first or answer() != 101:
            raise Failure(f"another process after ExecReload, or not with the new configuration: a page that it lets in gets {answer()}")

        os.kill(first, getattr(signal, setting(service, "KillSignal")))
        hear(told, "STOPPING=1")
        holder.expect(r"^generation 1 ended with 0$", SOON)
        mark(loads)
        hear(told, "READY=1")
        if only() == first or not stat.S_ISSOCK(path.stat().st_mode):
            raise Failure("no second generation, or no socket for it")
        counts = [load.end() for load in loads]
        for count in counts:
            if count["ends"] != f"{CLIENTS} closed with 1001" or count["connections"] != 2 * CLIENTS:
                raise Failure(f"not each client was closed with 1001 and came back, once: {counts}")
        os.kill(only(), getattr(signal, setting(service, "KillSignal")))
        holder.expect(r"^generation 2 ended with 0$", SOON)
        holder.succeed(SOON)
    came = sum(count["newcomers"] for count in counts)
    summary(f"sockets of systemd-socket-activate, TCP and unix: {2 * CLIENTS} clients closed with 1001 by one generation, and let in by the "
            f"next; {came} others opened, no attempt failed")


def hear(told, what):
    """Waits for what is told to systemd (sd_notify(3)), for which it waits with `Type=notify`."""
    try:
        while what not in told.recv(4096).decode().splitlines():
            pass
    except TimeoutError:
        raise Failure(f"systemd is not told {what}") from None


def mark(loads):
    for load in loads:
        load.mark()


# --- the container -----------------------------------------------------------------------------------------------------------


def instructions():
    """The Containerfile's, as (word, rest)."""
    text = re.sub(r"(?m)^#.*\n", "", (PACKAGING / "Containerfile").read_text()).replace("\\\n", " ")
    return [tuple(line.split(None, 1)) for line in text.splitlines() if line.strip()]


def value(word):
    """The last instruction of a kind."""
    return [rest for name, rest in instructions() if name == word][-1]


def copied(run):
    """What is copied from the repository is in it, and is all that cargo needs; what is copied from the first stage is what cargo makes there."""
    del run
    copies = [rest.split() for name, rest in instructions() if name == "COPY"]
    sources = [source for words in copies if not words[0].startswith("--") for source in words[:-1]]
    listed = subprocess.run(["git", "ls-files", "--", *sources], cwd=ROOT, capture_output=True, text=True, timeout=START, check=True)
    files = listed.stdout.splitlines()
    for source in sources:
        if not any(file == source or file.startswith(f"{source}/") for file in files):
            raise Failure(f"{source} is not in the repository")
    command = ["cargo", "metadata", "--locked", "--offline", "--no-deps", "--format-version", "1"]
    found = json.loads(subprocess.run(command, cwd=ROOT, capture_output=True, timeout=START, check=True).stdout)
    for package in found["packages"]:
        manifest = os.path.relpath(package["manifest_path"], ROOT)
        if manifest not in files:
            raise Failure(f"{manifest} is not copied")
    build = shlex.split(value("RUN"))
    name = build[build.index("--package") + 1]
    binaries = [target["name"] for package in found["packages"] if package["name"] == name
                for target in package["targets"] if "bin" in target["kind"]]
    made = [f"{value('WORKDIR')}/target/release/{binary}" for binary in binaries]
    taken = [words[1] for words in copies if words[0] == "--from=build"]
    if not made or taken != made:
        raise Failure(f"{taken} is taken from the first stage, where {made} is made")


def contained(run):
    """What the container runs: the command, the health check, and the end."""
    program = "/usr/bin/sockeye"
    if json.loads(value("ENTRYPOINT")) != [program]:
        raise Failure("another entry point than the program")
    ports = dict(zip(value("EXPOSE").split(), (free_port(), free_port())))

    def here(words):
        """The command with this run's program, and ports of its own on loopback."""
        said = [re.sub(r"(0\.0\.0\.0|127\.0\.0\.1):(\d+)", lambda match: f"127.0.0.1:{ports[match[2]]}", word) for word in words]
        return [run.program if word == program else word for word in said]

    check = here(json.loads(value("HEALTHCHECK").partition("CMD ")[2]))
    with Program(here([program, *json.loads(value("CMD"))]), LOGS / "contained.log") as server:
        server.stop_signal = getattr(signal, value("STOPSIGNAL"))
        server.expect(r"^listening on ", START)
        process.run(check, SOON, log=LOGS / "health.log")
        server.stop()
    try:
        process.run(check, SOON)
    except Failure:
        return
    raise Failure("the health check is content with a server that is gone")


CASES = [
    ("systemd: the units", "systemd-analyze", verified),
    ("systemd: the units, with what is commented out in them", "systemd-analyze", lambda run: verified(run, also=True)),
    ("systemd: how the service is confined", "systemd-analyze", confined),
    ("systemd: sockets that are handed over, two generations", "systemd-socket-activate", activated),
    ("container: what is copied", None, copied),
    ("container: what is run", None, contained),
]
