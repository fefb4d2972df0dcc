"""What the suites need from Debian, PyPI, npm and crates.io. Everything that can goes to /build, which git ignores.

`Unavailable` means that it could not be had here: the one reason for which a suite may be skipped.
"""

import fcntl
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
from contextlib import contextmanager, suppress
from pathlib import Path

from .process import Failure, run
from .tally import say

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / "build" / "conformance"


class Unavailable(Exception):
    """Something could not be installed; the message says what and why."""


def fetch(command, seconds, **options):
    """Runs a package manager. What it cannot get is Unavailable."""
    BUILD.mkdir(parents=True, exist_ok=True)
    log = BUILD / "install.log"
    log.unlink(missing_ok=True)
    try:
        run(command, seconds, log=log, **options)
    except (Failure, OSError) as error:
        raise Unavailable(str(error)) from None


@contextmanager
def lock():
    """One installation at a time, whoever else runs a suite in this checkout."""
    BUILD.mkdir(parents=True, exist_ok=True)
    with (BUILD / ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def once(name, inputs, make):
    """The directory build/conformance/NAME as `make(directory)` leaves it; made anew when one of `inputs` changes."""
    with lock():
        directory, stamp = BUILD / name, BUILD / f"{name}.stamp"
        digest = hashlib.sha256()
        for text in [sys.version, str(directory), *(Path(path).read_text() for path in inputs)]:
            digest.update(text.encode() + b"\0")
        if directory.is_dir() and stamp.exists() and stamp.read_text() == digest.hexdigest():
            return directory
        stamp.unlink(missing_ok=True)
        shutil.rmtree(directory, ignore_errors=True)
        say(f"installing {name}")
        make(directory)
        stamp.write_text(digest.hexdigest())
        return directory


def tool(crate, version):
    """A program from crates.io, built without optimisation: that takes half the time, and what it does is little."""
    environment = {**os.environ, "CARGO_PROFILE_DEV_DEBUG": "0"}
    environment.pop("CARGO_TARGET_DIR", None)  # where it is built is of no use afterwards
    environment.pop("RUSTUP_TOOLCHAIN", None)

    def make(directory):
        fetch(["cargo", "install", "--locked", "--debug", "--root", directory, f"{crate}@{version}"], 400, env=environment)

    return once(f"{crate}-{version}", [], make) / "bin" / crate


def toolchain(name):
    """Makes sure that rustup has this toolchain."""
    with suppress(OSError, subprocess.SubprocessError):
        subprocess.run(["rustup", "which", "--toolchain", name, "rustc"], capture_output=True, timeout=60, check=True)
        return
    fetch(["rustup", "toolchain", "install", name, "--profile", "minimal", "--no-self-update"], 180)


def apt(*packages):
    """Installs Debian packages; does nothing where they are there already."""
    query = ["dpkg-query", "-W", "-f", "${db:Status-Status}\n", *packages]
    try:
        known = subprocess.run(query, capture_output=True, text=True, timeout=60, check=False)
    except FileNotFoundError:
        raise Unavailable(f"needed from Debian, and this is no Debian: {', '.join(packages)}") from None
    if known.returncode == 0 and set(known.stdout.split()) == {"installed"}:
        return
    if os.geteuid() != 0:
        raise Unavailable(f"run as root, or install these Debian packages yourself: {' '.join(packages)}")
    options = ["-q", "-y", "-o", "Acquire::Retries=3", "-o", "DPkg::Lock::Timeout=120"]
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    say(f"apt-get install {' '.join(packages)}")
    fetch(["apt-get", *options, "update"], 180, env=environment)
    with no_daemons():
        fetch(["apt-get", *options, "install", "--no-install-recommends", *packages], 300, env=environment)


@contextmanager
def no_daemons():
    """What is installed is not started behind our backs (Debian policy section 9.3.3: invoke-rc.d asks policy-rc.d)."""
    policy = Path("/usr/sbin/policy-rc.d")
    if policy.exists():
        yield
        return
    policy.write_text("#!/bin/sh\nexit 101\n")
    policy.chmod(0o755)
    try:
        yield
    finally:
        policy.unlink()


def command(name, *packages):
    """Makes sure that there is a command of this name, from these Debian packages if need be."""
    if not shutil.which(name):
        apt(*packages)
    if not shutil.which(name):
        raise Unavailable(f"no command `{name}`, even with {' '.join(packages)}")


def venv(directory):
    """Makes an empty virtual environment."""
    if not importlib.util.find_spec("ensurepip"):  # Debian keeps it in a package of its own
        apt("python3-venv")
    fetch([sys.executable, "-m", "venv", directory], 120)


def pip(directory, *arguments):
    """Runs a virtual environment's pip."""
    quiet = ["--quiet", "--disable-pip-version-check", "--no-input", "--retries", "5"]
    fetch([directory / "bin" / "python", "-m", "pip", *quiet, *arguments], 300)


def npm(directory, manifest):
    """Installs what the package-lock.json beside `manifest` pins; the modules are then in DIRECTORY/node_modules."""
    command("node", "nodejs")
    command("npm", "npm")
    directory.mkdir(parents=True)
    shutil.copy(manifest, directory)
    shutil.copy(manifest.with_name("package-lock.json"), directory)
    fetch(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"], 300, cwd=directory)
