#!/usr/bin/env python3
"""usage: port_py3.py SOURCE SITE_PACKAGES

Turns the Autobahn Testsuite 25.10.1, whose release on PyPI is Python 2 code, into a package for Python 3.11 or 3.12
(lib2to3, of the standard library until 3.12, is needed to do so). SOURCE is the unpacked sdist.

The method: lib2to3 for the syntax, then the edits below. The cases go on handling payloads as `str` in which a character
is an octet, which is just what a `str` was in Python 2; the conversion to and from `bytes` (Latin-1) happens in one
place, FuzzingProtocol, where the cases meet the Autobahn library. What a case sends and expects does not change.

Every edit must find its place: one that does not is an error, not a silent difference.
"""

import re
import shutil
import subprocess
import sys
from pathlib import Path

# Modes of wstest other than the fuzzing ones and the testees, and what only they need.
NOT_PORTED = ["broadcast.py", "echo.py", "interfaces.py", "massconnect.py", "rinterfaces.py", "serializer.py",
              "testdb.py", "testrun.py", "wamp*.py", "wsperf*.py"]

PACKAGE_INIT = """\
from ._version import __version__
version = __version__
import warnings
warnings.filterwarnings('ignore', category=DeprecationWarning)
warnings.filterwarnings('ignore', category=UserWarning, message='pkg_resources')
from . import choosereactor  # must be first
import txaio
txaio.use_twisted()
"""

OCTET_STRINGS = '''\
"""A Python 2 `str`: a str whose characters are octets."""
import binascii
def b(s):
    return s.encode("latin-1") if isinstance(s, str) else (bytes(s) if s is not None else s)
def s(x):
    return x.decode("latin-1") if isinstance(x, (bytes, bytearray)) else x
def py2hex(x):
    return binascii.b2a_hex(b(x)).decode("ascii")
'''

LOG_HELPERS = """\
def binLogData(data, maxlen = 64):
   data = py2str.b(data)
   ellipses = " ..."
   if len(data) > maxlen - len(ellipses):
      return py2str.py2hex(data[:maxlen]) + ellipses
   return py2str.py2hex(data)


def asciiLogData(data, maxlen = 64, replace = False):
   data = py2str.b(data)
   ellipses = " ..."
   try:
      if len(data) > maxlen - len(ellipses):
         dd = data[:maxlen] + ellipses.encode('ascii')
      else:
         dd = data
      return dd.decode('utf8', errors = 'replace' if replace else 'strict')
   except UnicodeDecodeError:
      return '0x' + binLogData(data, maxlen)



"""

# Where the cases' octet strings become bytes.
BOUNDARY = """\
   MAX_WIRE_LOG_DATA = 256

   def sendFrame(self, opcode, payload = b'', fin = True, rsv = 0, mask = None, payload_len = None, chopsize = None, sync = False):
      payload = py2str.b(payload)
      if payload_len is not None:
         # autobahn 0.10.9 computes range(payload_len / len(payload)), a TypeError in Python 3: repeat the payload here
         if len(payload) < 1:
            raise Exception("cannot construct repeated payload")
         full = payload * (payload_len // len(payload)) + payload[:payload_len % len(payload)]
         self._txFrameInfo = (payload, payload_len)
         payload, payload_len = full, None
      else:
         self._txFrameInfo = None
      return self._base().sendFrame(self, opcode = opcode, payload = payload, fin = fin, rsv = rsv, mask = py2str.b(mask), payload_len = None, chopsize = chopsize, sync = sync)

   def sendMessage(self, payload, isBinary = False, fragmentSize = None, sync = False, doNotCompress = False):
      return self._base().sendMessage(self, py2str.b(payload), isBinary, fragmentSize, sync, doNotCompress)

   def sendMessageFrameData(self, payload, sync = False):
      return self._base().sendMessageFrameData(self, py2str.b(payload), sync)

   def sendCloseFrame(self, code = None, reasonUtf8 = None, isReply = False):
      if isinstance(reasonUtf8, str):
         # a reply repeats text that was decoded from the peer's Close; everything from a case is octets
         reasonUtf8 = reasonUtf8.encode('utf8') if isReply else py2str.b(reasonUtf8)
      return self._base().sendCloseFrame(self, code, reasonUtf8, isReply)
"""

# Ours: listen on loopback only, take a port that is free, and say which it is. The port is then the one that a
# client's Host field has to name.
LISTEN = """\
   listener = listenWS(factory, sslContext, interface = '127.0.0.1')
   factory.port = factory.externalPort = listener.getHost().port
   print("listening on %s://127.0.0.1:%d" % ("wss" if factory.isSecure else "ws", factory.port))
"""

CLASS_SERVER = "class FuzzingServerProtocol(FuzzingProtocol, WebSocketServerProtocol):\n"
CLASS_CLIENT = "class FuzzingClientProtocol(FuzzingProtocol, WebSocketClientProtocol):\n"
LOG_TX_FRAME = "   def logTxFrame(self, frameHeader, payload, repeatLength, chopsize, sync):\n"
ON_PONG = "   def onPong(self, payload):\n"
ON_MESSAGE = "   def onMessage(self, msg, binary):\n"

FUZZING = [
    ("from twisted.python import log, usage\n",
     "from twisted.python import log, usage\nfrom autobahntestsuite import py2str\n"),
    ("   MAX_WIRE_LOG_DATA = 256\n", BOUNDARY),
    (CLASS_SERVER, CLASS_SERVER + "\n   def _base(self):\n      return WebSocketServerProtocol\n"),
    (CLASS_CLIENT, CLASS_CLIENT + "\n   def _base(self):\n      return WebSocketClientProtocol\n"),
    ("   listenWS(factory, sslContext)\n", LISTEN),
    # what the library hands to the cases
    (ON_PONG, ON_PONG + "      payload = py2str.s(payload)\n"),
    (ON_MESSAGE, ON_MESSAGE + "      msg = py2str.s(msg)\n"),
    ("p = ''.join(payload)", "p = b''.join(payload)"),
    # the wire log
    (LOG_TX_FRAME, LOG_TX_FRAME +
     "      if self._txFrameInfo is not None:\n"
     "         payload, repeatLength = self._txFrameInfo\n"
     "         self._txFrameInfo = None\n"),
    ("binascii.b2a_hex(frameHeader.mask)", "py2str.py2hex(frameHeader.mask)"),
    ("mmask = binascii.b2a_hex(t[6])", "mmask = str(t[6])"),
    # the reports
    ('"httpRequest": self.http_request_data if', '"httpRequest": py2str.s(self.http_request_data) if'),
    ('"httpResponse": self.http_response_data if', '"httpResponse": py2str.s(self.http_response_data) if'),
    ('"localCloseReason": self.localCloseReason,', '"localCloseReason": py2str.s(self.localCloseReason),'),
    ('"remoteCloseReason": self.remoteCloseReason,', '"remoteCloseReason": py2str.s(self.remoteCloseReason),'),
    ('% (c[0], case[c[0]], c[1])).encode("utf-8"))', "% (c[0], case[c[0]], c[1])))"),
    ("ll.encode('utf8'))", "ll)"),
    ("open(os.path.join(outdir, report_filename), 'w')",
     "open(os.path.join(outdir, report_filename), 'w', encoding = 'utf-8', errors = 'backslashreplace')"),
]


def edit(path, *replacements):
    """Replaces the one place where each text stands (or all of them, if it stands there several times)."""
    text = path.read_text(encoding="utf-8")
    for old, new in replacements:
        if old not in text:
            sys.exit(f"{path.name}: not found: {old!r}")
        text = text.replace(old, new)
    path.write_text(text, encoding="utf-8")


def convert_syntax(package):
    """lib2to3 over the whole package, in place."""
    command = [sys.executable, "-W", "ignore", "-m", "lib2to3", "--write", "--nobackups", "--no-diffs",
               "--nofix", "future", "--nofix", "set_literal", str(package)]
    result = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if result.returncode != 0:
        sys.exit(f"lib2to3 failed:\n{result.stdout}")


def port_wstest(package):
    """The command line: without the modes that are not ported, its output flushed."""
    path = package / "wstest.py"
    text = path.read_text(encoding="utf-8")
    text = re.sub(r"^(?:from \. )?import (echo|broadcast|massconnect|serializer)$", r"# \1 is not ported", text,
                  flags=re.MULTILINE)
    path.write_text(text.replace("print()\n", "print(flush=True)\n"), encoding="utf-8")


def port_cases(package):
    """The cases: octet strings stay octet strings, and a few idioms of Python 2 go."""
    for path in (package / "case").glob("*.py"):
        text = path.read_text(encoding="utf-8")
        text = text.replace("(object, Case, )", "(Case, )")  # no consistent method resolution order in Python 3
        # A literal in the source's UTF-8 was the octets of that UTF-8.
        text = re.sub(r"[^\x00-\x7f]", lambda c: "".join(f"\\x{octet:02x}" for octet in c[0].encode()), text)
        if "binascii.b2a_hex(" in text:
            text = text.replace("binascii.b2a_hex(", "py2hex(")
            text = text.replace("import binascii\n", "import binascii\nfrom autobahntestsuite.py2str import py2hex\n", 1)
        path.write_text(text, encoding="utf-8")
    case = package / "case"
    # Equal objects need not pickle to equal bytes in Python 3.
    edit(case / "case.py", ("return pickle.dumps(obj1) == pickle.dumps(obj2)", "return obj1 == obj2"))
    edit(case / "case6_x_x.py", ("res = v.validate(vss[:i])", "res = v.validate(vss[:i].encode('latin-1'))"))
    edit(case / "case9_9_1.py",
         ("from zope.interface import implements\n", "from zope.interface import implementer\n"),
         ("class FrameProducer:\n\n   implements(interfaces.IPushProducer)\n",
          "@implementer(interfaces.IPushProducer)\nclass FrameProducer:\n"))
    edit(case / "case10_1_1.py", ("len(self.payload) / self.p", "len(self.payload) // self.p"))
    edit(case / "case12_x_x.py",
         ("      msg = ''\n", "      msg = b''\n"),
         (ON_MESSAGE.strip() + "\n", ON_MESSAGE.strip() + "\n   msg = msg.encode('latin-1')\n"),
         ("binascii.hexlify(received_hash)", "received_hash.hex()"),
         ("binascii.hexlify(self._expected_hash)", "self._expected_hash.hex()"))


def port_fuzzing(package):
    """The fuzzing client and server."""
    path = package / "fuzzing.py"
    text = path.read_text(encoding="utf-8")
    start, end = text.index("def binLogData"), text.index("class FuzzingProtocol")
    path.write_text(text[:start] + LOG_HELPERS + text[end:], encoding="utf-8")
    edit(path, *FUZZING)


def port_report(package):
    """Only its style sheets and scripts are used; the rest needs jinja2."""
    path = package / "report.py"
    text = path.read_text(encoding="utf-8")
    text = text[:text.index("REPORT_DIR_PERMISSIONS")].replace("import jinja2\n", "")
    path.write_text(text, encoding="utf-8")


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    source, site_packages = map(Path, sys.argv[1:])
    package = site_packages / "autobahntestsuite"
    shutil.rmtree(package, ignore_errors=True)
    shutil.copytree(source / "autobahntestsuite", package)
    shutil.rmtree(package / "wampcase", ignore_errors=True)
    for pattern in NOT_PORTED:
        for path in package.glob(pattern):
            path.unlink()
    convert_syntax(package)
    (package / "__init__.py").write_text(PACKAGE_INIT, encoding="utf-8")
    (package / "py2str.py").write_text(OCTET_STRINGS, encoding="utf-8")
    port_wstest(package)
    port_cases(package)
    port_fuzzing(package)
    port_report(package)
    edit(package / "testee.py", ("from twisted.internet import reactor\n", "from twisted.internet import reactor, ssl\n"))


if __name__ == "__main__":
    main()
