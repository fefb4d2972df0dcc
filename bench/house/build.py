"""Builds the servers and the loader, starts and ends them."""

import contextlib
import fcntl
import json
import os
import pathlib
import select
import subprocess
import sys

from . import cases

BENCH = pathlib.Path(__file__).resolve().parent.parent
# Nothing runs longer than this; under valgrind, everything is some fifty times slower.
LONGEST = 60
LONGEST_UNDER_VALGRIND = 300


class Failed(Exception):
    pass


def cores():
    """The core of the servers, that of the loader, and those of a server with two threads."""
    usable = sorted(os.sched_getaffinity(0))
    server, loader = usable[0], usable[-1]
    # With two cores only, the second worker has to share the loader's.
    return {server}, loader, set(usable[:-1][:2]) if len(usable) > 2 else set(usable)


@contextlib.contextmanager
def alone():
    """One run at a time: two would share a core, and the later build would replace the servers of the earlier run."""
    (BENCH / "target").mkdir(exist_ok=True)
    with open(BENCH / "target" / "run.lock", "w", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("waiting for another bench/run to end", file=sys.stderr)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


class House:
    def __init__(self, servers, allocations):
        self.binaries = self._build(BENCH / "target", [*servers, "loader", "chart"])
        self.counting = None
        if allocations:
            self.counting = self._build(BENCH / "target" / "count-allocations", servers, "count-allocations")
        self.server_cores, self.loader_core, self.two_cores = cores()

    def _build(self, target, binaries, *features):
        """Builds binaries, those with features of their own apart; gives where each is."""
        groups = {}
        for name in binaries:
            groups.setdefault((*features, *cases.FEATURES.get(name, [])), []).append(name)
        places = {}
        for wanted, names in groups.items():
            apart = target.joinpath(*wanted[len(features) :])
            flags = [word for name in names for word in ("--bin", name)]
            command = ["cargo", "build", "--release", "--target-dir", str(apart), *flags, "--features", ",".join(wanted)]
            if subprocess.run(command, cwd=BENCH, check=False).returncode != 0:
                raise Failed(f"{' '.join(command)} failed")
            places.update({name: apart / "release" / name for name in names})
        return places

    @contextlib.contextmanager
    def server(self, name, arguments=(), wrapper=(), binaries=None):
        """Starts a server; gives its process and its port. Leaving ends it; `end` within does so earlier, and gives its output."""
        on = self.two_cores if name == "sockeye-mt" else self.server_cores
        process = subprocess.Popen(
            [*wrapper, str((binaries or self.binaries)[name]), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            preexec_fn=lambda: os.sched_setaffinity(0, on),
        )
        try:
            ready, _, _ = select.select([process.stdout], [], [], LONGEST)
            line = process.stdout.readline() if ready else ""
            if not line.strip().isdigit():
                raise Failed(f"{name} did not start: {line!r}")
            yield process, int(line)
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()
            process.stdin.close()
            process.stdout.close()

    def load(self, command, port, arguments, timeout=LONGEST):
        """Runs the loader; gives what it found."""
        call = [self.binaries["loader"], command, str(port), "--core", str(self.loader_core), *arguments]
        try:
            done = subprocess.run(call, capture_output=True, text=True, timeout=timeout, check=False)
        except subprocess.TimeoutExpired as error:
            raise Failed(f"{' '.join(map(str, call))} took longer than {timeout} s") from error
        if done.returncode != 0:
            raise Failed(f"{' '.join(map(str, call))}: {done.stderr.strip()}")
        return json.loads(done.stdout)


def end(process):
    """Ends a server by ending its standard input; gives the rest of its output."""
    try:
        output, _ = process.communicate(timeout=LONGEST)
    except subprocess.TimeoutExpired as error:
        raise Failed(f"{process.args} does not end") from error
    return output
