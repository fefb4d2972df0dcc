"""python3 -m unittest discover -s bench -t bench"""

import unittest

from . import report


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


if __name__ == "__main__":
    unittest.main()
