// WebSocketStream and WebSocketError: WHATWG WebSockets, "The WebSocketStream interface".
export const needs = ['WebSocketStream', 'WebSocketError'];

const ONE = [['accept'], ['text', 'one'], ['binary', 4], ['close', 1000, 'done'], ['closed']];

// A promise's end in words.
async function settled(t, label, promise, words = t.show) {
  try {
    t.log(`${label}: ${words(await promise)}`);
  } catch (error) {
    t.log(`${label}: rejected with ${failure(t, error)}`);
  }
}

const chunk = (t, value) => (typeof value === 'string' ? t.described(value) : `${t.show(value)} ${value.byteLength} ${t.crc32(new Uint8Array(value.buffer ?? value))}`);
const failure = (t, error) => (error instanceof t.WebSocketError ? `WebSocketError ${error.name} ${t.show(error.closeCode)} ${t.show(error.reason)}` : t.thrown(error));
const opening = (t) => (value) => `protocol=${t.show(value.protocol)} extensions=${t.show(value.extensions)} ${t.show(value.readable)} ${t.show(value.writable)} ${Object.keys(value).join(' ')}`;
const ending = (t) => (value) => `closeCode=${t.show(value.closeCode)} reason=${t.show(value.reason)} ${Object.keys(value).join(' ')}`;

async function readAll(t, readable) {
  const reader = readable.getReader();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      t.log(`read ${chunk(t, value)}`);
    }
    t.log('read to the end');
  } catch (error) {
    t.log(`read: ${failure(t, error)}`);
  }
}

// A stream that is open, and what it is made of.
async function open(t, steps, options) {
  const server = t.server(...steps);
  const stream = new t.WebSocketStream(server.url, options);
  const { readable, writable } = await stream.opened;
  return { server, stream, readable, writable };
}

export const scenarios = [
  ['stream: opened, read to the end, closed', async (t) => {
    const server = t.server(...ONE);
    const stream = new t.WebSocketStream(server.url);
    await settled(t, 'opened', stream.opened, opening(t));
    await readAll(t, (await stream.opened).readable);
    await settled(t, 'closed', stream.closed, ending(t));
    await server.seen();
  }],

  ['stream: write and read', async (t) => {
    const { server, stream, readable, writable } = await open(t, [['accept'], ['echo']]);
    const writer = writable.getWriter();
    const reader = readable.getReader();
    for (const value of ['text', '\ud800', '', new Uint8Array([1, 2, 3]).subarray(1), new ArrayBuffer(3), new DataView(new ArrayBuffer(4), 1), 5, null]) {
      await settled(t, `write ${t.show(value)}`, writer.write(value));
      const { value: came } = await reader.read();
      t.log(`read ${chunk(t, came)}`);
    }
    stream.close();
    await settled(t, 'closed', stream.closed, ending(t));
    await server.seen();
  }],

  ['stream: URLs and protocols that are not valid', async (t) => {
    for (const [label, ...values] of [['none'], ['bad', 'bad:'], ['a fragment', `ws://${t.host}/#x`], ['no token', `ws://${t.host}/echo`, { protocols: ['a b'] }], ['twice', `ws://${t.host}/echo`, { protocols: ['a', 'a'] }], ['a string', `ws://${t.host}/echo`, { protocols: 'a' }], ['a signal that is none', `ws://${t.host}/echo`, { signal: {} }], ['options that are none', `ws://${t.host}/echo`, 5]]) {
      t.attempt(label, () => new t.WebSocketStream(...values));
    }
    t.attempt('without new', () => t.WebSocketStream(`ws://${t.host}/echo`));
  }],

  ['stream: url', async (t) => {
    const { stream } = await open(t, [['accept'], ['echo']]);
    t.log(stream.url.startsWith(`ws://${t.host}/ws/`));
    const other = new t.WebSocketStream(`http://${t.host}/a/../echo`);
    t.log(other.url);
    for (const one of [stream, other]) {
      await one.opened;
      one.close();
      await settled(t, 'closed', one.closed, ending(t));
    }
  }],

  ['stream: a subprotocol', async (t) => {
    const server = t.server(['accept', { headers: [['Sec-WebSocket-Protocol', 'b']] }], ['answer']);
    const stream = new t.WebSocketStream(server.url, { protocols: ['a', 'b'] });
    await settled(t, 'opened', stream.opened, opening(t));
    stream.close();
    await settled(t, 'closed', stream.closed, ending(t));
  }],

  ['stream: refused', async (t) => {
    const server = t.server(['respond', 'HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n'], ['sleep', 30]);
    const stream = new t.WebSocketStream(server.url);
    await Promise.all([settled(t, 'opened', stream.opened, opening(t)), settled(t, 'closed', stream.closed, ending(t))]);
  }],

  ['stream: aborted while connecting', async (t) => {
    for (const reason of [undefined, new RangeError('mine'), 'a string']) {
      const controller = new AbortController();
      const stream = new t.WebSocketStream(t.server(['eof']).url, { signal: controller.signal });
      setTimeout(() => controller.abort(reason), 30);
      await Promise.all([settled(t, 'opened', stream.opened, opening(t)), settled(t, 'closed', stream.closed, ending(t))]);
    }
  }],

  ['stream: a signal that is aborted already', async (t) => {
    const stream = new t.WebSocketStream(t.server(['accept'], ['answer']).url, { signal: AbortSignal.abort() });
    await Promise.all([settled(t, 'opened', stream.opened, opening(t)), settled(t, 'closed', stream.closed, ending(t))]);
  }],

  ['stream: aborted when open, which changes nothing', async (t) => {
    const controller = new AbortController();
    const { stream, readable } = await open(t, ONE, { signal: controller.signal });
    controller.abort();
    await readAll(t, readable);
    await settled(t, 'closed', stream.closed, ending(t));
  }],

  ['stream: close while connecting', async (t) => {
    const stream = new t.WebSocketStream(t.server(['eof']).url);
    t.attempt('close', () => stream.close());
    await Promise.all([settled(t, 'opened', stream.opened, opening(t)), settled(t, 'closed', stream.closed, ending(t))]);
  }],

  ['stream: close with codes and reasons', async (t) => {
    for (const info of [undefined, {}, { closeCode: 1000 }, { closeCode: 4999, reason: 'x'.repeat(123) }, { reason: 'only' }, { closeCode: 3000, reason: '' }]) {
      const { server, stream } = await open(t, [['accept'], ['answer']]);
      t.attempt(`close ${info && Object.keys(info).join(' ')}`, () => stream.close(info));
      await settled(t, 'closed', stream.closed, ending(t));
      await server.seen();
    }
  }],

  ['stream: close with what is not allowed', async (t) => {
    const { stream } = await open(t, [['accept'], ['answer']]);
    for (const info of [{ closeCode: 1001 }, { closeCode: 0 }, { closeCode: 5000 }, { closeCode: 65536 }, { closeCode: -1 }, { closeCode: 1000, reason: 'x'.repeat(124) }, { reason: 'x'.repeat(124) }, 5]) {
      t.attempt(`close ${t.show(Object.values(info))}`, () => stream.close(info));
    }
    stream.close();
    await settled(t, 'closed', stream.closed, ending(t));
  }],

  ['stream: the writer closes', async (t) => {
    const { server, stream, writable, readable } = await open(t, [['accept'], ['answer']]);
    const writer = writable.getWriter();
    writer.write('last');
    await settled(t, 'close', writer.close());
    await readAll(t, readable);
    await settled(t, 'closed', stream.closed, ending(t));
    await server.seen();
  }],

  ['stream: the writer aborts', async (t) => {
    for (const make of [() => undefined, () => new RangeError('x'), () => new t.WebSocketError('x', { closeCode: 4000, reason: 'why' })]) {
      const { server, stream, writable } = await open(t, [['accept'], ['answer']]);
      await settled(t, 'abort', writable.abort(make()));
      await settled(t, 'closed', stream.closed, ending(t));
      await server.seen();
    }
  }],

  ['stream: the reader cancels', async (t) => {
    for (const make of [() => undefined, () => new t.WebSocketError('x', { closeCode: 4000, reason: 'why' }), () => new t.WebSocketError('x', { reason: 'why' })]) {
      const { server, stream, readable } = await open(t, [['accept'], ['answer']]);
      await settled(t, 'cancel', readable.cancel(make()));
      await settled(t, 'closed', stream.closed, ending(t));
      await server.seen();
    }
  }],

  ['stream: the connection ends without a Close', async (t) => {
    const { server, stream, readable, writable } = await open(t, [['accept'], ['text', 'one'], ['gate', 'end']]);
    const reader = readable.getReader();
    t.log(`read ${(await reader.read()).value}`);
    await server.gate('end');
    await settled(t, 'closed', stream.closed, ending(t));
    await settled(t, 'read', reader.read());
    await settled(t, 'write', writable.getWriter().write('x'));
  }],

  ['stream: a malformed frame', async (t) => {
    const { server, stream } = await open(t, [['accept'], ['gate', 'go'], ['frame', 3], ['eof', 1]]);
    await server.gate('go');
    await settled(t, 'closed', stream.closed, ending(t));
  }],

  ['stream: codes from the server', async (t) => {
    for (const values of [[], [1000], [1001, 'going'], [4999, 'x'.repeat(123)]]) {
      const { stream, readable, writable } = await open(t, [['accept'], ['close', ...values], ['closed']]);
      await settled(t, 'closed', stream.closed, ending(t));
      await readAll(t, readable);
      await settled(t, 'write', writable.getWriter().write('late'));
    }
  }],

  ['stream: back-pressure of a server that does not read', async (t) => {
    const { server, stream, writable } = await open(t, [['accept'], ['pause'], ['gate', 'read'], ['resume'], ['answer']]);
    const writer = writable.getWriter();
    let written = false;
    const all = Promise.all(Array.from({ length: 16 }, () => writer.write(new Uint8Array(1 << 20)))).then(() => { written = true; });
    t.log(`desiredSize is positive: ${writer.desiredSize > 0}`);
    await t.wait(300);
    t.log(`all is written: ${written}`);
    await server.gate('read');
    await all;
    t.log(`all is written: ${written}`);
    await settled(t, 'close', writer.close());
    await settled(t, 'closed', stream.closed, ending(t));
  }],

  ['stream: WebSocketError', async (t) => {
    const line = (error) => `${error.name} ${t.show(error.message)} ${error.code} ${t.show(error.closeCode)} ${t.show(error.reason)}`;
    for (const values of [[], ['m'], ['m', {}], ['m', { closeCode: 4000 }], ['m', { closeCode: 1000, reason: 'r' }], ['m', { reason: 'r' }], ['m', { reason: '' }], ['m', { closeCode: null }], ['m', { closeCode: 1001 }], ['m', { closeCode: 5000 }], ['m', { reason: 'x'.repeat(124) }], ['m', 5], [5]]) {
      t.attempt(t.show(values.map((value) => (value && typeof value === 'object' ? Object.entries(value).flat() : value))), () => line(new t.WebSocketError(...values)));
    }
    const error = new t.WebSocketError();
    t.log(`${error instanceof DOMException} ${error instanceof Error} ${Object.prototype.toString.call(error)} ${Object.getPrototypeOf(t.WebSocketError) === DOMException}`);
    t.attempt('without new', () => t.WebSocketError('x'));
  }],

  ['stream: the interface', async (t) => {
    for (const [name, Interface] of [['WebSocketStream', t.WebSocketStream], ['WebSocketError', t.WebSocketError]]) {
      t.log(`${name} ${Interface.name} ${Interface.length}`);
      for (const key of Reflect.ownKeys(Interface.prototype).sort((a, b) => (String(a) < String(b) ? -1 : 1))) {
        const { value, get, set, enumerable, configurable, writable } = Object.getOwnPropertyDescriptor(Interface.prototype, key);
        t.log(`${String(key)} ${t.show(value)} ${get?.name} ${set?.name} ${enumerable} ${configurable} ${writable}`);
      }
    }
    t.attempt('url of the prototype', () => t.WebSocketStream.prototype.url);
    await settled(t, 'opened of the prototype', (async () => t.WebSocketStream.prototype.opened)());
    const { stream } = await open(t, [['accept'], ['answer']]);
    t.log(`${stream.opened === stream.opened} ${stream.closed === stream.closed} ${Object.prototype.toString.call(stream)}`);
    stream.close();
    await stream.closed;
  }],
];
