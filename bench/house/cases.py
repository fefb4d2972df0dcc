"""What is measured: cases and servers, in the order of the tables."""

import collections

SERVERS = [
    "floor",
    "sockeye",
    "sockeye-mt",
    "tungstenite",
    "fastwebsockets",
    "tokio-websockets",
    "yawc",
    "sockudo-ws",
]

# How many messages the shorter and the longer run of a count have; a count is their difference, by message.
Echo = collections.namedtuple("Echo", "connections in_flight size text counted")


def echo(connections, in_flight, size, counted, text=False):
    return Echo(connections, in_flight, size, text, counted)


ECHO = {
    "c64-i1-20B": echo(64, 1, 20, (1024, 5120)),
    "c64-i1-20B-text": echo(64, 1, 20, (1024, 5120), text=True),
    "c64-i16-20B": echo(64, 16, 20, (5120, 20480)),
    "c64-i16-20B-text": echo(64, 16, 20, (5120, 20480), text=True),
    "c16-i16-1KiB": echo(16, 16, 1 << 10, (5120, 20480)),
    "c16-i16-1KiB-text": echo(16, 16, 1 << 10, (5120, 20480), text=True),
    "c16-i1-64KiB": echo(16, 1, 64 << 10, (320, 1280)),
    "c4-i1-1MiB": echo(4, 1, 1 << 20, (40, 160)),
}
HANDSHAKES = "handshakes"
IDLE = "idle"
ALL = [*ECHO, HANDSHAKES, IDLE]


def echo_arguments(case):
    arguments = ["--connections", case.connections, "--in-flight", case.in_flight, "--size", case.size]
    return [*map(str, arguments), *(["--text"] if case.text else [])]

# The figure to quote of each kind of case, and its unit.
FIGURES = {HANDSHAKES: ("cpu_ns_per_handshake", "ns"), IDLE: ("bytes_per_connection", "B")}
FIGURES.update({name: ("cpu_ns_per_message", "ns") for name in ECHO})

# sockeye is to be no higher than this, as a ratio to the floor; and in no case is a peer to be lower.
AIMS = {
    "c64-i1-20B": 1.05,
    "c64-i1-20B-text": 1.05,
    "c64-i16-20B": 1.10,
    "c64-i16-20B-text": 1.10,
    "c16-i16-1KiB": 1.10,
    "c16-i16-1KiB-text": 1.10,
}
AIM_IDLE_BYTES = 1280
OURS = ("floor", "sockeye", "sockeye-mt")
