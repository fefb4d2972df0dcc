// Runs the scenarios one after the other, in a page or in Node, and reports each one's log.
//
// A scenario is [name, async (t) => {}]. It gets what is under test and what it needs to log it from `t`, and uses
// nothing else but what pages and Node both have: EventTarget, Event, AbortController, DOMException, Blob, buffers,
// TextEncoder, timers. See `tools` for what `t` has.

const LIMIT = 15_000; // milliseconds for one scenario
const QUIET = 25; // milliseconds after a scenario, in which nothing more may happen
const START = Date.now().toString(36); // so that no two runs share a connection's name

export const FILES = ['constructor', 'opening', 'refused', 'closing', 'closed', 'data', 'frames', 'buffered', 'handlers', 'listeners', 'idl', 'stream'];

// ---- Words for values

const TABLE = Uint32Array.from({ length: 256 }, (_, n) => {
  for (let bit = 0; bit < 8; bit += 1) n = n & 1 ? (n >>> 1) ^ 0xedb88320 : n >>> 1;
  return n;
});

function crc32(bytes) {
  let sum = -1;
  for (let at = 0; at < bytes.length; at += 1) sum = (sum >>> 8) ^ TABLE[(sum ^ bytes[at]) & 255];
  return (~sum >>> 0).toString(16).padStart(8, '0');
}

// UTF-16 as it is, so that an unpaired surrogate is seen.
function units(text) {
  const bytes = new Uint8Array(text.length * 2);
  for (let at = 0; at < text.length; at += 1) {
    const unit = text.charCodeAt(at);
    bytes[2 * at] = unit & 255;
    bytes[2 * at + 1] = unit >> 8;
  }
  return crc32(bytes);
}

const quoted = (text) => JSON.stringify(text).replace(/[\u0080-\uffff]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`);
const kind = (value) => Object.prototype.toString.call(value).slice(8, -1);

function show(value) {
  if (typeof value === 'string') return value.length > 64 ? `string of ${value.length} ${units(value)}` : quoted(value);
  if (typeof value === 'symbol') return value.toString();
  if (typeof value === 'function') return `function ${value.name}`;
  if (typeof value === 'bigint') return `${value}n`;
  if (value === null || typeof value !== 'object') return Object.is(value, -0) ? '-0' : String(value);
  if (Array.isArray(value)) return `[${value.map(show).join(', ')}]`;
  return kind(value);
}

function thrown(error) {
  if (error instanceof DOMException) return `${error.constructor.name} ${error.name} ${error.code}`;
  if (error instanceof Error) return error.constructor.name;
  return show(error);
}

// A message's data in words; a promise of them if it is a Blob.
function described(data) {
  if (typeof data === 'string') return `string ${data.length} ${data.length > 64 ? units(data) : quoted(data)}`;
  if (data instanceof ArrayBuffer) return `ArrayBuffer ${data.byteLength} ${crc32(new Uint8Array(data))}`;
  if (data instanceof Blob) return data.arrayBuffer().then((buffer) => `Blob ${data.size} ${crc32(new Uint8Array(buffer))} type=${quoted(data.type)}`);
  return show(data);
}

const states = ['CONNECTING', 'OPEN', 'CLOSING', 'CLOSED'];
const state = (socket) => `${states[socket.readyState] ?? socket.readyState} buffered=${socket.bufferedAmount}`;

// ---- What a scenario is given

function tools(engine, { api, base, ports, hooks }, number) {
  const lines = [];
  const sockets = [];
  let servers = 0;
  let over = false;
  const log = (line) => { if (!over) lines.push(line instanceof Promise ? line : String(line)); };
  const wait = (ms) => new Promise((resolve) => { setTimeout(resolve, ms); });
  const get = async (path, method = 'GET') => (await fetch(base + path, { method, cache: 'no-store' })).json();
  const host = new URL(base).host;

  const t = {
    ...api,
    api,
    host,
    base,
    refused: `127.0.0.1:${ports.refused}`,
    crc32,
    show,
    thrown,
    described,
    state,
    wait,

    // Adds a line; a promise's place is kept until the end.
    log,

    // Logs what a call returns or throws; returns it.
    attempt(label, call) {
      try {
        const value = call();
        log(`${label}: ${show(value)}`);
        return value;
      } catch (error) {
        log(`${label}: throws ${thrown(error)}`);
        return undefined;
      }
    },

    // A scripted server: `url` to connect to; `gate(name)` lets it go on; `seen()` is what it got, `request()` how it was asked.
    server(...steps) {
      servers += 1;
      const id = `${engine}-${START}-${number}-${servers}`;
      return {
        url: `ws://${host}/ws/${id}?${encodeURIComponent(JSON.stringify(steps))}`,
        gate: (name) => get(`/gate/${id}/${name}`, 'POST'),
        request: () => get(`/request/${id}`),
        async seen(label = 'server', words = String) {
          for (const line of await get(`/seen/${id}`)) log(`${label} got ${words(line)}`);
        },
      };
    },

    // Logs every event of a socket; `closed` and `opened` are promises, `messages(n)` is one that n messages have come.
    // All of them are fulfilled when the socket is closed. `messages` is 'logged', 'plain' (without what is buffered) or 'silent'.
    watch(socket, label = '', kind = 'logged') {
      sockets.push(socket);
      const prefix = label && `${label} `;
      const waiting = [];
      let count = 0;
      let done = false;
      const settle = () => { for (const one of [...waiting]) if (done || one.ready()) { waiting.splice(waiting.indexOf(one), 1); one.resolve(); } };
      const until = (ready) => new Promise((resolve) => { waiting.push({ ready, resolve }); settle(); });
      socket.addEventListener('open', () => { log(`${prefix}open ${state(socket)} protocol=${quoted(socket.protocol)} extensions=${quoted(socket.extensions)}`); settle(); });
      socket.addEventListener('message', (event) => {
        count += 1;
        const data = described(event.data);
        const end = `origin=${event.origin} ${kind === 'plain' ? states[socket.readyState] : state(socket)}`;
        if (kind !== 'silent') log(typeof data === 'string' ? `${prefix}message ${data} ${end}` : data.then((text) => `${prefix}message ${text} ${end}`));
        settle();
      });
      socket.addEventListener('error', () => log(`${prefix}error ${state(socket)}`));
      socket.addEventListener('close', (event) => {
        done = true;
        log(`${prefix}close ${event.code} ${quoted(event.reason)} ${event.wasClean ? 'clean' : 'unclean'} ${state(socket)}`);
        settle();
      });
      return { opened: until(() => socket.readyState !== 0), closed: until(() => false), messages: (n) => until(() => count >= n) };
    },

    // A socket on a scripted server, watched.
    connect(steps, { protocols, label, binaryType, messages } = {}) {
      const server = t.server(...steps);
      const socket = protocols === undefined ? new api.WebSocket(server.url) : new api.WebSocket(server.url, protocols);
      if (binaryType) socket.binaryType = binaryType;
      return { socket, server, ...t.watch(socket, label, messages) };
    },

    // The same, from the beginning to the end, with what the server got.
    async session(steps, options = {}) {
      const session = t.connect(steps, options);
      await session.closed;
      if (options.seen) await session.server.seen(options.label ? `${options.label} server` : 'server');
      return session;
    },
  };

  async function finish() {
    await wait(QUIET);
    for (const what of hooks.take()) log(`reported: ${thrown(what)}${what instanceof RangeError ? ` ${what.message}` : ''}`);
    over = true;
    for (const socket of sockets) if (socket.readyState < 2) socket.close();
    const texts = await Promise.all(lines);
    return texts.map((line) => line.replaceAll(host, 'SERVER').replaceAll(t.refused, 'REFUSED'));
  }
  return { t, finish };
}

// ---- The run

// Runs the scenarios whose name has a part that is in `wanted` (all if that is empty); reports each one, and at last null.
export async function run(engine, world, files, wanted) {
  const report = (value) => fetch(`${world.base}/report/${engine}`, { method: 'POST', body: JSON.stringify(value) });
  world.ports = await (await fetch(`${world.base}/ports`)).json();
  let number = 0;
  for (const { needs = [], scenarios } of files) {
    for (const [name, scenario] of scenarios) {
      number += 1;
      if (wanted.length > 0 && !wanted.some((part) => name.includes(part))) continue;
      const lacking = needs.filter((one) => world.api[one] === undefined);
      if (lacking.length > 0) {
        await report({ name, lacking });
        continue;
      }
      world.hooks.take();
      const { t, finish } = tools(engine, world, number);
      const began = performance.now();
      let timer;
      let problem = null;
      try {
        const late = new Promise((_, reject) => { timer = setTimeout(() => reject(new Error(`not over after ${LIMIT} ms`)), LIMIT); });
        await Promise.race([scenario(t), late]);
      } catch (error) {
        problem = `${error?.message ?? error}`;
      }
      clearTimeout(timer);
      const lines = await finish();
      await report({ name, lines, problem, milliseconds: Math.round(performance.now() - began) });
    }
  }
  await report(null);
}
