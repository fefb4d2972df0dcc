"""Browsers, each driven by the commands of W3C WebDriver: Chromium and WebKit through their drivers over HTTP, Firefox through its
own socket, which takes the same commands under names of its own (Marionette) and needs no driver."""

import base64
import contextlib
import http.client
import itertools
import json
import os
import re
import socket
import subprocess
import tempfile
import time
from pathlib import Path

from proxies.network import AWAY
from web.engines import CHROMIUM, FIREFOX

from . import install
from .process import Failure, Program

ANSWER = 60  # seconds for the answer to a command; a script has 30, the drivers' default
MINIBROWSER = "/usr/lib/x86_64-linux-gnu/webkit2gtk-4.1/MiniBrowser"

# command: method, path, Marionette's name; the parameters are the same
COMMANDS = {
    "new session": ("POST", "", "WebDriver:NewSession"),
    "delete session": ("DELETE", "", "WebDriver:DeleteSession"),
    "navigate": ("POST", "/url", "WebDriver:Navigate"),
    "script": ("POST", "/execute/async", "WebDriver:ExecuteAsyncScript"),
    "click": ("POST", "/element/{id}/click", "WebDriver:ElementClick"),
    "keys": ("POST", "/element/{id}/value", "WebDriver:ElementSendKeys"),
    "resize": ("POST", "/window/rect", "WebDriver:SetWindowRect"),
    "screenshot": ("GET", "/screenshot", "WebDriver:TakeScreenshot"),
    "windows": ("GET", "/window/handles", "WebDriver:GetWindowHandles"),
    "switch": ("POST", "/window", "WebDriver:SwitchToWindow"),
    "close window": ("DELETE", "/window", "WebDriver:CloseWindow"),
    "log": ("POST", "/se/log", None),  # chromedriver's
    "context": (None, None, "Marionette:SetContext"),
}


class Http:
    """A driver's HTTP."""

    def __init__(self, port, capabilities):
        self.connection, self.session = http.client.HTTPConnection("127.0.0.1", port, timeout=ANSWER), "/session"
        asked = {"capabilities": {"alwaysMatch": capabilities}}
        self.session += "/" + self.ask("new session", asked)["sessionId"]

    def ask(self, name, parameters):
        method, path, _ = COMMANDS[name]
        body = json.dumps(parameters) if method == "POST" else None
        self.connection.request(method, self.session + path.format(**parameters), body, {"Content-Type": "application/json"})
        answer = self.connection.getresponse()
        value = json.loads(answer.read())["value"]
        if answer.status != 200:
            raise Failure(f"{name}: {value['error']}: {value['message']}")
        return value


class Marionette:
    """Firefox's socket: JSON after its length and a colon."""

    def __init__(self, port, capabilities):
        self.stream = socket.create_connection(("127.0.0.1", port), ANSWER).makefile("rwb")
        self.numbers = itertools.count(1)
        self.read()
        self.ask("new session", capabilities)

    def read(self):
        length = b""
        while (byte := self.stream.read(1)) != b":":
            if not byte:
                raise Failure("Firefox has ended")
            length += byte
        return json.loads(self.stream.read(int(length)))

    def ask(self, name, parameters):
        text = json.dumps([0, next(self.numbers), COMMANDS[name][2], parameters]).encode()
        self.stream.write(b"%d:%s" % (len(text), text))
        self.stream.flush()
        _, _, error, value = self.read()
        if error:
            raise Failure(f"{name}: {error['error']}: {error['message']}")
        return value.get("value", value) if isinstance(value, dict) else value


# Each installs what it needs, if it is not there.

def install_chromium():
    install.command("chromium", "chromium")
    install.command("chromedriver", "chromium-driver")


def install_firefox():
    install.command("firefox-esr", "firefox-esr")


def install_webkit():
    install.command("WebKitWebDriver", "webkit2gtk-driver")
    install.command("Xvfb", "xvfb")
    install.command("ss", "iproute2")


# Each starts an engine whose home is an empty directory, and returns the way to it.

def chromium(home, log, stack, capabilities, dark):
    driver = stack.enter_context(program(["chromedriver", "--port=0"], log, home))
    flags = [f"{flag}, EXCLUDE {AWAY}" if "host-resolver" in flag else flag for flag in CHROMIUM if "remote-debugging" not in flag]
    options = {"args": [*flags, *(["--force-dark-mode"] if dark else [])]}
    port = driver.expect(r"started successfully on port (\d+)", 30)[1]
    return Http(int(port), {**capabilities, "goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "WARNING"}})


def firefox(home, log, stack, capabilities, dark):
    preferences = {
        **FIREFOX, "marionette.port": 0, "ui.systemUsesDarkTheme": int(dark), "dom.disable_open_during_load": False,
        "network.manage-offline-status": False, "network.proxy.no_proxies_on": AWAY,
    }
    (home / "user.js").write_text("".join(f"user_pref({json.dumps(name)}, {json.dumps(value)});\n" for name, value in preferences.items()))
    command = ["firefox-esr", "--headless", "--no-remote", "--marionette", "-remote-allow-system-access", "--profile", home, "about:blank"]
    browser = stack.enter_context(program(command, log, home))
    return Marionette(int(browser.expect(r"Marionette\s+INFO\s+Listening on port (\d+)", 60)[1]), capabilities)


def webkit(home, log, stack, capabilities, dark):
    command = ["Xvfb", "-displayfd", "1", "-nolisten", "tcp", "-screen", "0", "1400x1000x24"]
    display = stack.enter_context(program(command, log.with_suffix(".xvfb"), home)).expect(r"^(\d+)$", 30)[1]
    more = {"DISPLAY": f":{display}", "GTK_THEME": "Adwaita:dark" if dark else "Adwaita"}
    if os.geteuid() == 0:
        more["WEBKIT_DISABLE_SANDBOX_THIS_IS_DANGEROUS"] = "1"
    driver = stack.enter_context(program(["WebKitWebDriver", "--port=0"], log, home, more))
    options = {"binary": MINIBROWSER, "args": ["--automation", "--javascript-can-open-windows-automatically=true"]}
    return Http(listening_port(driver.process.pid), {**capabilities, "webkitgtk:browserOptions": options})


def program(command, log, home, more=None):
    environment = {**os.environ, "HOME": str(home), "TMPDIR": str(home), "MOZ_CRASHREPORTER_DISABLE": "1", **(more or {})}
    return Program(command, log, env=environment)


def listening_port(pid):
    """The port of a process that does not say which it was given."""
    limit = time.monotonic() + 30
    while time.monotonic() < limit:
        sockets = subprocess.run(["ss", "-Hltnp4"], capture_output=True, text=True, timeout=30, check=True).stdout
        if found := re.search(rf":(\d+) .*pid={pid},", sockets):
            return int(found[1])
        time.sleep(0.05)
    raise Failure(f"process {pid} does not listen")


ENGINES = {"chromium": (chromium, install_chromium), "firefox": (firefox, install_firefox), "webkit": (webkit, install_webkit)}


class Browser:
    """A running engine and its window. A context manager that ends it."""

    def __init__(self, engine, log, library="", trusting=False, dark=False):
        """`library` is JavaScript that all scripts can use; who is `trusting` asks for no CA's signature."""
        self.engine, self.log, self.library, self.trusting, self.dark = engine, log, library, trusting, dark

    def __enter__(self):
        with contextlib.ExitStack() as stack:
            self.home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sockeye-browser-", ignore_cleanup_errors=True)))
            start = ENGINES[self.engine][0]
            self.way = start(self.home, self.log, stack, {"acceptInsecureCerts": self.trusting}, self.dark)
            stack.callback(self.end)
            self.first = self.ask("windows")[0]
            self.ask("resize", width=1280, height=900)
            self.stack = stack.pop_all()
        return self

    def __exit__(self, *_):
        self.stack.close()

    def end(self):
        with contextlib.suppress(Failure, OSError, http.client.HTTPException, ValueError):
            self.ask("delete session")

    def ask(self, name, **parameters):
        try:
            return self.way.ask(name, parameters)
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise Failure(f"{self.engine} does not answer to `{name}`: {error!r}") from None

    def open(self, url):
        self.ask("navigate", url=url)

    def popup(self, url, width, height):
        """Goes on in a new window, whose page has this size."""
        self.run("open('about:blank', '_blank', `popup,width=${given[0]},height=${given[1]}`)", width, height)
        limit = time.monotonic() + 10
        while not (others := [window for window in self.ask("windows") if window != self.first]):
            if time.monotonic() > limit:
                raise Failure("no window was opened")
        self.ask("switch", handle=others[0])
        self.open(url)

    def back(self):
        """Closes all windows but the first, and empties that."""
        for window in self.ask("windows"):
            if window != self.first:
                self.ask("switch", handle=window)
                self.ask("close window")
        self.ask("switch", handle=self.first)
        self.open("about:blank")

    def run(self, script, *given):
        """What an async function with this body, in the page, returns of the values `given`."""
        text = (f"const done = arguments[arguments.length - 1], given = [...arguments].slice(0, -1);\n{self.library}\n"
                f"(async () => {{ {script} }})().then((value) => done({{ value }}), (error) => done({{ error: String(error) }}));")
        answer = self.ask("script", script=text, args=given, **({"sandbox": None} if self.engine == "firefox" else {}))
        if "error" in answer:
            raise Failure(f"in the page: {answer['error']}")
        return answer.get("value")

    def click(self, selector):
        """Clicks on what is there to be seen. Chromium and WebKit click where a button was before the page moved or was scrolled: there, by the space bar."""
        if self.engine != "firefox" and self.run("return document.querySelector(given[0])?.localName", selector) == "button":
            self.keys(selector, " ")
        else:
            self.ask("click", id=self.find(selector))

    def keys(self, selector, text):
        """Types, or for a file input picks the file of that name."""
        self.ask("keys", id=self.find(selector), text=str(text))

    def find(self, selector):
        """An element's name in the driver. It is brought to the middle, where nothing covers it."""
        script = """const found = document.querySelector(given[0]);
            if (!found) throw new Error(`no ${given[0]}`);
            found.scrollIntoView({ block: 'center', behavior: 'instant' });
            return found"""
        return next(iter(self.run(script, selector).values()))

    def screenshot(self, path):
        path.write_bytes(base64.b64decode(self.ask("screenshot")))

    def console(self):
        """What the console was told of this origin's pages since the last call, warnings and errors. WebKit's driver does not say.

        Firefox is told of scripts that were at work when their page was left, and later than the next page is there; so what is told of
        another page, `/?QUERY` of this origin, is left out.
        """
        if self.engine == "chromium":
            return [entry["message"] for entry in self.ask("log", type="browser")]
        if self.engine == "firefox":
            page = self.run("return [location.origin, location.href]")
            self.ask("context", value="chrome")
            try:
                return self.ask("script", sandbox=None, args=page, script="""
                    const [origin, page, done] = arguments;
                    const told = ({ sourceName: name }) => name === page || (name.startsWith(`${origin}/`) && !name.startsWith(`${origin}/?`));
                    const seen = Services.console.getMessageArray().filter((one) => one instanceof Ci.nsIScriptError && told(one));
                    Services.console.reset();
                    done(seen.map((one) => one.errorMessage));""")
            finally:
                self.ask("context", value="content")
        return []
