"""Processes that always end: bounded runs, servers that say when they are ready, no orphans.

Linux only: orphans are adopted (prctl) and found through /proc.
"""

import atexit
import ctypes
import os
import queue
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

PR_SET_CHILD_SUBREAPER = 36


class Failure(Exception):
    """Something that had to work did not; the message says what."""


def guard():
    """Call once, first: whatever this process starts, directly or not, is dead when this process ends."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _frame: sys.exit(128 + number))
    atexit.register(kill_descendants)


def descendants():
    """The living processes below this one, as {pid: name}."""
    children, names = {}, {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            # "pid (name) state ppid ...", where the name may hold anything, ")" included
            head, _, tail = (entry / "stat").read_text(errors="replace").rpartition(")")
        except OSError:
            continue  # it ended meanwhile
        state, parent = tail.split()[:2]
        if state not in ("Z", "X"):
            names[int(entry.name)] = head.partition("(")[2]
        children.setdefault(int(parent), []).append(int(entry.name))
    below, todo = {}, [os.getpid()]
    while todo:
        for pid in children.get(todo.pop(), []):
            todo.append(pid)
            if pid in names:
                below[pid] = names[pid]
    return below


def kill_descendants():
    """Kills and reaps everything below this process; returns the names of what was found alive."""
    found = []
    while True:
        alive = descendants()
        found += alive.values()
        for pid in alive:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        try:
            while True:  # each death may hand us orphans: look again after each
                os.waitpid(-1, 0)
                if descendants():
                    break
        except ChildProcessError:
            return found


def end_group(process, first=signal.SIGTERM, grace=5):
    """Asks a process, the leader of its own group, to end; after `grace` seconds kills the whole group."""
    try:
        process.send_signal(first)
        process.wait(grace)
    except subprocess.TimeoutExpired:
        pass
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        pass
    process.wait()


def run(command, seconds, log=None, **options):
    """Runs a command for at most `seconds`, its output going to the file `log`. Raises Failure unless it exits 0."""
    with open(log or os.devnull, "ab") as out:
        process = subprocess.Popen(
            [str(word) for word in command], stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT,
            start_new_session=True, **options)
        try:
            status = process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise Failure(f"{command[0]} was still running after {seconds} s{tail(log)}") from None
        finally:
            end_group(process)
    if status != 0:
        raise Failure(f"`{' '.join(map(str, command))}` {ended(status)}{tail(log)}")


def ended(status):
    """An exit status in words."""
    return f"was ended by signal {-status}" if status < 0 else f"exited with status {status}"


def tail(log, lines=30):
    """The end of a log file, indented, on lines of its own; nothing if there is none."""
    if not log or not Path(log).exists():
        return ""
    last = Path(log).read_text(errors="replace").splitlines()[-lines:]
    return "".join(f"\n    | {line}" for line in last) + f"\n    (all of it: {log})"


class Program:
    """A running program whose output lines can be waited for; a context manager that ends it.

    Its output goes to `log` as well. `stop` is the signal that asks it to end.
    """

    def __init__(self, command, log, stop=signal.SIGTERM, stdin=subprocess.DEVNULL, **options):
        self.command = [str(word) for word in command]
        self.log = Path(log)
        self.stop_signal = stop
        self.lines = queue.SimpleQueue()
        self.process = subprocess.Popen(
            self.command, stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            start_new_session=True, **options)
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        with self.log.open("wb") as log:
            for line in self.process.stdout:
                log.write(line)
                log.flush()
                self.lines.put(line.decode(errors="replace").rstrip("\r\n"))
        self.lines.put(None)  # end of output

    def expect(self, pattern, seconds):
        """Waits for a line of output in which `pattern` is found; returns the match."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                line = self.lines.get(timeout=max(0, deadline - time.monotonic()))
            except queue.Empty:
                raise Failure(f"{self.command[0]} did not print /{pattern}/ within {seconds} s{tail(self.log)}") from None
            if line is None:
                raise Failure(f"{self.command[0]} ended without printing /{pattern}/{tail(self.log)}")
            match = re.search(pattern, line)
            if match:
                return match

    def wait(self, seconds):
        """Waits for its end; returns its exit status."""
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise Failure(f"{self.command[0]} was still running after {seconds} s{tail(self.log)}") from None

    def succeed(self, seconds):
        """Waits for its end; it has to exit 0."""
        status = self.wait(seconds)
        if status != 0:
            raise Failure(f"{self.command[0]} {ended(status)}{tail(self.log)}")

    def stop(self, seconds=10):
        """Asks it to end, which it must not have done by itself; it has to exit 0."""
        status = self.process.poll()
        if status is not None:
            raise Failure(f"{self.command[0]} {ended(status)} before it was asked to end{tail(self.log)}")
        self.process.send_signal(self.stop_signal)
        self.succeed(seconds)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        end_group(self.process, self.stop_signal)
        self.reader.join(5)
