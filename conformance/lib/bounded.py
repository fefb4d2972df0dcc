#!/usr/bin/env python3
"""usage: bounded.py SECONDS LOG COMMAND [ARG]...

Runs a command without input, its output going to the file LOG, for at most SECONDS. Nothing it started outlives it.
What had to be killed is said on stderr. Exits with its status, or 124 if the time was up.
"""

import ctypes
import signal
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from lib import process

PR_SET_PDEATHSIG = 1


def main():
    seconds, log, command = float(sys.argv[1]), sys.argv[2], sys.argv[3:]
    process.guard()
    # Even if the shell that called us is killed outright.
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    with open(log, "wb") as out:
        child = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, start_new_session=True)
        try:
            status = child.wait(seconds)
        except subprocess.TimeoutExpired:
            print(f"still running after {seconds:.0f} s, killed: {' '.join(command)}", file=sys.stderr)
            process.end_group(child)
            status = 124
    left = process.kill_descendants()
    if left:
        print(f"it had left processes behind, which were killed: {', '.join(left)}", file=sys.stderr)
    return 128 - status if status < 0 else status


if __name__ == "__main__":
    sys.exit(main())
