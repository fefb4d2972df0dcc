"""What a suite reports: its cases by verdict, and what belongs into the summary of a full run."""

import re
import sys

OK, FAILED, NOT_RUN = 0, 1, 77  # the exit statuses of a suite

LAST_LINE = re.compile(r"^(\d+) passed, (\d+) failed, (\d+) skipped$")
SUMMARY = "summary: "  # a line that starts so is repeated in results/summary.md


class Tally:
    """Cases by verdict. `skipped` is only ever what could not be installed."""

    def __init__(self, passed=0, failed=0, skipped=0):
        self.passed, self.failed, self.skipped = passed, failed, skipped

    @classmethod
    def parse(cls, line):
        """The tally in a suite's last line, or None if that is no such line."""
        match = LAST_LINE.match(line.strip())
        return cls(*map(int, match.groups())) if match else None

    def __add__(self, other):
        return Tally(self.passed + other.passed, self.failed + other.failed, self.skipped + other.skipped)

    def __str__(self):
        return f"{self.passed} passed, {self.failed} failed, {self.skipped} skipped"

    def fail(self, why, cases=1):
        """Counts a failure and says why."""
        self.failed += cases
        say(f"FAILED {why}")

    def skip(self, why, cases=1):
        """Counts cases that could not be run for want of something that could not be installed."""
        self.skipped += cases
        say(f"skipped: {why}")

    def status(self):
        """The exit status: 0 only if something ran and all of it passed."""
        if self.failed or not (self.passed or self.skipped):
            return FAILED
        return NOT_RUN if self.skipped else OK

    def finish(self):
        """Prints the last line and ends the suite."""
        say(self)
        sys.exit(self.status())


def say(text):
    """Prints a line at once: whoever watches a suite wants to see it live."""
    print(text, flush=True)


def summary(text):
    """Prints a line that is repeated in the summary of a full run."""
    say(SUMMARY + text)
