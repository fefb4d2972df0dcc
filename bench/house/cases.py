"""What is measured: cases and servers, in the order of the tables."""

import collections

SERVERS = [
    "floor",
    "sockeye",
    "sockeye-metrics",
    "sockeye-tracing",
    "sockeye-mt",
    "sockeye-axum",
    "tungstenite",
    "fastwebsockets",
    "tokio-websockets",
    "yawc",
    "sockudo-ws",
]

# How many messages the shorter and the longer run of a count have; a count is their difference, by message.
# `level` is that of the compression; None: there is none.
Echo = collections.namedtuple("Echo", "connections in_flight size text level counted")


def echo(connections, in_flight, size, counted, text=False, level=None):
    return Echo(connections, in_flight, size, text, level, counted)


ECHO = {
    "c64-i1-20B": echo(64, 1, 20, (1024, 5120)),
    "c64-i1-20B-text": echo(64, 1, 20, (1024, 5120), text=True),
    "c64-i16-20B": echo(64, 16, 20, (5120, 20480)),
    "c64-i16-20B-text": echo(64, 16, 20, (5120, 20480), text=True),
    "c16-i16-1KiB": echo(16, 16, 1 << 10, (5120, 20480)),
    "c16-i16-1KiB-text": echo(16, 16, 1 << 10, (5120, 20480), text=True),
    "c16-i1-64KiB": echo(16, 1, 64 << 10, (320, 1280)),
    "c4-i1-1MiB": echo(4, 1, 1 << 20, (40, 160)),
    # 1: what compresses fastest; 6: zlib's default, and the peers'.
    "c16-i16-1KiB-deflate1": echo(16, 16, 1 << 10, (1280, 5120), text=True, level=1),
    "c16-i16-1KiB-deflate6": echo(16, 16, 1 << 10, (1280, 5120), text=True, level=6),
    "c16-i1-16KiB-deflate1": echo(16, 1, 16 << 10, (160, 640), text=True, level=1),
    "c16-i1-16KiB-deflate6": echo(16, 1, 16 << 10, (160, 640), text=True, level=6),
}
HANDSHAKES = "handshakes"
IDLE = "idle"
ALL = [*ECHO, HANDSHAKES, IDLE]


# Cases with compression, and the servers that can compress.
DEFLATE = [name for name, case in ECHO.items() if case.level is not None]
DEFLATE_SERVERS = ["floor", "sockeye", "yawc", "sockudo-ws"]
# Costs are compared at equal lengths on the wire: in a round no server may send so much more than another.
WIRE_TOLERANCE = 1.02


# The same server with somebody who watches, against `sockeye`, and where that is measured.
WATCHED = ["sockeye-metrics", "sockeye-tracing"]
WATCHED_CASES = ["c64-i1-20B", "c64-i16-20B", "c16-i16-1KiB", HANDSHAKES, IDLE]
# What is built with features that no other server shall have.
FEATURES = {"sockeye-tracing": ["tracing"]}


def servers_of(case, servers):
    """Those of `servers` that take part in a case."""
    if case in DEFLATE:
        return [name for name in servers if name in DEFLATE_SERVERS]
    return [name for name in servers if name not in WATCHED or case in WATCHED_CASES]


def check_wire(case, lengths):
    """`lengths`: bytes of a reply on the wire, by server. Gives what is wrong, or None."""
    least, most = min(lengths, key=lengths.get), max(lengths, key=lengths.get)
    if lengths[most] <= WIRE_TOLERANCE * lengths[least]:
        return None
    return f"{case}: no comparison, for {most} sends {lengths[most]:.1f} B a message and {least} {lengths[least]:.1f} B"


def echo_arguments(case):
    arguments = ["--connections", case.connections, "--in-flight", case.in_flight, "--size", case.size]
    kind = ["--deflate"] if case.level is not None else ["--text"] if case.text else []
    return [*map(str, arguments), *kind]


def server_arguments(case):
    """What a server is told of a case."""
    if case == IDLE:
        return ["idle"]
    return ["deflate", str(ECHO[case].level)] if case in DEFLATE else []


# The figure to quote of each kind of case, and its unit.
FIGURES = {HANDSHAKES: ("cpu_ns_per_handshake", "ns"), IDLE: ("bytes_per_connection", "B")}
FIGURES.update({name: ("cpu_ns_per_message", "ns") for name in ECHO})

# sockeye is to be no higher than this, as a ratio to each peer.
AIM_PEERS = {name: 0.9 if name in DEFLATE else 1 for name in ALL}
# sockeye is to be no higher than this, as a ratio to the floor.
AIMS = {
    "c64-i1-20B": 1.05,
    "c64-i1-20B-text": 1.05,
    "c64-i16-20B": 1.10,
    "c64-i16-20B-text": 1.10,
    "c16-i16-1KiB": 1.10,
    "c16-i16-1KiB-text": 1.10,
}
AIM_IDLE_BYTES = 1280
OURS = ("floor", "sockeye", *WATCHED, "sockeye-mt", "sockeye-axum")
