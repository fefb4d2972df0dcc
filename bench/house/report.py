"""Turns what the rounds gave into results/*.json, *.md and *.svg. The shape of the JSON is stable; see README.md."""

import datetime
import json
import os
import platform
import re
import statistics
import subprocess

from . import build, cases

SCHEMA = 1
CRATES = ["tokio", "tungstenite", "tokio-tungstenite", "fastwebsockets", "tokio-websockets", "yawc", "sockudo-ws", "zlib-rs"]


def spread(values):
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def ratios(numerators, denominators):
    """Round by round, never across rounds."""
    if len(numerators) != len(denominators):
        raise ValueError("not the same rounds")
    return spread([a / b for a, b in zip(numerators, denominators)])


def flat(found, prefix=""):
    """{"latency_us": {"p50": 1}} -> {"latency_us.p50": 1}"""
    for key, value in found.items():
        if isinstance(value, dict):
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def one_case(case, by_server):
    figure, _ = cases.FIGURES[case]
    figures = {name: [found[figure] for found in result["rounds"]] for name, result in by_server.items()}
    out = {}
    for name, result in by_server.items():
        rounds = [dict(flat(found)) for found in result["rounds"]]
        out[name] = {key: spread([found[key] for found in rounds]) for key in rounds[0]}
        out[name][figure]["samples"] = figures[name]
        out[name]["ratio_to_floor"] = ratios(figures[name], figures["floor"])
        if "sockeye" in figures and name != "sockeye":
            out[name]["sockeye_ratio_to_this"] = ratios(figures["sockeye"], figures[name])
            if name in cases.WATCHED:
                out[name]["ratio_to_sockeye"] = ratios(figures[name], figures["sockeye"])
        out[name].update(result["counts"])
    return out


def document(results, chosen, servers, options):
    return {
        "schema": SCHEMA,
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "rounds": options.rounds,
        "seconds": options.seconds,
        "machine": machine(),
        "versions": versions(),
        "servers": servers,
        "cases": {case: {"figure": cases.FIGURES[case][0], "servers": one_case(case, results[case])} for case in chosen},
    }


def output(*command):
    try:
        return subprocess.run(command, cwd=build.BENCH, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def machine():
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        names = re.findall(r"^model name\s*: (.*)$", file.read(), re.MULTILINE)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "cpu": names[0] if names else platform.machine(),
        "cores": os.cpu_count(),
        "memory_gib": round(memory / 2**30, 1),
        "kernel": platform.release(),
        "congestion_control": os.environ.get("BENCH_CONGESTION_CONTROL") or congestion_control(),
        "load_average_5_min": round(os.getloadavg()[1], 2),
    }


def congestion_control():
    with open("/proc/sys/net/ipv4/tcp_congestion_control", encoding="utf-8") as file:
        return file.read().strip()


def versions():
    lock = (build.BENCH / "Cargo.lock").read_text(encoding="utf-8")
    found = dict(re.findall(r'name = "([^"]+)"\nversion = "([^"]+)"', lock))
    commit = output("git", "describe", "--always", "--dirty")
    return {"rustc": output("rustc", "--version"), "sockeye": commit, **{name: found.get(name) for name in CRATES}}


def number(value):
    if value is None:
        return "–"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.2f}" if abs(value) >= 0.005 else "0"


def with_spread(of):
    return f"{number(of['median'])} ({number(of['min'])}–{number(of['max'])})"


def table(head, rows):
    lines = ["| " + " | ".join(head) + " |", "|---" + "|---:" * (len(head) - 1) + "|"]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows]) + "\n"


def markdown(document):
    found = document["cases"]
    parts = [heading(document), aims(document)]
    # Beside a floor of some 90 bytes a ratio says nothing: memory has its own table.
    timed = {name: case for name, case in found.items() if name != cases.IDLE}
    rows = [
        [name, *(of_server(case, name, lambda of: with_spread(of["ratio_to_floor"])) for case in timed.values())]
        for name in document["servers"]
        if name not in cases.WATCHED
    ]
    if timed:
        parts.append(
            "## Ratios to the floor\n\nMedian (lowest–highest) of the ratios within each round, of server CPU time by message or handshake.\n\n"
            + table(["", *timed], rows)
        )
    if "sockeye" in document["servers"]:
        peers = [name for name in document["servers"] if name not in cases.OURS]
        rows = [[name, *(of_server(case, name, against) for case in found.values())] for name in peers]
        parts.append("## sockeye as a ratio to each peer\n\nLosses in bold.\n\n" + table(["", *found], rows))
        watched = {name: case for name, case in found.items() if name in cases.WATCHED_CASES}
        if watched and any(name in cases.WATCHED for name in document["servers"]):
            parts.append(watched_table(watched))
    compressed = {name: case for name, case in found.items() if name in cases.DEFLATE}
    if compressed:
        parts.append(wire_table(compressed))
    parts += [case_table(name, case) for name, case in found.items()]
    return "\n".join(parts)


def of_server(case, name, text):
    """What `text` makes of a server's figures, if it takes part in the case."""
    return text(case["servers"][name]) if name in case["servers"] else "–"


def watched_table(found):
    rows = [
        [name, *(of_server(case, name, lambda of: with_spread(of["ratio_to_sockeye"])) for case in found.values())]
        for name in cases.WATCHED
    ]
    counted = [(name, case) for name, case in found.items() if "instructions_per_message" in case["servers"]["sockeye"]]
    for name in ["sockeye", *cases.WATCHED] if counted else []:
        of_case = {case: of_server(of, name, lambda of: number(of["instructions_per_message"])) for case, of in counted}
        rows.append([f"{name}, instructions/message", *(of_case.get(case, "–") for case in found)])
    return (
        "## What it costs to be watched\n\nRatios to `sockeye` within each round, of the figure of the case (memory in `idle`): with metrics on, and with metrics and a subscriber "
        "that keeps the spans and writes nothing.\n\n" + table(["", *found], rows)
    )


def wire_table(found):
    rows = [
        [name, *(of_server(case, name, lambda of: f"{of['wire_bytes_per_message']['median']:,.1f}") for case in found.values())]
        for name in cases.DEFLATE_SERVERS
    ]
    return (
        "## Compressed replies on the wire\n\nBytes a message, headers included, without context takeover, window of 15 bits. "
        f"A difference of more than {cases.WIRE_TOLERANCE - 1:.0%} ends a run.\n\n" + table(["", *found], rows)
    )


def against(server):
    ratio = server["sockeye_ratio_to_this"]
    text = with_spread(ratio)
    return f"**{text}**" if ratio["median"] > 1 else text


def heading(document):
    machine, versions = document["machine"], document["versions"]
    crates = ", ".join(f"{name} {version}" for name, version in versions.items() if name not in ("rustc", "sockeye"))
    return (
        f"# Echo servers, {document['date'][:10]}\n\n"
        f"{document['rounds']} interleaved rounds of {document['seconds']} s by server and case; {machine['cpu']}, {machine['cores']} cores, "
        f"{machine['memory_gib']} GiB, Linux {machine['kernel']}, TCP with {machine['congestion_control']}, load average {machine['load_average_5_min']} (the run itself makes up to 2); "
        f"{versions['rustc']}; sockeye {versions['sockeye']}; {crates}.\n"
    )


def aims(document):
    """Each aim, and whether it is met."""
    lines = []
    for case, of in document["cases"].items():
        servers = of["servers"]
        if "sockeye" not in servers:
            continue
        misses = []
        ratio = servers["sockeye"]["ratio_to_floor"]["median"]
        if ratio > cases.AIMS.get(case, ratio):
            misses.append(f"{ratio:.2f} of the floor, not {cases.AIMS[case]:.2f}")
        size = servers["sockeye"][of["figure"]]["median"]
        if case == cases.IDLE and size > cases.AIM_IDLE_BYTES:
            misses.append(f"{size:,.0f} B, not {cases.AIM_IDLE_BYTES:,}")
        for name, server in servers.items():
            if name in cases.OURS:
                continue
            ratio, aim = server["sockeye_ratio_to_this"], cases.AIM_PEERS[case]
            if ratio["median"] > max(aim, 1):
                misses.append(f"{name} is lower: {with_spread(ratio)}")
            elif ratio["median"] > aim:
                misses.append(f"{with_spread(ratio)} of {name}, not {aim:.2f}")
        allocations = servers["sockeye"].get("allocations_per_message")
        if case in cases.ECHO and case not in cases.DEFLATE and cases.ECHO[case].size <= 16 << 10 and allocations and allocations >= 0.005:
            misses.append(f"{allocations:.2f} allocations by message, not 0")
        lines.append(f"- {case}: " + ("met" if not misses else "missed: " + "; ".join(misses)))
    return "## The aims\n\n" + "\n".join(lines) + "\n" if lines else ""


def case_table(name, case):
    servers = case["servers"]
    figure, unit = cases.FIGURES[name]
    columns = [(f"{figure.replace('_', ' ')} ({unit})", lambda of: with_spread(of[figure]))]
    columns.append(("ratio to the floor", lambda of: with_spread(of["ratio_to_floor"])))
    plain = {
        "messages_per_second": "messages/s",
        "handshakes_per_second": "handshakes/s",
        "bytes_per_connection_after_a_message": "after a message of 1 KiB (B)",
        "latency_us.p50": "p50 (µs)",
        "latency_us.p99": "p99 (µs)",
        "latency_us.p99.9": "p99.9 (µs)",
        "server_busy": "server busy",
        "loader_busy": "loader busy",
    }
    for key, title in plain.items():
        if key in servers["floor"]:
            columns.append((title, lambda of, key=key: number(of[key]["median"])))
    for key in ("syscalls_per_message", "allocations_per_message", "instructions_per_message"):
        if key in servers["floor"]:
            columns.append((key.split("_")[0] + "/message", lambda of, key=key: number(of[key])))
    rows = [[server, *(of_column(of) for _, of_column in columns)] for server, of in servers.items()]
    return f"## {name}\n\n" + table(["", *(title for title, _ in columns)], rows)


def write(house, document, name):
    results = build.BENCH / "results"
    results.mkdir(exist_ok=True)
    (results / f"{name}.json").write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    text = markdown(document)
    (results / f"{name}.md").write_text(text, encoding="utf-8")
    chart = [house.binaries["chart"], results / f"{name}.json", results / f"{name}.svg"]
    subprocess.run(chart, check=True, timeout=build.LONGEST)
    return text
