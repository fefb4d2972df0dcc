// Closing by the page: in each state, with what arguments, and what the server then gets.

const ANSWER = [['accept'], ['answer']];

export const scenarios = [
  ['closing: in CONNECTING', async (t) => {
    const { socket, closed } = t.connect([['eof']]);
    t.log(t.state(socket));
    t.attempt('close', () => socket.close());
    t.log(t.state(socket));
    t.attempt('close again', () => socket.close(3000, 'x'));
    await null;
    t.log(`microtask ${t.state(socket)}`);
    await closed;
  }],

  ['closing: in CONNECTING with a code and a reason', async (t) => {
    const { socket, closed } = t.connect([['accept'], ['eof']]);
    socket.close(4000, 'reason');
    t.log(t.state(socket));
    await closed;
  }],

  ['closing: in CONNECTING, wrong arguments change nothing', async (t) => {
    const { socket, opened, closed } = t.connect(ANSWER);
    t.attempt('1001', () => socket.close(1001));
    t.attempt('124', () => socket.close(1000, 'x'.repeat(124)));
    t.log(t.state(socket));
    await opened;
    socket.close();
    await closed;
  }],

  ['closing: without arguments', async (t) => {
    const { socket, server, opened, closed } = t.connect(ANSWER);
    await opened;
    t.attempt('close', () => socket.close());
    t.log(t.state(socket));
    t.attempt('close again', () => socket.close());
    t.attempt('close again with a code', () => socket.close(3000));
    t.log(t.state(socket));
    await closed;
    await server.seen();
  }],

  ['closing: codes and reasons that are allowed reach the server', async (t) => {
    const table = [[1000], [3000], [3999], [4000], [4999], [1000, ''], [1000, 'done'], [4000, 'x'.repeat(123)], [4000, '\u00e9'.repeat(61)], [4001, '\ud83d\udc1f'.repeat(30)], [4002, '\ud800'], [undefined], [undefined, undefined], [undefined, ''], [undefined, 'only a reason'], [1000, undefined], [1000, null], [1000, 5], [1000, { toString: () => 'made' }]];
    for (const values of table) {
      const { socket, server, opened, closed } = t.connect(ANSWER, { label: t.show(values) });
      await opened;
      t.attempt('close', () => socket.close(...values));
      t.log(t.state(socket));
      if (socket.readyState === 1) socket.close(4999);
      await closed;
      await server.seen();
    }
  }],

  ['closing: codes that are not allowed', async (t) => {
    const { socket, opened, closed } = t.connect(ANSWER);
    await opened;
    for (const code of [0, 1, 999, 1001, 1002, 1003, 1004, 1005, 1006, 1007, 1011, 1015, 2000, 2999, 5000, 9999, 65535, 65536, 66536, -1, -64536, NaN, Infinity, -Infinity, null, true, false, '', 'x', {}, [], 999.5, 1000.51, 4999.5, 2999.4, 10n, Symbol('x')]) {
      t.attempt(t.show(code), () => socket.close(code));
    }
    t.log(t.state(socket));
    socket.close();
    await closed;
  }],

  ['closing: a code is clamped and rounded', async (t) => {
    for (const code of ['1000', ' 3000 ', '0xbb8', 1000.4, 999.6, 2999.5, 3000.5, 4998.5, 1000.5, [4000], { valueOf: () => 3001 }, new Date(3000)]) {
      const { socket, server, opened, closed } = t.connect(ANSWER, { label: t.show(code) });
      await opened;
      t.attempt('close', () => socket.close(code));
      t.log(t.state(socket));
      if (socket.readyState === 1) socket.close();
      await closed;
      await server.seen();
    }
  }],

  ['closing: reasons that are too long', async (t) => {
    const { socket, opened, closed } = t.connect(ANSWER);
    await opened;
    t.attempt('124', () => socket.close(1000, 'x'.repeat(124)));
    t.attempt('62 of two octets', () => socket.close(1000, '\u00e9'.repeat(62)));
    t.attempt('31 of four octets', () => socket.close(1000, '\ud83d\udc1f'.repeat(31)));
    t.attempt('42 unpaired surrogates, three octets each', () => socket.close(1000, '\ud800'.repeat(42)));
    t.attempt('without a code', () => socket.close(undefined, 'x'.repeat(124)));
    t.attempt('the code comes first', () => socket.close(1001, 'x'.repeat(124)));
    t.attempt('a symbol', () => socket.close(1000, Symbol('x')));
    t.attempt('toString throws', () => socket.close(1000, { toString() { throw new RangeError('x'); } }));
    t.log(t.state(socket));
    socket.close(1000, '\ud800'.repeat(41));
    await closed;
  }],

  ['closing: arguments are converted in order, and before the state is looked at', async (t) => {
    const { socket, closed } = t.connect([['eof']]);
    socket.close();
    const order = [];
    t.attempt('close', () => socket.close({ valueOf() { order.push('code'); return 1000; } }, { toString() { order.push('reason'); return 'x'; } }));
    t.attempt('wrong code in CLOSING', () => socket.close(1001));
    t.attempt('wrong reason in CLOSING', () => socket.close(1000, 'x'.repeat(124)));
    t.log(order.join(' '));
    await closed;
    t.attempt('close in CLOSED', () => socket.close());
    t.attempt('code in CLOSED', () => socket.close(3000, 'x'));
    t.attempt('wrong code in CLOSED', () => socket.close(1001));
    t.attempt('wrong reason in CLOSED', () => socket.close(1000, 'x'.repeat(124)));
    t.log(t.state(socket));
  }],

  ['closing: in the open event', async (t) => {
    const { socket, server, closed } = t.connect([['accept'], ['text', 'dropped'], ['answer']]);
    socket.addEventListener('open', () => { socket.close(3000, 'at once'); t.log(t.state(socket)); });
    await closed;
    await server.seen();
  }],

  ['closing: in a message event, others having come already', async (t) => {
    const { socket, closed } = t.connect([['accept'], ['texts', 'n', 20], ['answer']]);
    socket.addEventListener('message', ({ data }) => { if (data === 'n3') socket.close(); });
    await closed;
  }],

  ['closing: messages in CLOSING are dropped', async (t) => {
    const { socket, server, opened, closed } = t.connect([['accept'], ['closed'], ['text', 'late'], ['binary', 9], ['ping', 'late'], ['close', 1000, 'now']]);
    await opened;
    socket.close(1000);
    await closed;
    await server.seen();
  }],

  ['closing: in the error and the close event', async (t) => {
    const { socket, server, opened, closed } = t.connect([['accept'], ['gate', 'go'], ['frame', 3]]);
    for (const type of ['error', 'close']) socket.addEventListener(type, () => { t.attempt(`close in ${type}`, () => socket.close(3000)); t.log(t.state(socket)); });
    await opened;
    await server.gate('go');
    await closed;
    await t.wait(0);
  }],

  ['closing: send, then close', async (t) => {
    const { socket, server, opened, closed } = t.connect(ANSWER);
    await opened;
    socket.send('last words');
    socket.send(new Uint8Array([1, 2, 3]));
    socket.close(1000, 'bye');
    t.log(t.state(socket));
    await closed;
    await server.seen();
  }],

  ['closing: what is buffered is sent before', async (t) => {
    const { socket, server, opened, closed } = t.connect([['accept'], ['pause'], ['gate', 'read'], ['resume'], ['answer']]);
    await opened;
    for (let count = 0; count < 4; count += 1) socket.send(new ArrayBuffer(4 << 20));
    t.log(t.state(socket));
    socket.close(3001, 'after all');
    t.log(t.state(socket));
    await t.wait(200);
    t.log(`${socket.readyState} and something is buffered: ${socket.bufferedAmount > 0}`);
    await server.gate('read');
    await closed;
    await server.seen();
  }],

  ['closing: a blob is sent before', async (t) => {
    const { socket, server, opened, closed } = t.connect(ANSWER);
    await opened;
    socket.send(new Blob(['blob first']));
    socket.send('then text');
    socket.close(1000);
    t.log(t.state(socket));
    await closed;
    await server.seen();
  }],

  ['closing: the server answers with another code', async (t) => {
    const { socket, server, opened, closed } = t.connect([['accept'], ['closed'], ['close', 4001, 'mine']]);
    await opened;
    socket.close(4000, 'yours');
    await closed;
    await server.seen();
  }],

  ['closing: the server answers without a code', async (t) => {
    const { socket, opened, closed } = t.connect([['accept'], ['closed'], ['close']]);
    await opened;
    socket.close(4000, 'yours');
    await closed;
  }],

  ['closing: the server answers nothing, and ends the connection', async (t) => {
    const { socket, opened, closed } = t.connect([['accept'], ['closed']]);
    await opened;
    socket.close(4000);
    await closed;
  }],

  ['closing: the server answers nothing, and resets the connection', async (t) => {
    const { socket, opened, closed } = t.connect([['accept'], ['closed'], ['reset']]);
    await opened;
    socket.close(4000);
    await closed;
  }],

  ['closing: the server answers nothing, and remains', async (t) => {
    const { socket, server, opened, closed } = t.connect([['accept'], ['closed'], ['gate', 'end']]);
    await opened;
    socket.close(4000);
    await t.wait(300);
    t.log(t.state(socket));
    await server.gate('end');
    await closed;
  }],

  ['closing: the server answers with a malformed frame', async (t) => {
    const { socket, opened, closed } = t.connect([['accept'], ['closed'], ['frame', 3]]);
    await opened;
    socket.close(4000);
    await closed;
  }],

  ['closing: the server answers, but lets the connection be', async (t) => {
    const { socket, opened, closed } = t.connect([['accept'], ['answer'], ['eof']]);
    await opened;
    socket.close(4000, 'x');
    await closed;
  }],

  ['closing: both sides at once', async (t) => {
    const { socket, server, closed } = t.connect([['accept'], ['text', 'now'], ['closed'], ['close', 4001, 'server']]);
    socket.addEventListener('message', () => socket.close(4000, 'page'));
    await closed;
    await server.seen();
  }],
];
