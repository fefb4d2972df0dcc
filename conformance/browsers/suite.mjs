// The browser suite's cases; `run` beside this file prepares and starts it. Every wait is for an event and has a limit.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import http from 'node:http';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { deflateSync } from 'node:zlib';

const { SOCKEYE, CLOSER, CHROMIUM, OUT } = process.env;
const { chromium } = createRequire(join(OUT, 'package.json'))('playwright-core');
const WAIT = 10_000; // for one event
const CASE = 30_000; // for one case
const SUITE = 240_000; // for all of them

const FLAGS = [
  '--no-sandbox', '--disable-dev-shm-usage', '--disable-background-networking', '--no-first-run',
  '--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost',
];

const HANDSHAKE = { Connection: 'Upgrade', Upgrade: 'websocket', 'Sec-WebSocket-Version': '13', 'Sec-WebSocket-Key': 'dGhlIHNhbXBsZSBub25jZQ==' };

// ---- Cases, in order. Each gets `t`: the browser, the running server, and what is to be undone afterwards.

const cases = [];
const check = (name, run) => cases.push({ name, run });

check('the page loads, without console errors and without violations of its content security policy', async (t) => {
  const { page, complaints } = await t.visit();
  assert.equal(await page.title(), 'Sockeye: a WebSocket echo');
  await state(page, 'OPEN');
  assert.deepEqual(await complaints(), []);
});

check('the page connects by itself, and says so', async (t) => {
  const { page } = await t.visit();
  await state(page, 'OPEN');
  assert.equal(await page.inputValue('#url'), `ws://${t.server.host}/echo`);
  await rows(page, '[data-event="open"]', 1);
  assert.equal(await page.isDisabled('#connect'), true);
  assert.equal(await page.isDisabled('#send'), false);
});

check('text comes back', async (t) => {
  const { page } = await t.open();
  await page.fill('#text', 'hello');
  await page.press('#text', 'Enter');
  const row = await rows(page, '.received[data-kind="text"]', 1);
  assert.equal(await row.locator('.body').innerText(), 'hello');
  assert.match(await row.locator('.rtt').innerText(), /^[\d.]+ ms$/);
  assert.equal(await page.inputValue('#text'), '');
});

check('text of several bytes a character comes back: accents, CJK, emoji, lines, U+FEFF, U+10FFFF', async (t) => {
  const { page } = await t.open();
  const texts = ['Grüße, añejo, ß', '紅鮭は海から川へ帰る', '🐟👩‍👩‍👧‍👦🇯🇵', 'one\ntwo\n\nfour', '\uFEFFmark\u{10FFFF}\u2028'];
  for (const text of texts) {
    await page.fill('#text', text);
    await page.click('#send');
  }
  const received = await rows(page, '.received[data-kind="text"]', texts.length);
  assert.deepEqual(await received.locator('.body > span').evaluateAll((all) => all.map((one) => one.textContent)), texts);
  assert.equal(await received.last().getAttribute('data-size'), String(Buffer.byteLength(texts.at(-1))));
  await page.evaluate(() => send('x' + '🐟'.repeat(300_000))); // far more than the log keeps
  const long = (await rows(page, '.received[data-kind="text"]', texts.length + 1)).last();
  assert.equal(await long.getAttribute('data-size'), '1200001');
  assert.match(await long.locator('.rtt').innerText(), /ms$/); // it came back as it was
  await long.getByRole('button', { name: 'Show the first 16.0 KiB' }).click();
  assert.equal(await long.locator('.body > span').textContent(), 'x' + '🐟'.repeat(4095));
});

check('text is shown as text, whatever markup it holds', async (t) => {
  const { page, complaints } = await t.open();
  const text = '<img src=x onerror="document.title=1"><script>document.title=2</script>&amp;';
  await page.fill('#text', text);
  await page.click('#send');
  const row = await rows(page, '.received[data-kind="text"]', 1);
  assert.equal(await row.locator('.body').innerText(), text);
  assert.equal(await page.locator('#log img, #log script').count(), 0);
  assert.deepEqual(await complaints(), []);
});

check('1 MiB of binary comes back, byte for byte', async (t) => {
  const { page } = await t.open();
  const differs = await page.evaluate((url) => new Promise((resolve, reject) => {
    const sent = new Uint8Array(1024 * 1024);
    for (let at = 0; at < sent.length; at += 65536) crypto.getRandomValues(sent.subarray(at, at + 65536));
    const socket = Object.assign(new WebSocket(url), { binaryType: 'arraybuffer' });
    socket.onopen = () => socket.send(sent);
    socket.onmessage = ({ data }) => {
      const came = new Uint8Array(data);
      socket.close();
      resolve(came.length === sent.length ? sent.findIndex((byte, at) => byte !== came[at]) : `length ${came.length}`);
    };
    socket.onclose = ({ code }) => reject(new Error(`closed with ${code}`));
  }), `ws://${t.server.host}/echo`);
  assert.equal(differs, -1);
});

check('1,000 compressed messages come back on one connection, and the page says what was negotiated', async (t) => {
  const { page } = await t.open();
  const result = await page.evaluate((url) => new Promise((resolve, reject) => {
    const text = (i) => JSON.stringify({ i, fish: Array.from({ length: i % 200 }, (_, n) => ({ n, weight: n * 0.1, name: `sockeye ${n % 7}` })) });
    const socket = new WebSocket(url);
    let sent = 0, came = 0;
    const more = () => { while (sent < 1000 && sent < came + 8) socket.send(text(sent++)); };
    socket.onopen = more;
    socket.onmessage = ({ data }) => {
      if (data !== text(came)) reject(new Error(`message ${came} is not what was sent`));
      came += 1;
      if (came === 1000) {
        resolve(socket.extensions);
        socket.close();
      } else {
        more();
      }
    };
    socket.onclose = ({ code }) => reject(new Error(`closed with ${code} after ${came} messages`));
  }), `ws://${t.server.host}/echo`);
  assert.match(result, /^permessage-deflate/);
  assert.match(await page.innerText('body'), /permessage-deflate/);
});

check('binary given in hex comes back', async (t) => {
  const { page } = await t.open();
  await page.fill('#hex', '0xDE 0xAD be:ef, 00');
  await page.press('#hex', 'Enter');
  const row = await rows(page, '.received[data-kind="binary"]', 1);
  assert.equal(await row.locator('.body').innerText(), 'de ad be ef 00');
  assert.equal(await row.getAttribute('data-size'), '5');
});

check('a picked image comes back and is shown', async (t) => {
  const { page, complaints } = await t.open();
  const png = samplePng(96, 64);
  await page.setInputFiles('#file', { name: 'sample.png', mimeType: 'image/png', buffer: png });
  await page.click('#send-file');
  const row = await rows(page, '.received[data-kind="binary"]', 1);
  assert.equal(await row.getAttribute('data-size'), String(png.length));
  const shown = await row.locator('img').evaluate(async (image) => {
    await image.decode();
    return [image.naturalWidth, image.naturalHeight, new URL(image.src).protocol];
  });
  assert.deepEqual(shown, [96, 64, 'blob:']);
  assert.deepEqual(await complaints(), []);
});

check('a file of 8 MiB comes back', async (t) => {
  const { page } = await t.open();
  const buffer = Buffer.alloc(8 * 1024 * 1024, 'sockeye ');
  await page.setInputFiles('#file', { name: 'big.bin', mimeType: 'application/octet-stream', buffer });
  await page.click('#send-file');
  const row = await rows(page, '.received[data-kind="binary"]', 1);
  assert.equal(await row.getAttribute('data-size'), String(buffer.length));
  await page.locator('#buffered').waitFor({ state: 'hidden', timeout: WAIT });
});

check('a message over the limit of 16 MiB is refused with 1009, which the page sees though it is still sending', async (t) => {
  const { page } = await t.open();
  await page.setInputFiles('#file', { name: 'huge.bin', mimeType: 'application/octet-stream', buffer: Buffer.alloc(32 * 1024 * 1024) });
  await page.click('#send-file');
  assert.match(await (await rows(page, '[data-event="close"]', 1)).locator('.body').innerText(), /^1009 message too big,/);
  assert.equal(await page.locator('#log .received').count(), 0);
});

check('wrong input is told beside its field, and nothing is sent', async (t) => {
  const { page } = await t.open();
  const wrong = [
    ['#hex', 'de ag', '#send-binary', /“g” is no hex digit/], ['#hex', 'dea', '#send-binary', /3 digits/],
    ['#code', '1001', '#close', /1000 or 3000 to 4999/], ['#reason', 'é'.repeat(62), '#close', /at most 123 bytes/],
  ];
  for (const [field, value, button, message] of wrong) {
    const before = await page.inputValue(field);
    await page.fill(field, value);
    await page.click(button);
    assert.match(await page.locator(`${field}-problem`).innerText(), message);
    await page.fill(field, before);
    assert.equal(await page.isVisible(`${field}-problem`), false);
  }
  await state(page, 'OPEN');
  assert.equal(await page.locator('#log [data-event="message"]').count(), 0);
  await page.click('#close');
  await state(page, 'CLOSED');
  for (const [field, value, message] of [
    ['#url', 'ftp://127.0.0.1/', /scheme/], ['#url', '/echo#top', /fragment/], ['#url', 'ws://example.org/', /only/], ['#url', 'ws://[', /not a URL/],
    ['#protocols', 'chat, super chat', /“super chat” is no subprotocol/], ['#protocols', 'chat, chat', /only once/],
  ]) {
    const before = await page.inputValue(field);
    await page.fill(field, value);
    await page.click('#connect');
    assert.match(await page.locator(`${field}-problem`).innerText(), message);
    await page.fill(field, before);
  }
  assert.equal(await page.locator('#log [data-event="connect"]').count(), 1);
});

check('the page closes with a code and a reason, cleanly, and connects again with one click', async (t) => {
  const { page } = await t.open();
  await page.fill('#code', '4000');
  await page.fill('#reason', 'done — fertig');
  await page.click('#close');
  await state(page, 'CLOSED');
  const row = await rows(page, '[data-event="close"]', 1);
  // RFC 6455 section 5.5.1: "When sending a Close frame in response, the endpoint typically echos the status code it received."
  // Of the reason it says nothing.
  assert.match(await row.locator('.body').innerText(), /^4000 private use, .*, clean$/);
  assert.equal(await page.isDisabled('#send'), true);
  await page.click('#connect');
  await state(page, 'OPEN');
});

check('a close without a code is answered without one (1005), cleanly', async (t) => {
  const { page } = await t.open();
  await page.fill('#code', '');
  await page.click('#close');
  await state(page, 'CLOSED');
  assert.match(await (await rows(page, '[data-event="close"]', 1)).locator('.body').innerText(), /^1005 no status received, no reason, clean$/);
});

// WHATWG WebSockets, "establish a WebSocket connection" (Chromium does so; Firefox 153 opens the connection all the same): "If protocols is not the empty list and extracting header list values
// given `Sec-WebSocket-Protocol` [...] results in null, failure, or the empty byte sequence, then fail the WebSocket connection."
check('offered subprotocols that the server does not speak fail the connection, and the page says so', async (t) => {
  const { page } = await t.open();
  await page.click('#close');
  await state(page, 'CLOSED');
  await page.fill('#protocols', 'chat, superchat');
  await page.click('#connect');
  await rows(page, '[data-event="error"]', 1);
  assert.match(await (await rows(page, '[data-event="close"]', 2)).last().locator('.body').innerText(), /^1006 abnormal closure, no reason, not clean$/);
  await state(page, 'CLOSED');
});

check("a server's close is seen with its code and reason, cleanly", async (t) => {
  const closer = await t.start(CLOSER, []);
  const page = await t.elsewhere();
  assert.deepEqual(await socketEvents(page, `ws://${closer.host}/`), ['open', 'close 4001 "enough" clean']);
});

check('an interrupted server closes with 1001 and exits with 0', async (t) => {
  const server = await t.start(SOCKEYE, ['serve', '--listen', '127.0.0.1:0']);
  const { page } = await t.open({ server });
  server.child.kill('SIGINT');
  await state(page, 'CLOSED');
  assert.match(await (await rows(page, '[data-event="close"]', 1)).locator('.body').innerText(), /^1001 going away, .*, clean$/);
  assert.equal(await within(server.exit, 'the end of the server'), 0);
});

check('a page from another origin is refused', async (t) => {
  const page = await t.elsewhere();
  assert.deepEqual(await socketEvents(page, `ws://${t.server.host}/echo`), ['error', 'close 1006 "" unclean']);
  const { status } = await get(`http://${t.server.host}/echo`, { ...HANDSHAKE, Origin: new URL(page.url()).origin });
  assert.equal(status, 403);
});

check('a page from another origin is let in by --allow-origin', async (t) => {
  const page = await t.elsewhere();
  const server = await t.start(SOCKEYE, ['serve', '--listen', '127.0.0.1:0', '--allow-origin', new URL(page.url()).origin]);
  assert.deepEqual(await socketEvents(page, `ws://${server.host}/echo`, 'close'), ['open', 'close 1000 "" clean']);
  const third = await t.elsewhere();
  assert.deepEqual(await socketEvents(third, `ws://${server.host}/echo`), ['error', 'close 1006 "" unclean']);
});

// What a page does whose name was made to mean 127.0.0.1: its origin and the Host it asks for are the same.
check('under a name that is not its own the server shows no page and opens no WebSocket', async (t) => {
  const names = { Host: 'rebound.example', Origin: 'http://rebound.example' };
  assert.equal((await get(`http://${t.server.host}/`, names)).status, 421);
  assert.equal((await get(`http://${t.server.host}/echo`, { ...HANDSHAKE, ...names })).status, 421);
});

check('a plain GET of /echo is answered with 426 and how to connect', async (t) => {
  const { status, headers, body } = await get(`http://${t.server.host}/echo`);
  assert.equal(status, 426);
  assert.equal(headers.upgrade?.toLowerCase(), 'websocket');
  assert.match(body, /sockeye connect/);
});

check('an unknown path is answered with 404 and what there is', async (t) => {
  const { status, body } = await get(`http://${t.server.host}/nowhere`);
  assert.equal(status, 404);
  assert.match(body, /\/echo/);
});

check('the log is filtered, saved as NDJSON, copied, paused and cleared', async (t) => {
  const { page, complaints } = await t.open();
  await page.fill('#text', 'alpha');
  await page.click('#send');
  await rows(page, '.received', 1);
  await page.check('#filter [value="received"]', { force: true });
  assert.deepEqual(await visibleRows(page), ['received message']);
  await page.fill('#search', 'beta');
  assert.deepEqual(await visibleRows(page), []);
  await page.fill('#search', 'ALPHA');
  await page.check('#filter [value="all"]', { force: true });
  assert.deepEqual(await visibleRows(page), ['sent message', 'received message']);
  await page.fill('#search', '');

  const downloading = page.waitForEvent('download', { timeout: WAIT });
  await page.click('#save');
  const records = (await readFile(await (await downloading).path(), 'utf8')).trim().split('\n').map((line) => JSON.parse(line));
  assert.deepEqual(records.map(({ seq, event, dir }) => [seq, event, dir]), [[1, 'connect', undefined], [2, 'open', undefined], [3, 'message', 'out'], [4, 'message', 'in']]);
  assert.equal(records[3].text, 'alpha');
  assert.match(records[3].time, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/);

  await page.context().grantPermissions(['clipboard-read', 'clipboard-write']);
  await page.click('#copy');
  await page.getByText('Copied 4 rows.').waitFor({ timeout: WAIT });
  const copied = (await page.evaluate(() => navigator.clipboard.readText())).split('\n');
  assert.match(copied[3], /^\d\d:\d\d:\d\d\.\d{3} ↓ text 5 B [\d.]+ ms  alpha$/);

  await page.click('#pause');
  await page.fill('#text', 'gamma');
  await page.click('#send');
  await page.getByText('Paused, 2 rows held back.').waitFor({ timeout: WAIT });
  assert.equal((await visibleRows(page)).length, 4);
  await page.click('#pause');
  await rows(page, '.received', 2);
  await page.click('#clear');
  assert.equal(await page.locator('#log li').count(), 0);
  assert.deepEqual(await complaints(), []);
});

check('of 1,500 echoes the log keeps the latest 1,000 rows, and says so', async (t) => {
  const { page } = await t.open();
  await page.evaluate(() => { for (let count = 1; count <= 1500; count += 1) send(`number ${count}`); });
  await page.locator('#log .received .body', { hasText: /^number 1500$/ }).waitFor({ timeout: WAIT });
  assert.equal(await page.locator('#log li').count(), 1000);
  assert.match(await page.locator('#note').innerText(), /The latest 1,000 rows are kept, 2,002 older dropped/);
  assert.match(await page.locator('#received').innerText(), /^1,500 messages/);
});

check('at 360 by 740 pixels nothing scrolls sideways', async (t) => {
  const { page } = await t.open({ viewport: { width: 360, height: 740 }, deviceScaleFactor: 2, isMobile: true, hasTouch: true });
  await conversation(page);
  const wide = await page.evaluate(() => {
    const outside = [...document.querySelectorAll('body *')].filter((one) => !one.closest('.visually-hidden') && one.getBoundingClientRect().right > innerWidth + 0.5);
    return [document.documentElement.scrollWidth, ...outside.map((one) => one.outerHTML.slice(0, 80))];
  });
  assert.deepEqual(wide, [360]);
  const below = await page.evaluate(() => document.documentElement.scrollHeight - document.querySelector('main').getBoundingClientRect().bottom - scrollY);
  assert.ok(below < 20, `${below} empty pixels below the page`);
  await page.screenshot({ path: join(OUT, 'narrow.png'), fullPage: true });
});

for (const scheme of ['light', 'dark']) {
  cases.push({
    name: `the page is drawn in ${scheme} colours, with contrast of 4.5 or more everywhere`,
    run: async (t) => {
      const { page, complaints } = await t.open({ colorScheme: scheme });
      await conversation(page);
      const background = await page.evaluate(() => getComputedStyle(document.body).backgroundColor.match(/\d+/g).map(Number));
      assert.equal(background.every((channel) => channel > 128), scheme === 'light', `background ${background}`);
      await page.screenshot({ path: join(OUT, `desktop-${scheme}.png`) });
      assert.deepEqual(await page.evaluate(poorContrast), []);
      assert.deepEqual(await complaints(), []);
    },
  });
}

check('the page says what was agreed on, in words, and how long the opening took', async (t) => {
  const { page, complaints } = await t.open();
  const fact = (id) => page.locator(`#${id}`).innerText();
  assert.equal(await fact('address'), `ws://${t.server.host}/echo`);
  assert.match(await fact('opening'), /^[\d.]+ ms$/);
  assert.equal(await fact('protocol'), 'none');
  assert.match(await fact('extensions'), /^permessage-deflate/);
  assert.match(await fact('compression'), /^both ways: each message by itself \(no context takeover\), window of 32 KiB$/);
  assert.equal(await fact('amount'), '0 B');
  assert.equal(await fact('closed'), '–');
  const words = (extensions) => page.evaluate((extensions) => compressionOf(extensions), extensions);
  assert.equal(await words('permessage-deflate; server_max_window_bits=10; client_no_context_takeover'),
    'sent: each message by itself (no context takeover), window of 32 KiB\nreceived: with earlier messages (context takeover), window of 1 KiB');
  assert.equal(await words('x-other, permessage-deflate;client_max_window_bits="8"'),
    'sent: with earlier messages (context takeover), window of 256 B\nreceived: with earlier messages (context takeover), window of 32 KiB');
  assert.equal(await words('x-other'), 'none');
  const plain = await t.start(SOCKEYE, ['serve', '--listen', '127.0.0.1:0', '--no-deflate']);
  const other = await t.open({ server: plain });
  assert.equal(await other.page.locator('#compression').innerText(), 'none');
  assert.deepEqual(await complaints(), []);
});

check('the page says who has closed, and how', async (t) => {
  const server = await t.start(SOCKEYE, ['serve', '--listen', '127.0.0.1:0']);
  const { page } = await t.open({ server });
  const closed = async () => { await state(page, 'CLOSED'); return page.locator('#closed').innerText(); };
  await page.click('#close');
  assert.equal(await closed(), 'this page\n1000 normal closure, no reason, clean');
  assert.match(await page.innerText('#extensions'), /^permessage-deflate/, 'what was agreed on can still be read');
  await page.click('#connect');
  await state(page, 'OPEN');
  assert.equal(await page.innerText('#closed'), '–');
  server.child.kill('SIGKILL');
  assert.match(await closed(), /^nobody: the connection was lost, or the browser gave it up\n1006 .*, not clean$/);
  await page.click('#connect');
  await rows(page, '[data-event="close"]', 3);
  assert.match(await closed(), /^nobody: it did not open\n1006 /);
  assert.equal(await page.innerText('#opening'), '–');
  const last = await t.start(SOCKEYE, ['serve', '--listen', '127.0.0.1:0']);
  const other = await t.open({ server: last });
  last.child.kill('SIGINT');
  await state(other.page, 'CLOSED');
  assert.match(await other.page.innerText('#closed'), /^the server\n1001 going away, .*, clean$/);
});

check('a page of --root loads what is beside it and opens a WebSocket', async (t) => {
  const root = await t.directory({
    'index.html': '<!doctype html><title>mine</title><link rel="stylesheet" href="style.css"><script type="module" src="app.mjs"></script>',
    'style.css': 'body { color: rgb(1, 2, 3) }',
    'app.mjs': `const ws = new WebSocket(location.origin.replace('http', 'ws') + '/echo');
      ws.onopen = () => ws.send('紅鮭'); ws.onmessage = ({ data }) => { document.title = data; ws.close(); };`,
  });
  const server = await t.start(SOCKEYE, ['serve', '--listen', '127.0.0.1:0', '--root', root]);
  const { page, complaints } = await t.visit({ server });
  await page.waitForFunction(() => document.title === '紅鮭', undefined, { timeout: WAIT });
  assert.equal(await page.evaluate(() => getComputedStyle(document.body).color), 'rgb(1, 2, 3)');
  // Asked for again it has not changed, which scripts see as the same 200.
  const again = await page.evaluate(async () => { const answer = await fetch('style.css'); return [answer.status, await answer.text()]; });
  assert.deepEqual(again, [200, 'body { color: rgb(1, 2, 3) }']);
  assert.deepEqual((await complaints()).filter((text) => !/favicon/.test(text) && !/404/.test(text)), []);
});

check('a page of an origin that is let in reads probes, metrics with a token, and files; another reads nothing', async (t) => {
  const root = await t.directory({ 'data.json': '{"fish": 1}', token: 'T0ken' });
  const allowed = await t.elsewhere();
  const flags = ['--allow-origin', new URL(allowed.url()).origin, '--metrics-token-file', join(root, 'token'), '--root', root];
  const server = await t.start(SOCKEYE, ['serve', '--listen', '127.0.0.1:0', ...flags]);
  const read = (page, path, options) => page.evaluate(async ([url, options]) => {
    try { const answer = await fetch(url, options); return `${answer.status} ${(await answer.text()).slice(0, 11)}`; } catch (error) { return error.name; }
  }, [`http://${server.host}${path}`, options]);
  const bearer = { headers: { authorization: 'Bearer T0ken' } };
  assert.equal(await read(allowed, '/healthz'), '200 ok\n');
  assert.equal(await read(allowed, '/readyz'), '200 ok\n');
  assert.equal(await read(allowed, '/data.json'), '200 {"fish": 1}');
  assert.match(await read(allowed, '/metrics'), /^401 /);
  assert.match(await read(allowed, '/metrics', bearer), /^200 # HELP/);
  assert.equal(await read(allowed, '/healthz', { credentials: 'include' }), 'TypeError');
  assert.equal(await read(allowed, '/healthz', { method: 'POST' }), '405 The method ');
  const other = await t.elsewhere();
  for (const [path, options] of [['/healthz'], ['/data.json'], ['/metrics', bearer]]) assert.equal(await read(other, path, options), 'TypeError', path);
});

// ---- What the cases share

const within = (promise, what, limit = WAIT) => {
  let timer;
  const late = new Promise((_, reject) => { timer = setTimeout(() => reject(new Error(`waited ${limit} ms for ${what}`)), limit); });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
};

// Waits until the page shows this state.
const state = (page, name) => page.locator(`#state[data-state="${name}"]`).waitFor({ timeout: WAIT });

// Waits until the log has this many rows of a kind, and gives them.
async function rows(page, selector, count) {
  const found = page.locator(`#log li${selector}`);
  await found.nth(count - 1).waitFor({ timeout: WAIT });
  assert.equal(await found.count(), count, `rows ${selector}`);
  return found;
}

const visibleRows = (page) => page.locator('#log li:visible').evaluateAll((all) => all.map((row) => `${row.className} ${row.dataset.event}`));

// One of everything, for the screenshots.
async function conversation(page) {
  await page.fill('#text', 'Hello from the browser 🐟');
  await page.click('#send');
  await page.fill('#text', JSON.stringify({ run: 1, river: 'Fraser', fish: Array.from({ length: 60 }, (_, id) => ({ id, weight: 2.5 + id / 10 })) }));
  await page.click('#send');
  await page.fill('#hex', 'de ad be ef');
  await page.click('#send-binary');
  await page.setInputFiles('#file', { name: 'sample.png', mimeType: 'image/png', buffer: samplePng(180, 96) });
  await page.click('#send-file');
  await rows(page, '.received', 4);
  await page.fill('#code', '4000');
  await page.fill('#reason', 'lunch');
  await page.click('#close');
  await state(page, 'CLOSED');
  await page.fill('#protocols', 'chat');
  await page.click('#connect');
  await rows(page, '[data-event="close"]', 2);
  await page.fill('#protocols', '');
  await page.fill('#code', '1000');
  await page.fill('#reason', '');
  await page.click('#connect');
  await state(page, 'OPEN');
  await rows(page, '[data-event="open"]', 2);
  await page.locator('#log img').evaluate((image) => image.decode());
  await page.fill('#hex', 'de ag');
  await page.press('#hex', 'Enter');
}

// What a WebSocket of the page's own tells, until it is closed; `then` closes it once open.
const socketEvents = (page, url, then = '') => within(page.evaluate(([url, then]) => new Promise((resolve) => {
  const seen = [];
  const socket = new WebSocket(url);
  socket.onopen = () => { seen.push('open'); if (then === 'close') socket.close(1000); };
  socket.onerror = () => seen.push('error');
  socket.onclose = ({ code, reason, wasClean }) => resolve([...seen, `close ${code} ${JSON.stringify(reason)} ${wasClean ? 'clean' : 'unclean'}`]);
}), [url, then]), `the close of ${url}`);

const get = (url, headers = {}) => within(new Promise((resolve, reject) => {
  http.get(url, { headers, agent: false }, async (response) => {
    let body = '';
    for await (const chunk of response.setEncoding('utf8')) body += chunk;
    resolve({ status: response.statusCode, headers: response.headers, body });
  }).on('error', reject).on('upgrade', (response, socket) => { socket.destroy(); resolve({ status: response.statusCode, headers: response.headers, body: '' }); });
}), `the answer to GET ${url}`);

// Runs in the page: the texts that stand out from their background by less than WCAG AA asks for. Disabled controls are exempt.
function poorContrast() {
  const channels = (colour) => colour.match(/[\d.]+/g).map(Number);
  const luminance = (rgb) => rgb.slice(0, 3).map((value) => value / 255).map((value) => (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4))
    .reduce((sum, value, at) => sum + value * [0.2126, 0.7152, 0.0722][at], 0);
  const behind = (element) => {
    for (let one = element; one; one = one.parentElement) {
      const colour = channels(getComputedStyle(one).backgroundColor);
      if (colour[3] !== 0) return colour;
    }
    return [255, 255, 255];
  };
  return [...document.querySelectorAll('body *')]
    .filter((one) => [...one.childNodes].some((node) => node.nodeType === Node.TEXT_NODE && node.data.trim()) && one.checkVisibility() && !one.disabled && one.tagName !== 'SCRIPT')
    .map((one) => {
      const [low, high] = [luminance(channels(getComputedStyle(one).color)), luminance(behind(one))].sort((a, b) => a - b);
      return [(high + 0.05) / (low + 0.05), one.outerHTML.slice(0, 100)];
    })
    .filter(([ratio]) => ratio < 4.5);
}

// A PNG with something to see in it.
function samplePng(width, height) {
  const crc32 = (bytes) => ~bytes.reduce((sum, byte) => {
    let rest = sum ^ byte;
    for (let bit = 0; bit < 8; bit += 1) rest = (rest >>> 1) ^ (rest & 1 ? 0xedb88320 : 0);
    return rest;
  }, -1) >>> 0;
  const chunk = (type, data) => {
    const body = Buffer.concat([Buffer.from(type), data]);
    const [length, sum] = [Buffer.alloc(4), Buffer.alloc(4)];
    length.writeUInt32BE(data.length);
    sum.writeUInt32BE(crc32(body));
    return Buffer.concat([length, body, sum]);
  };
  const head = Buffer.alloc(13);
  head.writeUInt32BE(width, 0);
  head.writeUInt32BE(height, 4);
  head.set([8, 2], 8); // eight bits a channel, RGB
  const lines = Array.from({ length: height }, (_, y) => Buffer.from([0, ...Array.from({ length: width }, (_, x) => [200 - (y * 120) / height, 70 + (x * 90) / width, 60 + (y * 130) / height]).flat()]));
  return Buffer.concat([Buffer.from('\x89PNG\r\n\x1a\n', 'latin1'), chunk('IHDR', head), chunk('IDAT', deflateSync(Buffer.concat(lines))), chunk('IEND', Buffer.alloc(0))]);
}

// ---- The run

const children = new Set();
process.on('exit', () => { for (const child of children) child.kill('SIGKILL'); });

// Starts a program that prints where it listens.
async function start(program, args) {
  const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  children.add(child);
  const exit = new Promise((resolve) => {
    child.once('error', (error) => resolve(error.message));
    child.once('exit', (code, signal) => resolve(signal ?? code));
  }).finally(() => children.delete(child));
  const lines = createInterface({ input: child.stdout });
  const listening = new Promise((resolve) => lines.on('line', (line) => { const found = line.match(/^listening on http:\/\/(\S+?)\/?$/); if (found) resolve(found[1]); }));
  const early = exit.then((how) => { throw new Error(`${program} ended with ${how}`); });
  early.catch(() => {});
  const host = await within(Promise.race([listening, early]), `${program} to listen`);
  const stop = async () => { if (children.has(child)) { child.kill('SIGKILL'); await exit; } };
  return { child, host, exit, stop };
}

// A page that is nothing but an origin.
async function otherOrigin() {
  const server = http.createServer((_, response) => response.writeHead(200, { 'content-type': 'text/html' }).end('<!doctype html><title>elsewhere</title>'));
  await once(server.listen(0, '127.0.0.1'), 'listening');
  return { url: `http://127.0.0.1:${server.address().port}/`, stop: () => { server.close(); server.closeAllConnections(); } };
}

// What a case is given; `undo` is run after it, however it ended.
function tools(browser, server) {
  const undo = [];
  const newPage = async (options) => {
    const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, ...options });
    undo.push(() => context.close());
    return context.newPage();
  };
  const t = {
    server,
    undo,
    async start(...command) {
      const started = await start(...command);
      undo.push(started.stop);
      return started;
    },
    // A directory with these files.
    async directory(files) {
      const path = await mkdtemp(join(tmpdir(), 'sockeye-browsers-'));
      undo.push(() => rm(path, { recursive: true }));
      for (const [name, content] of Object.entries(files)) await writeFile(join(path, name), content);
      return path;
    },
    // The page of `sockeye serve`, in a browser profile of its own.
    async visit({ server: from = server, ...options } = {}) {
      const page = await newPage(options);
      const seen = [];
      page.on('console', (message) => { if (['error', 'warning'].includes(message.type())) seen.push(message.text()); });
      page.on('pageerror', (error) => seen.push(String(error)));
      await page.addInitScript(() => {
        globalThis.violations = [];
        document.addEventListener('securitypolicyviolation', ({ violatedDirective, blockedURI }) => violations.push(`${violatedDirective} ${blockedURI}`));
      });
      await page.goto(`http://${from.host}/`, { timeout: WAIT });
      // A failed opening handshake is told on the console by the browser itself: cases that ask for one expect it.
      const complaints = async () => [...seen.filter((text) => !/WebSocket connection to .* failed/.test(text)), ...await page.evaluate(() => violations)];
      return { page, complaints };
    },
    async open(options) {
      const visited = await t.visit(options);
      await state(visited.page, 'OPEN');
      await rows(visited.page, '[data-event="open"]', 1);
      return visited;
    },
    async elsewhere() {
      const other = await otherOrigin();
      undo.push(other.stop);
      const page = await newPage();
      await page.goto(other.url, { timeout: WAIT });
      return page;
    },
  };
  return t;
}

async function main() {
  const wanted = cases.filter(({ name }) => process.argv.slice(2).every((part) => name.includes(part)));
  const results = { passed: 0, failed: 0 };
  const finish = (code) => {
    const missing = wanted.length - results.passed - results.failed; // a case that did not run is a failure
    console.log(`${results.passed} passed, ${results.failed + missing} failed, 0 skipped`);
    process.exit(code || (results.failed + missing > 0 || results.passed === 0 ? 1 : 0));
  };
  setTimeout(() => { console.log(`not ended after ${SUITE} ms`); finish(1); }, SUITE).unref();
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.once(signal, () => finish(1));

  let browser;
  let server;
  try {
    browser = await chromium.launch({ executablePath: CHROMIUM, args: FLAGS, timeout: 30_000, handleSIGINT: false, handleSIGTERM: false, handleSIGHUP: false });
    server = await start(SOCKEYE, ['serve', '--listen', '127.0.0.1:0']);
    console.log(`Chromium ${browser.version()}, page at http://${server.host}/`);
    for (const { name, run } of wanted) {
      const t = tools(browser, server);
      const began = performance.now();
      try {
        await within(run(t), 'the case to end', CASE);
        results.passed += 1;
        console.log(`ok      ${name} (${Math.round(performance.now() - began)} ms)`);
      } catch (error) {
        results.failed += 1;
        console.log(`FAILED  ${name}\n${String(error.stack ?? error).replace(/^/gm, '        ')}`);
      } finally {
        for (const step of t.undo.reverse()) await within(Promise.resolve(step()), 'the clean-up').catch((error) => console.log(`        ${error.message}`));
      }
    }
  } catch (error) {
    console.log(String(error.stack ?? error));
  } finally {
    await within(browser?.close() ?? Promise.resolve(), 'the browser to close').catch(() => {});
    await server?.stop();
  }
  finish(0);
}

await main();
