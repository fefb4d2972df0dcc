// Messages of every type and size, both ways, with both kinds of binaryType.

const SIZES = [0, 1, 125, 126, 65_535, 65_536];
const MANY = 16 << 20;
const UNIT = 'sockeye \u00e9\u20ac\ud83d\udc1f!'; // 17 code units less three: 19 octets

const bytes = (size) => {
  const made = new Uint8Array(size);
  for (let at = 0; at < size; at += 1) made[at] = at % 251;
  return made;
};
const text = (size) => UNIT.repeat(Math.ceil(size / UNIT.length)).slice(0, size).replace(/[\ud800-\udbff]$/, '.');

// Sends each of `values` to an echoing server; logs what comes back and what the server got.
async function echo(t, values, binaryType = 'arraybuffer') {
  const { socket, server, opened, messages, closed } = t.connect([['accept'], ['echo']], { binaryType });
  await opened;
  let count = 0;
  for (const [label, value] of values) {
    t.attempt(`send ${label}`, () => socket.send(value));
    count += 1;
    await messages(count);
  }
  socket.close(1000);
  await closed;
  await server.seen();
}

const big = (name, value, binaryType) => [`data: 16 MiB of ${name}, received as ${binaryType}`, async (t) => { await echo(t, [[name, value()]], binaryType); }];

export const scenarios = [
  ['data: strings', async (t) => {
    await echo(t, SIZES.map((size) => [size, text(size)]));
  }],

  ...['arraybuffer', 'blob'].flatMap((binaryType) => [
    [`data: ArrayBuffer, received as ${binaryType}`, async (t) => {
      await echo(t, SIZES.map((size) => [size, bytes(size).buffer]), binaryType);
    }],
    [`data: Blob, received as ${binaryType}`, async (t) => {
      await echo(t, SIZES.map((size) => [size, new Blob([bytes(size)], { type: 'text/plain' })]), binaryType);
    }],
    [`data: views with an offset and a length, received as ${binaryType}`, async (t) => {
      await echo(t, SIZES.map((size) => [size, bytes(size + 7).subarray(3, 3 + size)]), binaryType);
    }],
    [`data: DataView with an offset and a length, received as ${binaryType}`, async (t) => {
      await echo(t, SIZES.map((size) => [size, new DataView(bytes(size + 9).buffer, 5, size)]), binaryType);
    }],
    big('Blob', () => new Blob([bytes(MANY)]), binaryType),
    big('ArrayBuffer', () => bytes(MANY).buffer, binaryType),
  ]),
  big('a string', () => text(MANY - 1), 'blob'),
  big('a view', () => bytes(MANY + 5).subarray(2, MANY + 2), 'arraybuffer'),

  ['data: 16 MiB from the server', async (t) => {
    await t.session([['accept'], ['binary', MANY], ['text', 'x', MANY], ['text', '\u20ac', MANY / 4], ['close', 1000], ['closed']], { binaryType: 'arraybuffer' });
  }],

  ['data: every kind of view', async (t) => {
    const views = [Int8Array, Uint8Array, Uint8ClampedArray, Int16Array, Uint16Array, Int32Array, Uint32Array, Float32Array, Float64Array, BigInt64Array, BigUint64Array];
    await echo(t, views.map((View) => [View.name, new View(bytes(64).buffer, 8, 3)]));
  }],

  ['data: a blob of parts, and slices of it', async (t) => {
    const blob = new Blob(['abc', bytes(4), new Blob(['def'])]);
    await echo(t, [['whole', blob], ['slice', blob.slice(1, 5)], ['empty slice', blob.slice(3, 3)], ['from the end', blob.slice(-2)]], 'blob');
  }],

  ['data: a file', async (t) => {
    await echo(t, [['File', new File(['in a file'], 'name.txt', { type: 'text/plain' })]], 'blob');
  }],

  ['data: unpaired surrogates become U+FFFD', async (t) => {
    await echo(t, ['\ud800', '\udfff', 'a\ud83dz', '\udc1f\ud83d', '\ud83d\ud83d\udc1f', '\ud83d\udc1f\udc1f'].map((value) => [t.show(value), value]));
  }],

  ['data: strings that are easily changed on their way', async (t) => {
    await echo(t, ['\ufeffmark', 'a\u0000b', '\u0000', '\r\n', '\u2028\u2029', '\uffff', '\ufffe', '\udbff\udfff', 'e\u0301'].map((value) => [t.show(value), value]));
  }],

  ['data: what is neither string nor binary is made a string', async (t) => {
    await echo(t, [['null', null], ['undefined', undefined], ['a number', 1e21], ['-0', -0], ['true', true], ['an object', {}], ['an array', [1, [2, 3]]], ['a String', new String('s')], ['toString', { toString: () => 'made' }], ['a bigint', 12n], ['a regular expression', /x/g], ['a Date of none', new Date(NaN)]]);
  }],

  ['data: what cannot be sent', async (t) => {
    const { socket, opened, closed } = t.connect([['accept'], ['answer']]);
    await opened;
    t.attempt('nothing', () => socket.send());
    t.attempt('a symbol', () => socket.send(Symbol('x')));
    t.attempt('toString throws', () => socket.send({ toString() { throw new RangeError('x'); } }));
    t.attempt('no conversion', () => socket.send(Object.create(null)));
    t.log(t.state(socket));
    t.attempt('more arguments', () => socket.send('a', 'b', () => {}));
    socket.close();
    await closed;
  }],

  ['data: before open nothing is sent', async (t) => {
    const { socket, opened, closed } = t.connect([['accept'], ['echo']]);
    for (const [label, value] of [['a string', 'x'], ['an empty string', ''], ['an ArrayBuffer', new ArrayBuffer(1)], ['a view', bytes(1)], ['a Blob', new Blob(['x'])]]) {
      t.attempt(label, () => socket.send(value));
    }
    t.attempt('nothing', () => socket.send());
    t.attempt('a symbol', () => socket.send(Symbol('x')));
    t.log(t.state(socket));
    await opened;
    socket.close();
    await closed;
  }],

  ['data: what is sent is what it was at the call', async (t) => {
    const { socket, opened, messages, closed } = t.connect([['accept'], ['echo']], { binaryType: 'arraybuffer', messages: 'plain' });
    await opened;
    const view = bytes(10);
    socket.send(view);
    view.fill(255);
    socket.send(view.buffer);
    view.fill(0);
    await messages(2);
    socket.close();
    await closed;
  }],

  ['data: a buffer that was transferred', async (t) => {
    const buffer = bytes(10).buffer;
    const view = new Uint8Array(buffer, 2, 4);
    structuredClone(buffer, { transfer: [buffer] });
    t.log(`${buffer.byteLength} ${view.byteLength}`);
    await echo(t, [['the buffer', buffer], ['a view of it', view]]);
  }],

  ['data: a buffer that can be resized', async (t) => {
    if (!('resizable' in ArrayBuffer.prototype)) return;
    const { socket, opened, closed } = t.connect([['accept'], ['echo']]);
    await opened;
    const buffer = new ArrayBuffer(8, { maxByteLength: 16 });
    t.attempt('the buffer', () => socket.send(buffer));
    t.attempt('a view of it', () => socket.send(new Uint8Array(buffer)));
    t.log(t.state(socket));
    socket.close();
    await closed;
  }],

  ['data: the order is kept, blobs among strings', async (t) => {
    const { socket, server, opened, messages, closed } = t.connect([['accept'], ['echo']], { binaryType: 'arraybuffer', messages: 'plain' });
    await opened;
    socket.send(new Blob([bytes(100_000)]));
    socket.send('after the big blob');
    socket.send(new Blob(['small']));
    socket.send(bytes(3));
    socket.send(new Blob([]));
    socket.send('');
    socket.send('last');
    await messages(7);
    socket.close();
    await closed;
    await server.seen();
  }],

  ['data: a thousand messages, in order', async (t) => {
    const { socket, opened, closed } = t.connect([['accept'], ['echo']], { messages: 'silent' });
    await opened;
    let right = 0;
    let count = 0;
    await new Promise((resolve) => {
      socket.addEventListener('message', ({ data }) => { right += data === `message ${count}`; count += 1; if (count === 1000) resolve(); });
      for (let number = 0; number < 1000; number += 1) socket.send(`message ${number}`);
    });
    t.log(`${right} of ${count} right`);
    socket.close();
    await closed;
  }],

  ['data: binaryType decides when the message is delivered', async (t) => {
    const { socket, closed } = t.connect([['accept'], ['binary', 5], ['binary', 6], ['binary', 7], ['binary', 0], ['close', 1000], ['closed']]);
    let at = 0;
    socket.addEventListener('message', () => { socket.binaryType = ['arraybuffer', 'blob', 'arraybuffer'][at]; at += 1; });
    await closed;
  }],

  ['data: what was received belongs to the page', async (t) => {
    const { socket, closed } = t.connect([['accept'], ['binary', 5], ['binary', 5], ['close', 1000], ['closed']], { binaryType: 'arraybuffer' });
    const all = [];
    socket.addEventListener('message', ({ data }) => { new Uint8Array(data).fill(9); all.push(data); t.log(`${Object.getPrototypeOf(data) === ArrayBuffer.prototype} ${data.resizable ?? false}`); });
    await closed;
    t.log(`${all[0] === all[1]}`);
    const [first] = all;
    structuredClone(first, { transfer: [first] });
    t.log(`${first.byteLength}`);
  }],
];
