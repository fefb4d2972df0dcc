// Closing by the server, and the ends that are none.

// The steps are done once the socket is open and has got a message: how much of what came before a failure is still
// delivered is no part of any standard.
async function later(t, steps) {
  const session = t.connect([['accept'], ['text', 'before'], ['gate', 'go'], ...steps]);
  await session.messages(1);
  await session.server.gate('go');
  await session.closed;
}

// A Close from the server, and the client's answer.
async function closes(t, label, steps) {
  const { socket, server, closed } = t.connect([['accept'], ...steps, ['closed']], { label });
  socket.addEventListener('close', () => t.log(`in close ${t.state(socket)}`));
  await closed;
  await server.seen();
}

export const scenarios = [
  ['closed: codes from the server', async (t) => {
    for (const code of [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999]) await closes(t, String(code), [['close', code]]);
  }],

  ['closed: no code from the server', async (t) => {
    await closes(t, 'none', [['close']]);
  }],

  ...[0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535].map((code) => [`closed: the code ${code} from the server, which must not be sent`, async (t) => {
    await later(t, [['close', code], ['closed']]);
  }]),

  ['closed: reasons from the server', async (t) => {
    for (const reason of ['', 'done', '\u00e9\u20ac\ud83d\udc1f', 'x'.repeat(123), '\u00e9'.repeat(61), '\ufeffmark', 'a\u0000b']) await closes(t, t.show(reason), [['close', 1000, reason]]);
  }],

  ['closed: a Close of one octet', async (t) => { await later(t, [['frame', 8, '03'], ['closed']]); }],
  ['closed: a reason of 124 octets', async (t) => { await later(t, [['close', 1000, 'x'.repeat(124)], ['closed']]); }],
  ['closed: a reason that is no UTF-8', async (t) => { await later(t, [['frame', 8, '03e8ff'], ['closed']]); }],
  ['closed: a reason with an encoded surrogate', async (t) => { await later(t, [['frame', 8, '03e8eda080'], ['closed']]); }],

  ['closed: messages before the Close are delivered', async (t) => {
    await closes(t, '', [['texts', 'n', 5], ['close', 1001, 'going']]);
  }],

  ['closed: what comes after the Close is ignored', async (t) => {
    await closes(t, '', [['close', 1000, 'first'], ['text', 'late'], ['close', 4000, 'second']]);
  }],

  ['closed: by the server, which lets the connection be', async (t) => {
    await t.session([['accept'], ['close', 3000, 'still here'], ['eof']]);
  }],

  ['closed: by the server, while the page is sending', async (t) => {
    const { socket, server, closed } = t.connect([['accept'], ['messages', 1], ['close', 4000], ['closed']]);
    await new Promise((resolve) => { socket.addEventListener('open', resolve); });
    socket.send('one');
    await closed;
    t.attempt('send', () => socket.send('two'));
    t.log(t.state(socket));
    await server.seen();
  }],

  ['closed: the connection ends without a Close', async (t) => {
    await later(t, []);
  }],

  ['closed: the connection is reset', async (t) => {
    await later(t, [['reset']]);
  }],

  ['closed: the connection is reset while much is buffered', async (t) => {
    const server = t.server(['accept'], ['pause'], ['gate', 'go'], ['reset']);
    const socket = new t.WebSocket(server.url);
    const closed = new Promise((resolve) => { socket.onclose = resolve; });
    for (const type of ['open', 'error', 'close']) socket.addEventListener(type, () => t.log(`${type} ${socket.readyState} something is buffered: ${socket.bufferedAmount > 0}`));
    await new Promise((resolve) => { socket.onopen = resolve; });
    const buffer = new ArrayBuffer(4 << 20);
    for (let count = 0; count < 4; count += 1) socket.send(buffer);
    t.log(`${socket.readyState} ${socket.bufferedAmount}`);
    await server.gate('go');
    await closed;
  }],

  ['closed: the connection ends in the middle of a frame', async (t) => {
    await later(t, [['frame', 1, '6162', { length: '05' }]]);
  }],

  ['closed: the connection ends in the middle of a message', async (t) => {
    await later(t, [['frame', 1, '6162', { fin: false }]]);
  }],

  ['closed: the connection ends in the middle of a Close', async (t) => {
    await later(t, [['frame', 8, '03', { length: '02' }]]);
  }],

  ['closed: no event comes after close', async (t) => {
    const { socket, closed } = t.connect([['accept'], ['text', 'one'], ['close', 1000], ['closed']]);
    let after = 0;
    socket.addEventListener('close', () => { for (const type of ['open', 'message', 'error', 'close']) socket.addEventListener(type, () => { after += 1; }); });
    await closed;
    after = 0;
    socket.close();
    socket.send('x');
    await t.wait(100);
    t.log(`events after close: ${after}`);
  }],

  ['closed: the close event is one task with its state', async (t) => {
    const { socket, closed } = t.connect([['accept'], ['close', 1000], ['closed']]);
    const seen = new Set();
    let running = true;
    const poll = () => { seen.add(socket.readyState); if (running) setTimeout(poll, 0); };
    poll();
    socket.addEventListener('close', () => { Promise.resolve().then(() => t.log(`microtask ${t.state(socket)}`)); });
    await closed;
    running = false;
    t.log(`the last state seen is 3: ${[...seen, socket.readyState].at(-1) === 3}`);
  }],

  ['closed: an error event comes before close only if the connection failed', async (t) => {
    for (const [label, steps] of [['clean', [['close', 1000], ['closed']]], ['unclean', []], ['failed', [['frame', 3]]], ['code 1011', [['close', 1011, 'sorry'], ['closed']]]]) {
      const { socket, server, opened, closed } = t.connect([['accept'], ['gate', 'go'], ...steps]);
      const order = [];
      for (const type of ['open', 'error', 'close']) socket.addEventListener(type, () => order.push(`${type} ${socket.readyState}`));
      await opened;
      await server.gate('go');
      await closed;
      await t.wait(0);
      t.log(`${label}: ${order.join(', ')}`);
    }
  }],
];
