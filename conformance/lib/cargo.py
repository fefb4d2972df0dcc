"""The programs under test."""

import json
import subprocess
from pathlib import Path

from .install import BUILD, ROOT
from .process import run
from .tally import say


def target_directory():
    """Where cargo puts what it builds."""
    command = ["cargo", "metadata", "--no-deps", "--format-version", "1"]
    output = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, timeout=120, check=True).stdout
    return Path(json.loads(output)["target_directory"])


def build(*arguments):
    """Builds in release mode. An error here is a failure, never a reason to skip."""
    BUILD.mkdir(parents=True, exist_ok=True)
    log = BUILD / "cargo.log"
    log.unlink(missing_ok=True)
    say(f"cargo build --release {' '.join(arguments)}")
    run(["cargo", "build", "--release", *arguments], 900, log=log, cwd=ROOT)


def program():
    """The program `sockeye`, built as a user builds it."""
    build("--package", "sockeye-cli")
    return target_directory() / "release" / "sockeye"


def example(name):
    """A driver under conformance/ that is an example of the library."""
    build("--package", "sockeye", "--example", name)
    return target_directory() / "release" / "examples" / name
