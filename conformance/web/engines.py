"""What runs the scenarios: browsers, driven by nothing but the address of the page, and Node with the addon."""

import json
import re
import shutil
import subprocess
from pathlib import Path

from lib import install, process
from lib.install import ROOT, Unavailable
from lib.process import Failure

HERE = Path(__file__).resolve().parent
ADDON = ROOT / "bindings" / "node"

CHROMIUM = [
    "--headless", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--no-first-run", "--no-default-browser-check",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-extensions",
    "--disable-background-timer-throttling", "--disable-renderer-backgrounding", "--disable-backgrounding-occluded-windows",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost", "--remote-debugging-port=0",
]

# A profile that asks nothing, calls nobody, and lets the page connect as often as it wants.
FIREFOX = {
    "app.normandy.enabled": False,
    "app.update.enabled": False,
    "browser.aboutwelcome.enabled": False,
    "browser.newtabpage.enabled": False,
    "browser.safebrowsing.downloads.enabled": False,
    "browser.safebrowsing.malware.enabled": False,
    "browser.safebrowsing.phishing.enabled": False,
    "browser.sessionstore.resume_from_crash": False,
    "browser.shell.checkDefaultBrowser": False,
    "browser.startup.homepage_override.mstone": "ignore",
    "browser.startup.page": 0,
    "datareporting.healthreport.uploadEnabled": False,
    "datareporting.policy.dataSubmissionEnabled": False,
    "dom.max_script_run_time": 0,
    "extensions.getAddons.cache.enabled": False,
    "extensions.systemAddon.update.enabled": False,
    "extensions.update.enabled": False,
    "media.gmp-manager.updateEnabled": False,
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
    "network.proxy.http": "127.0.0.1",
    "network.proxy.http_port": 1,
    "network.proxy.ssl": "127.0.0.1",
    "network.proxy.ssl_port": 1,
    "network.proxy.type": 1,
    "network.websocket.delay-failed-reconnects": False,
    "services.settings.server": "http://127.0.0.1:1/",
    "toolkit.telemetry.enabled": False,
    "toolkit.telemetry.server": "http://127.0.0.1:1/",
}


# Each makes sure that there is such an engine, and returns what gives its command line: command(base, wanted, scratch).

def chromium(_options):
    """Headless Chromium."""
    install.command("chromium", "chromium")

    def command(base, wanted, scratch):
        return ["chromium", *CHROMIUM, f"--user-data-dir={scratch}", page("chromium", base, wanted)]

    return command


def firefox(_options):
    """Headless Firefox."""
    if not shutil.which("firefox-esr"):
        install.command("firefox-esr", "firefox-esr")

    def command(base, wanted, scratch):
        (scratch / "user.js").write_text("".join(f"user_pref({json.dumps(name)}, {json.dumps(value)});\n" for name, value in FIREFOX.items()))
        return ["firefox-esr", "--headless", "--no-remote", "--profile", scratch, page("firefox", base, wanted)]

    return command


def node(options):
    """Node with the addon, built from here unless another module is given in its place."""
    install.command("node", "nodejs")
    found = version("node")  # "Node v20.20.2"
    if not re.match(r"Node v(2\d|[3-9]\d)\.", found):
        raise Unavailable(f"the addon needs Node 20 or later, and this is {found}")
    module = options.addon or ADDON / "index.js"
    if not options.addon:
        if not (ADDON / "build").exists():
            raise Failure(f"there is no addon: no {ADDON / 'build'}")
        log = install.BUILD / "web" / "addon.log"
        log.unlink(missing_ok=True)
        process.run([ADDON / "build"], 900, log=log)

    def command(base, wanted, _scratch):
        return ["node", HERE / "node.mjs", Path(module).resolve(), base, *wanted]

    return command


def page(engine, base, wanted):
    """The address of the page that runs the scenarios."""
    return f"{base}/page#{','.join([engine, *wanted]).replace(' ', '%20')}"


ENGINES = {"chromium": chromium, "firefox": firefox, "node": node}


def version(name):
    """What an engine says of itself, in one line."""
    command = {"chromium": "chromium", "firefox": "firefox-esr", "node": "node"}[name]
    try:
        output = subprocess.run([command, "--version"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, timeout=30, check=True)
        return f"{'Node ' if name == 'node' else ''}{output.stdout.splitlines()[0].strip()}"
    except (OSError, subprocess.SubprocessError, IndexError):
        return name
