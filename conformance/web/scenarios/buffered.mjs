// bufferedAmount: "the number of bytes of application data (UTF-8 text and binary data) that have been queued using
// send() but that, as of the last time the event loop reached step 1, had not yet been transmitted to the network."

const MIB = 1 << 20;

export const scenarios = [
  ['buffered: within a task it only grows', async (t) => {
    const { socket, opened, closed } = t.connect([['accept'], ['answer']]);
    await opened;
    for (const [label, value] of [
      ['empty', ''], ['ASCII', 'abc'], ['two octets', '\u00e9'], ['three', '\u20ac'], ['four', '\ud83d\udc1f'], ['an unpaired surrogate', '\ud800'], ['NUL', '\u0000'],
      ['an ArrayBuffer', new ArrayBuffer(10)], ['a view', new Uint8Array(100).subarray(10, 30)], ['wide', new Float64Array(3)], ['a DataView', new DataView(new ArrayBuffer(9), 4)], ['a Blob', new Blob(['12345'])], ['an empty Blob', new Blob([])],
    ]) {
      socket.send(value);
      t.log(`${label} ${t.state(socket)}`);
    }
    socket.close();
    t.log(t.state(socket));
    await closed;
  }],

  ['buffered: microtasks do not change it', async (t) => {
    const { socket, opened, closed } = t.connect([['accept'], ['answer']]);
    await opened;
    socket.send('abc');
    t.log(t.state(socket));
    for (let count = 0; count < 10; count += 1) await null;
    t.log(t.state(socket));
    socket.close();
    await closed;
  }],

  ['buffered: nothing is left when the echo has come', async (t) => {
    const { socket, opened, messages, closed } = t.connect([['accept'], ['echo']], { binaryType: 'arraybuffer' });
    await opened;
    for (const [count, size] of [[1, 1], [2, 1000], [3, MIB]]) {
      socket.send(new Uint8Array(size));
      t.log(t.state(socket));
      await messages(count);
      t.log(t.state(socket));
    }
    socket.close();
    await closed;
  }],

  ['buffered: a server that does not read', async (t) => {
    const { socket, server, opened, messages, closed } = t.connect([['accept'], ['pause'], ['gate', 'read'], ['resume'], ['messages', 16], ['text', 'all'], ['answer']]);
    await opened;
    const buffer = new ArrayBuffer(MIB);
    for (let count = 1; count <= 16; count += 1) {
      socket.send(buffer);
      t.log(t.state(socket));
    }
    await t.wait(200);
    t.log(`something is buffered: ${socket.bufferedAmount > 0}`);
    await t.wait(200);
    t.log(`something is buffered: ${socket.bufferedAmount > 0}`);
    await server.gate('read');
    await messages(1);
    t.log(t.state(socket));
    socket.close();
    await closed;
    await server.seen();
  }],

  ['buffered: a client that sends only when nothing is buffered', async (t) => {
    const { socket, server, opened, closed } = t.connect([['accept'], ['answer']]);
    await opened;
    for (let sent = 0; sent < 5;) {
      if (socket.bufferedAmount === 0) {
        socket.send(`update ${sent}`);
        t.log(t.state(socket));
        sent += 1;
      }
      await t.wait(5);
    }
    socket.close();
    await closed;
    await server.seen();
  }],

  ['buffered: send in CLOSING counts and sends nothing', async (t) => {
    const { socket, server, opened, closed } = t.connect([['accept'], ['gate', 'answer'], ['answer']]);
    await opened;
    socket.close(1000);
    for (const [label, value] of [['text', 'abc'], ['an unpaired surrogate', '\ud800'], ['a buffer', new ArrayBuffer(10)], ['a view', new Uint8Array(20).subarray(5)], ['a Blob', new Blob(['12'])], ['empty', '']]) {
      t.attempt(label, () => socket.send(value));
      t.log(t.state(socket));
    }
    await t.wait(50);
    t.log(`later ${t.state(socket)}`);
    await server.gate('answer');
    await closed;
    await server.seen();
  }],

  ['buffered: send in CLOSED counts', async (t) => {
    const { socket, closed } = t.connect([['accept'], ['close', 1000], ['closed']]);
    await closed;
    for (const [label, value] of [['text', 'abc'], ['four octets', '\ud83d\udc1f'], ['a buffer', new ArrayBuffer(10)], ['a view', new Uint8Array(20).subarray(5)], ['a DataView', new DataView(new ArrayBuffer(4))], ['a Blob', new Blob(['12'])], ['null', null]]) {
      t.attempt(label, () => socket.send(value));
      t.log(t.state(socket));
    }
    t.attempt('nothing', () => socket.send());
    t.attempt('a symbol', () => socket.send(Symbol('x')));
    await t.wait(20);
    t.log(`later ${t.state(socket)}`);
  }],

  ['buffered: send after a failed connection counts', async (t) => {
    const { socket, closed } = t.connect([['respond', 'HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n'], ['sleep', 30]]);
    await closed;
    socket.send('abc');
    t.log(t.state(socket));
    socket.send(new Uint8Array(7));
    t.log(t.state(socket));
  }],

  ['buffered: send in CLOSING before the connection was made', async (t) => {
    const { socket, closed } = t.connect([['eof']]);
    socket.close();
    t.attempt('send', () => socket.send('abc'));
    t.log(t.state(socket));
    await closed;
    socket.send('de');
    t.log(t.state(socket));
  }],

  ['buffered: the server closes, and the page sends in the close event', async (t) => {
    const { socket, closed } = t.connect([['accept'], ['close', 1000], ['closed']]);
    socket.addEventListener('close', () => { socket.send('abc'); t.log(t.state(socket)); });
    await closed;
    t.log(t.state(socket));
  }],

  ['buffered: each socket has its own', async (t) => {
    const one = t.connect([['accept'], ['echo']], { label: 'one', messages: 'silent' });
    await one.opened;
    const two = t.connect([['accept'], ['echo']], { label: 'two', messages: 'silent' });
    await two.opened;
    one.socket.send('a');
    two.socket.send('bc');
    t.log(`${t.state(one.socket)} ${t.state(two.socket)}`);
    await one.messages(1);
    await two.messages(1);
    t.log(`${t.state(one.socket)} ${t.state(two.socket)}`);
    one.socket.close();
    await one.closed;
    two.socket.close();
    await two.closed;
  }],
];
