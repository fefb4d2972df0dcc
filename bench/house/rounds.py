"""Runs the cases. Servers are interleaved: in each round each server runs once, the next round begins with the next server."""

import sys
import tempfile
import pathlib
import shutil

from . import build, cases

# Memory differs by less than a percent from run to run.
IDLE_ROUNDS = 3


def run(house, chosen, servers, options):
    """By case and server a list of what each round gave, in the order of the rounds; counts come by `count_all`."""
    results = {
        case: {server: {"rounds": [], "counts": {}} for server in cases.servers_of(case, servers)} for case in chosen
    }
    for number in range(options.rounds):
        turned = servers[number % len(servers) :] + servers[: number % len(servers)]
        for case in chosen:
            if case == cases.IDLE and number >= IDLE_ROUNDS:
                continue
            print(f"round {number + 1} of {options.rounds}: {case}", file=sys.stderr)
            for server in cases.servers_of(case, turned):
                results[case][server]["rounds"].append(measure(house, case, server, options.seconds))
            check_wire(case, results[case])
    return results


def check_wire(case, by_server):
    """Fails if the last round of a case with compression compares servers that compress more or less than one another."""
    if case not in cases.DEFLATE:
        return
    wrong = cases.check_wire(case, {name: of["rounds"][-1]["wire_bytes_per_message"] for name, of in by_server.items()})
    if wrong:
        raise build.Failed(wrong)


def count_all(house, chosen, servers, results):
    for case in [case for case in chosen if case in cases.ECHO]:
        print(f"counting: {case}", file=sys.stderr)
        for server in cases.servers_of(case, servers):
            results[case][server]["counts"] = count(house, case, server)


def measure(house, case, name, seconds):
    with house.server(name, cases.server_arguments(case)) as (process, port):
        common = ["--pid", str(process.pid)]
        if case == cases.IDLE:
            return house.load("idle", port, common)
        common += ["--seconds", str(seconds)]
        if case == cases.HANDSHAKES:
            return house.load("handshakes", port, common)
        return house.load("echo", port, [*cases.echo_arguments(cases.ECHO[case]), *common])


def count(house, case, name):
    """What can be counted, by message: the difference of two runs, so that start and end do not count."""
    found = {}
    for what, of in [("syscalls", syscalls), ("allocations", allocations), ("instructions", instructions)]:
        if what == "allocations" and not house.counting:
            continue
        shorter, longer = cases.ECHO[case].counted
        try:
            counts = [of(house, case, name, messages) for messages in (shorter, longer)]
        except (build.Failed, OSError, ValueError, IndexError) as error:
            # A count that failed is a gap in the table; half an hour of rounds is not lost for it.
            print(f"no {what} of {name}: {error}", file=sys.stderr)
            counts = [None]
        found[f"{what}_per_message"] = None if None in counts else (counts[1] - counts[0]) / (longer - shorter)
    return found


def counted_run(house, case, name, messages, timeout=build.LONGEST, **how):
    with house.server(name, cases.server_arguments(case), **how) as (process, port):
        house.load("echo", port, [*cases.echo_arguments(cases.ECHO[case]), "--messages", str(messages)], timeout)
        return build.end(process)


def syscalls(house, case, name, messages):
    """By the kernel's own counter (`perf stat`), which slows nothing; None where there is no perf, or where it may not."""
    if not shutil.which("perf"):
        return None
    with tempfile.TemporaryDirectory() as directory:
        file = pathlib.Path(directory) / "perf"
        wrapper = ["perf", "stat", "-x,", "-e", "raw_syscalls:sys_enter", "-o", str(file), "--"]
        counted_run(house, case, name, messages, wrapper=wrapper)
        lines = [line.split(",") for line in file.read_text().splitlines() if "raw_syscalls" in line]
        return int(lines[0][0]) if lines and lines[0][0].isdigit() else None


def allocations(house, case, name, messages):
    """By a counting allocator, in servers built for it."""
    output = counted_run(house, case, name, messages, binaries=house.counting)
    return int(output.split()[-1])


def instructions(house, case, name, messages):
    """By valgrind's callgrind: the server's own, not the kernel's."""
    if not shutil.which("valgrind"):
        return None
    with tempfile.TemporaryDirectory() as directory:
        file = pathlib.Path(directory) / "callgrind"
        wrapper = ["valgrind", "--tool=callgrind", "-q", f"--callgrind-out-file={file}"]
        counted_run(house, case, name, messages, build.LONGEST_UNDER_VALGRIND, wrapper=wrapper)
        totals = [line for line in file.read_text().splitlines() if line.startswith(("totals:", "summary:"))]
        return int(totals[-1].split()[1]) if totals else None
