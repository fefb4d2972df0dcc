"""Installs the Autobahn Testsuite 25.10.1 into a virtual environment below /build.

PyPI's package is Python 2 code that pip installs and that dies at import: port_py3.py makes it run.
"""

import importlib.util
import subprocess
import sys
import tarfile
from pathlib import Path

from lib import install
from lib.process import Failure

HERE = Path(__file__).resolve().parent
REQUIREMENTS, SOURCES, PORT = HERE / "requirements.txt", HERE / "sources.txt", HERE / "port_py3.py"


def wstest():
    """The command that runs wstest, which is installed if need be."""
    inputs = [Path(__file__), REQUIREMENTS, SOURCES, PORT]
    return [install.once("autobahn-venv", inputs, make) / "bin" / "python", "-u", "-m", "autobahntestsuite.wstest"]


def make(directory):
    """A virtual environment with the ported suite in it."""
    if not importlib.util.find_spec("lib2to3"):  # Debian keeps it in a package of its own
        if sys.version_info >= (3, 13):
            raise install.Unavailable("the Autobahn Testsuite's port needs lib2to3, so Python 3.11 or 3.12")
        install.apt("python3-lib2to3")
    install.venv(directory)
    install.pip(directory, "install", "--no-deps", "--requirement", REQUIREMENTS)
    archives = directory / "sources"
    # Built with the environment's own, pinned setuptools.
    source = ["--no-deps", "--no-binary", ":all:", "--no-build-isolation", "--require-hashes"]
    install.pip(directory, "download", *source, "--dest", archives, "--requirement", SOURCES)
    install.pip(directory, "install", "--no-deps", "--no-build-isolation", archives / "autobahn-0.10.9.tar.gz")

    with tarfile.open(archives / "autobahntestsuite-25.10.1.tar.gz") as archive:
        archive.extractall(archives)
    python = directory / "bin" / "python"
    site_packages = next((directory / "lib").glob("python3.*")) / "site-packages"
    for command in ([python, PORT, archives / "autobahntestsuite-25.10.1", site_packages],
                    [python, "-m", "autobahntestsuite.wstest", "--autobahnversion"]):
        result = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        if result.returncode != 0:  # a fault of ours, not of the network: never a reason to skip
            raise Failure(f"the port of the Autobahn Testsuite failed:\n{result.stdout}{result.stderr}")
