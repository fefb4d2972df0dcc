"""python3 -m unittest discover -s bench -t bench"""

import unittest

from . import build, cases, report, rounds


def results(**figures):
    return {
        name: {"rounds": [{"cpu_ns_per_message": value} for value in values], "counts": {}}
        for name, values in figures.items()
    }


class Ratios(unittest.TestCase):
    def test_are_taken_within_a_round(self):
        # The second round is ten times slower for all: the ratio of the medians would be 1.1, the highest ratio 11.
        case = report.one_case("c64-i1-20B", results(floor=[10, 100, 10], sockeye=[11, 120, 13], yawc=[22, 120, 10]))
        self.assertEqual(case["sockeye"]["ratio_to_floor"], {"median": 1.2, "min": 1.1, "max": 1.3})
        self.assertEqual(case["yawc"]["sockeye_ratio_to_this"], {"median": 1.0, "min": 0.5, "max": 1.3})
        self.assertEqual(case["floor"]["ratio_to_floor"], {"median": 1.0, "min": 1.0, "max": 1.0})

    def test_need_the_same_rounds(self):
        with self.assertRaises(ValueError):
            report.one_case("c64-i1-20B", results(floor=[10, 10], sockeye=[11]))


class Wire(unittest.TestCase):
    CASE = "c16-i16-1KiB-deflate6"

    def results(self, **lengths):
        return {name: {"rounds": [{"wire_bytes_per_message": length}]} for name, length in lengths.items()}

    def test_equal_lengths_may_be_compared(self):
        rounds.check_wire(self.CASE, self.results(sockeye=100, yawc=102))
        rounds.check_wire("c64-i1-20B", {"sockeye": {"rounds": [{}]}})

    def test_other_lengths_may_not(self):
        with self.assertRaisesRegex(build.Failed, "yawc sends 103.0 B a message and sockeye 100.0 B"):
            rounds.check_wire(self.CASE, self.results(floor=101, sockeye=100, yawc=103))

    def test_only_what_can_compress_takes_part(self):
        self.assertEqual(cases.servers_of(self.CASE, ["yawc", "tungstenite", "sockeye"]), ["yawc", "sockeye"])
        self.assertEqual(cases.servers_of("idle", ["yawc", "tungstenite"]), ["yawc", "tungstenite"])

    def test_a_server_that_takes_no_part_is_a_gap_in_the_tables(self):
        figures = {"wire_bytes_per_message": 300.0, "cpu_ns_per_message": 9.0}
        by_server = {name: {"rounds": [figures], "counts": {}} for name in ("floor", "sockeye", "yawc")}
        text = report.wire_table({self.CASE: {"servers": report.one_case(self.CASE, by_server)}})
        self.assertIn("| yawc | 300.0 |", text)
        self.assertIn("| sockudo-ws | – |", text)


class Watched(unittest.TestCase):
    def test_is_compared_with_the_same_server_unwatched(self):
        figures = results(floor=[10, 10], sockeye=[11, 20], **{"sockeye-metrics": [22, 30]})
        text = report.watched_table({"c64-i1-20B": {"servers": report.one_case("c64-i1-20B", figures)}})
        self.assertIn("| sockeye-metrics | 1.75 (1.50–2.00) |", text)
        self.assertIn("| sockeye-tracing | – |", text)

    def test_takes_part_where_it_is_to_be_seen(self):
        self.assertEqual(cases.servers_of("c4-i1-1MiB", cases.WATCHED), [])
        self.assertEqual(cases.servers_of("c64-i1-20B", cases.WATCHED), cases.WATCHED)


if __name__ == "__main__":
    unittest.main()
