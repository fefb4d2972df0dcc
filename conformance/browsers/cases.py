"""The cases: each is run in every engine, for `ws` and for `wss` unless it names one of them, with `t` of ./run."""

import contextlib
import json
import signal
import socket
import struct
import threading
import zlib

BOTH = ("ws", "wss")
CASES = []

# What the page says of an extension without parameters, as Firefox tells of all.
BARE = "no parameters are shown; Firefox never shows them\nif none were agreed on, both ways: with earlier messages (context takeover), window of 32 KiB"


def case(name, schemes=BOTH):
    def add(function):
        CASES.append((name, schemes, function))
        return function
    return add


# --- the page of `sockeye serve` ----------------------------------------------------------------------------------------------


@case("the page loads, without console errors and without violations of its content security policy")
def loads(t):
    t.visit()
    t.same(t.run("return document.title"), "Sockeye: a WebSocket echo")
    t.same(t.complaints(), [])


@case("the page connects by itself to the port it came from, says so, and says what was negotiated")
def connects(t):
    t.visit()
    t.same(t.run("return $('#url').value"), f"{t.scheme}://{t.host}/echo")
    t.same(t.run("return [$('#connect').disabled, $('#send').disabled]"), [True, False])
    t.same(t.text("#extensions"), "permessage-deflate; server_no_context_takeover; client_no_context_takeover")


@case("text comes back")
def text(t):
    t.visit()
    t.browser.keys("#text", "hello\ue007")  # Enter
    row, = t.rows('.received[data-kind="text"]', 1)
    t.same(row["text"], "hello")
    t.match(r"[\d.]+ ms", row["rtt"])
    t.same(t.run("return $('#text').value"), "")


@case("text of several bytes a character comes back: accents, CJK, emoji, lines, U+FEFF, U+10FFFF")
def unicode(t):
    t.visit()
    texts = ["Grüße, añejo, ß", "紅鮭は海から川へ帰る", "🐟👩‍👩‍👧‍👦🇯🇵", "one\ntwo\n\nfour", "\ufeffmark\U0010ffff\u2028"]
    for count, one in enumerate(texts, 1):
        t.fill("#text", one)
        t.browser.click("#send")
        received = t.rows('.received[data-kind="text"]', count)
    t.same([row["text"] for row in received], texts)
    t.same(received[-1]["size"], len(texts[-1].encode()))
    t.run("fill('#text', 'x' + '🐟'.repeat(300_000)); $('#send').click()")  # far more than the log keeps
    long = t.rows('.received[data-kind="text"]', len(texts) + 1)[-1]
    t.same(long["size"], 1_200_001)
    t.match("ms$", long["rtt"])  # it came back as it was
    shown = t.run("""const row = [...document.querySelectorAll('#log .received')].at(-1), button = row.querySelector('button'), label = button.textContent;
        button.click(); return [label, row.querySelector('.body > span').textContent]""")
    t.same(shown, ["Show the first 16.0 KiB", "x" + "🐟" * 4095])


@case("text is shown as text, whatever markup it holds")
def markup(t):
    t.visit()
    sent = '<img src=x onerror="document.title=1"><script>document.title=2</script>&amp;'
    t.fill("#text", sent)
    t.browser.click("#send")
    t.same(t.rows('.received[data-kind="text"]', 1)[0]["text"], sent)
    t.same(t.run("return document.querySelectorAll('#log img, #log script').length"), 0)
    t.same(t.complaints(), [])


@case("binary given in hex comes back")
def binary(t):
    t.visit()
    t.fill("#hex", "0xDE 0xAD be:ef, 00")
    t.browser.keys("#hex", "\ue007")
    row, = t.rows('.received[data-kind="binary"]', 1)
    t.same([row["text"], row["size"]], ["de ad be ef 00", 5])


@case("a picked image comes back and is shown")
def image(t):
    t.visit()
    png = sample_png(96, 64)
    t.send_file("sample.png", png)
    t.same(t.rows('.received[data-kind="binary"]', 1)[0]["size"], len(png))
    shown = t.run("""const image = await until(() => document.querySelector('#log .received img'), 'the image');
        await image.decode(); return [image.naturalWidth, image.naturalHeight, new URL(image.src).protocol]""")
    t.same(shown, [96, 64, "blob:"])
    t.same(t.complaints(), [])


@case("a file of 8 MiB comes back")
def big_file(t):
    t.visit()
    t.send_file("big.bin", b"sockeye " * 2**20)
    t.same(t.rows('.received[data-kind="binary"]', 1)[0]["size"], 8 * 2**20)
    t.run("await until(() => $('#buffered').hidden, 'all to be sent')")


@case("a message over the limit of 16 MiB is refused with 1009, which the page sees though it is still sending")
def too_big(t):
    t.visit()
    t.send_file("huge.bin", bytes(32 * 2**20))
    t.match(r"^1009 message too big,", t.rows('[data-event="close"]', 1)[0]["text"])
    t.same(t.rows(".received", 0), [])


@case("wrong input is told beside its field, and nothing is sent")
def wrong_input(t):
    t.visit()

    def wrong(field, value, button, message):
        before = t.run("return $(given[0]).value", field)
        t.fill(field, value)
        t.browser.click(button)
        t.match(message, t.text(f"{field}-problem"))
        t.fill(field, before)
        t.same(t.run("return $(given[0]).checkVisibility()", f"{field}-problem"), False)

    wrong("#hex", "de ag", "#send-binary", "“g” is no hex digit")
    wrong("#hex", "dea", "#send-binary", "3 digits")
    wrong("#code", "1001", "#close", "1000 or 3000 to 4999")
    wrong("#reason", "é" * 62, "#close", "at most 123 bytes")
    t.state("OPEN")
    t.same(t.rows('[data-event="message"]', 0), [])
    t.browser.click("#close")
    t.state("CLOSED")
    wrong("#url", "ftp://127.0.0.1/", "#connect", "scheme")
    wrong("#url", "/echo#top", "#connect", "fragment")
    wrong("#url", "ws://example.org/", "#connect", "only")
    wrong("#url", "ws://[", "#connect", "not a URL")
    wrong("#protocols", "chat, super chat", "#connect", "“super chat” is no subprotocol")
    wrong("#protocols", "chat, chat", "#connect", "only once")
    t.rows('[data-event="connect"]', 1)


@case("the page closes with a code and a reason, cleanly, and connects again with one click")
def page_closes(t):
    t.visit()
    t.fill("#code", "4000")
    t.fill("#reason", "done — fertig")
    t.browser.click("#close")
    t.state("CLOSED")
    # RFC 6455 section 5.5.1: "When sending a Close frame in response, the endpoint typically echos the status code it received."
    # Of the reason it says nothing.
    t.match("^4000 private use, .*, clean$", t.rows('[data-event="close"]', 1)[0]["text"])
    t.same(t.run("return $('#send').disabled"), True)
    t.browser.click("#connect")
    t.state("OPEN")


@case("a close without a code is answered without one (1005), cleanly")
def no_code(t):
    t.visit()
    t.fill("#code", "")
    t.browser.click("#close")
    t.state("CLOSED")
    t.same(t.rows('[data-event="close"]', 1)[0]["text"], "1005 no status received, no reason, clean")


# WHATWG WebSockets, "establish a WebSocket connection": "If protocols is not the empty list and extracting header list values
# given `Sec-WebSocket-Protocol` [...] results in null, failure, or the empty byte sequence, then fail the WebSocket connection."
@case("offered subprotocols that the server does not speak fail the connection, and the page says so")
def no_subprotocol(t):
    t.visit()
    t.browser.click("#close")
    t.state("CLOSED")
    t.fill("#protocols", "chat, superchat")
    t.browser.click("#connect")
    t.run("await until(() => !['CONNECTING', 'CLOSING'].includes($('#state').dataset.state), 'the opening to end')")
    t.rows('[data-event="connect"]', 2)
    last = t.rows('[data-event="open"], #log li[data-event="close"]', 3)[-1]
    t.same([last["event"], last["text"]], ["close", "1006 abnormal closure, no reason, not clean"])


@case("a server that is told to end (SIGTERM) closes all of a page's connections with 1001, cleanly, and exits with 0")
def terminated(t):
    server = t.serve()
    t.visit(server.host)
    t.run("""window.ends = [];
        const opened = () => new Promise((resolve) => ends.push(events(given[0], resolve)));
        await late(Promise.all([1, 2, 3, 4, 5].map(opened)), 'five connections')""", f"{t.scheme}://{server.host}/echo")
    server.process.send_signal(signal.SIGTERM)
    t.state("CLOSED")
    t.match("^1001 going away, .*, clean$", t.rows('[data-event="close"]', 1)[0]["text"])
    ends = t.run("return await Promise.all(ends)")
    t.same(ends, [["open", 'close 1001 "" clean']] * 5)
    t.same(server.wait(20), 0)


@case("an interrupted server (SIGINT) closes with 1001 and exits with 0")
def interrupted(t):
    server = t.serve()
    t.visit(server.host)
    server.process.send_signal(signal.SIGINT)
    t.state("CLOSED")
    t.match("^1001 going away, .*, clean$", t.rows('[data-event="close"]', 1)[0]["text"])
    t.same(server.wait(20), 0)


@case("the log is filtered, saved as NDJSON, copied, paused and cleared")
def log(t):
    t.visit()
    t.fill("#text", "alpha")
    t.browser.click("#send")
    t.rows(".received", 1)

    def shown():
        return [f"{row['event']} {row['text']}" for row in t.rows("", 4) if row["shown"]]

    t.browser.click('#filter label:has([value="received"])')
    t.same(shown(), ["message alpha"])
    t.fill("#search", "beta")
    t.same(shown(), [])
    t.fill("#search", "ALPHA")
    t.browser.click('#filter label:has([value="all"])')
    t.same(shown(), ["message alpha", "message alpha"])
    t.note("2 of 4 rows shown.")
    t.fill("#search", "")
    t.run("await until(() => !$('#note').textContent, 'all rows to be drawn')")
    t.browser.click("#save")
    records = [json.loads(line) for line in t.downloaded("sockeye-log*.ndjson").splitlines()]
    t.same([[record["seq"], record["event"], record.get("dir")] for record in records],
           [[1, "connect", None], [2, "open", None], [3, "message", "out"], [4, "message", "in"]])
    t.same(records[3]["text"], "alpha")
    t.match(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$", records[3]["time"])

    t.run("window.noted = until(() => $('#note').textContent, 'a note')")
    t.browser.click("#copy")
    t.same(t.run("return await noted"), "Copied 4 rows.")
    t.browser.keys("#text", "\ue009v")  # Control+V
    t.match(r"^\d\d:\d\d:\d\d\.\d{3} ↓ text 5 B [\d.]+ ms  alpha$", t.run("return $('#text').value").split("\n")[3])

    t.browser.click("#pause")
    t.fill("#text", "gamma")
    t.browser.click("#send")
    t.note("Paused, 2 rows held back.")
    t.same(len(t.rows("", 4)), 4)
    t.browser.click("#pause")
    t.rows(".received", 2)
    t.browser.click("#clear")
    t.same(t.rows("", 0), [])
    t.same(t.complaints(), [])


@case("of 1,500 echoes the log keeps the latest 1,000 rows, and says so")
def many_rows(t):
    t.visit()
    t.run("for (let count = 1; count <= 1500; count += 1) { fill('#text', `number ${count}`); $('#send').click(); }")
    t.run("await until(() => $('#received').textContent.startsWith('1,500 messages'), 'the last echo')")
    found = t.rows("", 1000)
    t.same([len(found), found[-1]["text"]], [1000, "number 1500"])
    t.match("The latest 1,000 rows are kept, 2,002 older dropped", t.text("#note"))


@case("at 360 by 740 pixels nothing scrolls sideways")
def narrow(t):
    t.visit(popup=(360, 740))
    conversation(t)
    wide = t.run("""const outside = [...document.querySelectorAll('body *')].filter((one) => !one.closest('.visually-hidden') && one.getBoundingClientRect().right > innerWidth + 0.5);
        return [innerWidth, document.documentElement.scrollWidth, ...outside.map((one) => one.outerHTML.slice(0, 80))]""")
    t.same(wide[0], 360)
    t.same(wide[2:], [])
    t.match(r"^(3[0-5]\d|360)$", str(wide[1]))  # less by the scroll bar, where there is one
    below = t.run("return document.documentElement.scrollHeight - document.querySelector('main').getBoundingClientRect().bottom - scrollY")
    t.same(below < 20, True)
    t.screenshot("narrow")


def colours(scheme):
    def run(t):
        t.visit()
        conversation(t)
        background = t.run("return getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)")
        t.same([channel > 128 for channel in background[:3]], [scheme == "light"] * 3)
        t.screenshot(scheme)
        t.same(t.run("return poorContrast()"), [])
        t.same(t.complaints(), [])
    return run


# The colours are an engine's from its start on.
for colour, only in (("light", "ws"), ("dark", "wss")):
    case(f"the page is drawn in {colour} colours, with contrast of 4.5 or more everywhere", (only,))(colours(colour))


@case("the page says what was agreed on, in words, and how long the opening took")
def agreed_on(t):
    t.visit()
    t.same(t.text("#address"), f"{t.scheme}://{t.host}/echo")
    t.match(r"^[\d.]+ ms$", t.text("#opening"))
    t.same(t.text("#protocol"), "none")
    t.same(t.text("#compression"), "both ways: each message by itself (no context takeover), window of 32 KiB")
    t.same(t.text("#amount"), "0 B")
    t.same(t.text("#closed"), "–")
    for extensions, words in {
        "permessage-deflate; server_max_window_bits=10; client_no_context_takeover":
            "sent: each message by itself (no context takeover), window of 32 KiB\nreceived: with earlier messages (context takeover), window of 1 KiB",
        'x-other, permessage-deflate;client_max_window_bits="8"':
            "sent: with earlier messages (context takeover), window of 256 B\nreceived: with earlier messages (context takeover), window of 32 KiB",
        "permessage-deflate": BARE,
        "x-other; parameter, permessage-deflate": BARE,
        "x-other": "none",
        "": "none",
    }.items():
        t.same(t.run("return compressionOf(given[0])", extensions), words)
    t.same(t.complaints(), [])
    t.visit(t.serve("--no-deflate").host)
    t.same(t.text("#extensions"), "none")
    t.same(t.text("#compression"), "none")
    t.same(t.complaints(), [])


@case("the page says who has closed, and how")
def who_closed(t):
    server = t.serve()
    t.visit(server.host)

    def closed():
        t.state("CLOSED")
        return t.text("#closed")

    t.browser.click("#close")
    t.same(closed(), "this page\n1000 normal closure, no reason, clean")
    t.match("^permessage-deflate", t.text("#extensions"))  # what was agreed on can still be read
    t.browser.click("#connect")
    t.state("OPEN")
    t.same(t.text("#closed"), "–")
    server.process.kill()
    t.match("^nobody: the connection was lost, or the browser gave it up\n1006 .*, not clean$", closed())
    t.browser.click("#connect")
    t.rows('[data-event="close"]', 3)
    t.match("^nobody: it did not open\n1006 ", closed())
    t.same(t.text("#opening"), "–")
    server = t.serve()
    t.visit(server.host)
    server.process.send_signal(signal.SIGINT)
    t.match("^the server\n1001 going away, .*, clean$", closed())


# --- files, and what pages of other origins may read ----------------------------------------------------------------------------


@case("a page of --root loads what is beside it and opens a WebSocket")
def root(t):
    style = "body { color: rgb(1, 2, 3) }"
    server = t.serve("--root", t.directory({
        "index.html": """<!doctype html><title>mine</title><link rel="icon" href="icon.svg"><link rel="stylesheet" href="style.css">
            <script type="module" src="app.mjs"></script>""",
        "icon.svg": '<svg xmlns="http://www.w3.org/2000/svg"/>',
        "style.css": style,
        "app.mjs": """const socket = new WebSocket(`${location.origin.replace('http', 'ws')}/echo`);
            socket.onopen = () => socket.send('紅鮭');
            socket.onmessage = ({ data }) => { document.title = data; socket.close(); };""",
    }))
    t.open(server.host)
    t.run("await until(() => document.title === '紅鮭', 'the echo')")
    t.same(t.run("return getComputedStyle(document.body).color"), "rgb(1, 2, 3)")
    # Asked for again it has not changed, which scripts see as the same 200.
    t.same(t.run("const answer = await fetch('style.css'); return [answer.status, await answer.text()]"), [200, style])
    t.same(t.complaints(), [])


@case("a page of an origin that is let in reads probes, metrics with a token, and files; one of another origin reads nothing")
def read_elsewhere(t):
    t.elsewhere()
    token = t.directory({"token": "T0ken"}) / "token"
    files = t.directory({"data.json": '{"fish": 1}'})
    server = t.serve("--allow-origin", t.origin, "--metrics-token-file", token, "--root", files)
    bearer = {"headers": {"authorization": "Bearer T0ken"}}

    def read(path, options=None):
        return t.run("""try {
                const answer = await late(fetch(given[0], given[1]), 'the answer');
                return `${answer.status} ${(await answer.text()).slice(0, 11)}`;
            } catch (error) {
                return error.name;
            }""", f"{t.http}://{server.host}{path}", options or {})

    t.same(read("/healthz"), "200 ok\n")
    t.same(read("/readyz"), "200 ok\n")
    t.same(read("/data.json"), '200 {"fish": 1}')
    t.match("^401 ", read("/metrics"))
    t.match("^200 # HELP", read("/metrics", bearer))
    t.same(read("/healthz", {"credentials": "include"}), "TypeError")
    t.same(read("/healthz", {"method": "POST"}), "405 The method ")
    t.elsewhere()
    for path, options in (("/healthz", {}), ("/data.json", {}), ("/metrics", bearer)):
        t.same([path, read(path, options)], [path, "TypeError"])


# --- a WebSocket of the case's own ----------------------------------------------------------------------------------------------

TEXTS = """(i) => JSON.stringify({ i, fish: Array.from({ length: i % 200 }, (_, n) => ({ n, weight: n * 0.1, name: `sockeye ${n % 7}` })) })"""


@case("1,000 compressed messages come back as they were, each compressed for itself")
def compressed(t):
    t.elsewhere()
    server = t.serve("--allow-origin", t.origin)
    end = t.run(f"const text = {TEXTS}; return await echo(given[0], 1000, text, (data, i) => data === text(i))", f"{t.scheme}://{server.host}/echo")
    t.same(end, {"came": 1000, "extensions": "permessage-deflate; server_no_context_takeover; client_no_context_takeover", "code": 1000, "wasClean": True})


@case("1,000 messages come back as they were, compressed with context takeover in windows of 4 KiB, or what the engine takes of that")
def small_windows(t):
    t.elsewhere()
    url = t.peer_url()
    end = t.run(f"const text = {TEXTS}; return await echo(given[0], 1000, text, (data, i) => data === text(i))", url)
    agreed = "permessage-deflate; server_max_window_bits=12; client_max_window_bits=12"
    t.same(t.peer_said(url, "offered"), "permessage-deflate; client_max_window_bits")
    t.same(t.peer_said(url, "agreed"), agreed)
    t.same(end, {"came": 1000, "extensions": agreed, "code": 1000, "wasClean": True})


for kind in ("arraybuffer", "blob"):
    def exchange(t, kind=kind):
        t.elsewhere()
        differs = t.run("""const sent = new Uint8Array(2 ** 20);
            for (let at = 0; at < sent.length; at += 65536) crypto.getRandomValues(sent.subarray(at, at + 65536));
            const socket = Object.assign(new WebSocket(given[0]), { binaryType: given[1] });
            socket.onopen = () => socket.send(given[1] === 'blob' ? new Blob([sent]) : sent);
            const data = await late(new Promise((resolve, reject) => {
              socket.onmessage = (event) => resolve(event.data);
              socket.onclose = ({ code }) => reject(new Error(`closed with ${code}`));
            }), 'the message');
            const came = new Uint8Array(data instanceof Blob ? await data.arrayBuffer() : data);
            return [data.constructor.name, came.length, sent.findIndex((byte, at) => byte !== came[at])]""", t.peer_url(), kind)
        t.same(differs, ["ArrayBuffer" if kind == "arraybuffer" else "Blob", 2**20, -1])
    case(f"1 MiB of binary comes back, byte for byte, as {kind}")(exchange)


@case("of the subprotocols offered the server's choice is spoken")
def subprotocol(t):
    t.elsewhere()
    ended = 'close 1000 "" clean'
    t.same(t.events(t.peer_url(), "socket.close(1000)", ["first.sockeye", "other.sockeye"]), ["open first.sockeye", ended])
    t.same(t.events(t.peer_url(), "socket.close(1000)", ["other.sockeye", "second.sockeye"]), ["open second.sockeye", ended])
    t.same(t.events(t.peer_url(), "socket.close(1000)"), ["open", ended])


@case("a server's close is seen with its code and reason, cleanly")
def server_closes(t):
    t.elsewhere()
    for code, fish in ((1000, 0), (1001, 1), (1008, 0), (1011, 30), (3000, 2), (4999, 3)):
        t.same(t.events(t.peer_url(f"/close/{code}/{fish}")), ["open", f'close {code} "{"🐟" * fish}" clean'])


@case("the page's close is seen by the server with its code and reason, cleanly")
def seen_by_server(t):
    t.elsewhere()
    for call, seen in (("", '1005 ""'), ("1000", '1000 ""'), ("3000, 'why'", '3000 "why"'), ("4999, '🐟'.repeat(30)", f'4999 "{"🐟" * 30}"')):
        url = t.peer_url()
        t.same(t.events(url, f"socket.close({call})"), ["open", f'close {seen[:4]} "" clean'])
        t.same(t.peer_said(url, "closed"), f"{seen} clean: true")


@case("a connection that is cut without a closing handshake is 1006, not clean")
def cut(t):
    t.elsewhere()
    t.same(t.events(t.peer_url("/cut"), "socket.send('now')"), ["open", 'close 1006 "" unclean'])


@case("a page whose window is closed closes with 1001")
def goes_away(t):
    t.elsewhere()
    t.browser.popup(t.origin, 360, 740)
    url = t.peer_url()
    t.run("""window.kept = new WebSocket(given[0]); await late(new Promise((resolve) => { kept.onopen = resolve; }), 'the opening')""", url)
    t.browser.back()
    t.same(t.peer_said(url, "closed"), '1001 "" clean: true')


@case("a page from another origin is refused, and let in by --allow-origin")
def origins(t):
    t.elsewhere()
    refused = ["error", 'close 1006 "" unclean']
    t.same(t.events(f"{t.scheme}://{t.host}/echo"), refused)
    server = t.serve("--allow-origin", t.origin)
    t.same(t.events(f"{t.scheme}://{server.host}/echo", "socket.close(1000)"), ["open", 'close 1000 "" clean'])
    t.elsewhere()  # another port: another origin
    t.same(t.events(f"{t.scheme}://{server.host}/echo"), refused)


@case("a certificate that nobody vouches for fails the connection with 1006, and no more is said", ("ws",))
def untrusted(t):
    t.elsewhere()
    server = t.serve("--tls-self-signed", "--allow-origin", t.origin)
    t.same(t.events(f"wss://{server.host}/echo"), ["error", 'close 1006 "" unclean'])


# Loopback addresses are "potentially trustworthy" (W3C Secure Contexts section 3.1), and no mixed content where they are: hence the other address.
@case("a page that came by https may not open ws (mixed content), and one that came by http may")
def mixed_content(t):
    address = t.away()
    t.elsewhere()
    came = []
    with socket.create_server((address, 0)) as listener:
        listener.settimeout(20)

        def accept():
            with contextlib.suppress(OSError):
                listener.accept()[0].close()
                came.append(address)

        waiting = threading.Thread(target=accept, daemon=True)
        waiting.start()
        t.same(t.events(f"ws://{address}:{listener.getsockname()[1]}/"), ["error", 'close 1006 "" unclean'])
        t.same(len(came), 1 if t.scheme == "ws" else 0)
        listener.shutdown(socket.SHUT_RDWR)
        waiting.join(5)


# --- what they share --------------------------------------------------------------------------------------------------------------


def conversation(t):
    """One of everything, for the screenshots."""
    t.fill("#text", "Hello from the browser 🐟")
    t.browser.click("#send")
    t.fill("#text", json.dumps({"run": 1, "river": "Fraser", "fish": [{"id": id, "weight": 2.5 + id / 10} for id in range(60)]}))
    t.browser.click("#send")
    t.fill("#hex", "de ad be ef")
    t.browser.click("#send-binary")
    t.send_file("sample.png", sample_png(180, 96))
    t.rows(".received", 4)
    t.fill("#code", "4000")
    t.fill("#reason", "lunch")
    t.browser.click("#close")
    t.state("CLOSED")
    t.browser.click("#connect")
    t.state("OPEN")
    t.rows('[data-event="open"]', 2)
    t.run("await $('#log img').decode()")
    t.fill("#hex", "de ag")
    t.browser.keys("#hex", "\ue007")


def sample_png(width, height):
    """A PNG with something to see in it."""
    def chunk(kind, data):
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))
    lines = b"".join(b"\0" + bytes(channel for x in range(width) for channel in (200 - y * 120 // height, 70 + x * 90 // width, 60 + y * 130 // height))
                     for y in range(height))
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)  # eight bits a channel, RGB
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")
