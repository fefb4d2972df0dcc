// The opening handshake that succeeds: what is asked, what may be answered, and what the socket then says.

const DONE = [['close', 1000], ['closed']];

export const scenarios = [
  ['opening: the request', async (t) => {
    const { server } = await t.session([['accept'], ...DONE]);
    const request = await server.request();
    t.log(request[0].replace(/\/ws\/\S+/, '/ws'));
    const fields = new Map(request.slice(1).map(([name, value]) => [name.toLowerCase(), value]));
    for (const name of ['host', 'upgrade', 'sec-websocket-version', 'sec-websocket-protocol', 'authorization', 'content-length']) t.log(`${name}: ${fields.get(name) ?? 'none'}`);
    t.log(`connection has upgrade: ${/(^|,\s*)upgrade(\s*,|$)/i.test(fields.get('connection'))}`);
    t.log(`key: ${/^[A-Za-z0-9+/]{21}[AQgw]==$/.test(fields.get('sec-websocket-key'))}`);
    t.log(`offers permessage-deflate: ${/^permessage-deflate(;|$)/.test(fields.get('sec-websocket-extensions'))}`);
  }],

  ['opening: open, then messages, then close, though all came at once', async (t) => {
    await t.session([['accept'], ['text', 'one'], ['binary', 3], ['text', 'two'], ...DONE], { binaryType: 'arraybuffer' });
  }],

  ['opening: the answer comes octet by octet', async (t) => {
    await t.session([['accept', { pieces: true }], ['text', 'one'], ...DONE]);
  }],

  ['opening: another reason phrase, or none', async (t) => {
    for (const status of ['HTTP/1.1 101 Yes', 'HTTP/1.1 101 ', 'HTTP/1.1 101']) await t.session([['accept', { status }], ...DONE], { label: status });
  }],

  ['opening: field names and values in any case, values among others', async (t) => {
    await t.session([['accept', { upgrade: 'WebSocket' }], ...DONE], { label: 'WebSocket' });
    await t.session([['accept', { upgrade: 'WEBSOCKET', connection: 'UPGRADE' }], ...DONE], { label: 'upper' });
    await t.session([['accept', { connection: 'keep-alive, Upgrade' }], ...DONE], { label: 'keep-alive' });
    await t.session([['accept', { accept: '  RIGHT  ' }], ...DONE], { label: 'white space' });
  }],

  ['opening: fields that have no meaning here', async (t) => {
    await t.session([['accept', { headers: [['Content-Length', '5'], ['Server', 'x'], ['X-Long', 'y'.repeat(4000)], ['Sec-WebSocket-Version', '13']] }], ...DONE]);
  }],

  ['opening: the subprotocol that was asked for', async (t) => {
    await t.session([['accept', { headers: [['Sec-WebSocket-Protocol', 'chat']] }], ...DONE], { protocols: 'chat' });
    await t.session([['accept', { headers: [['Sec-WebSocket-Protocol', 'b']] }], ...DONE], { protocols: ['a', 'b'] });
    await t.session([['accept', { headers: [['sec-websocket-protocol', ' a ']] }], ...DONE], { protocols: ['a', 'b'] });
  }],

  ['opening: permessage-deflate is agreed upon, and unused', async (t) => {
    for (const extension of ['permessage-deflate', 'permessage-deflate; server_no_context_takeover; client_no_context_takeover']) {
      await t.session([['accept', { headers: [['Sec-WebSocket-Extensions', extension]] }], ['text', 'plain'], ...DONE]);
    }
  }],

  ['opening: a compressed message', async (t) => {
    // RFC 7692 section 7.2.3.1: "Hello"
    await t.session([['accept', { headers: [['Sec-WebSocket-Extensions', 'permessage-deflate']] }], ['frame', 1, 'f248cdc9c90700', { rsv: 4 }], ['frame', 1, 'f200110000', { rsv: 4 }], ...DONE]);
  }],

  ['opening: protocol and extensions stay when closed', async (t) => {
    const { socket } = await t.session([['accept', { headers: [['Sec-WebSocket-Protocol', 'chat'], ['Sec-WebSocket-Extensions', 'permessage-deflate']] }], ...DONE], { protocols: 'chat' });
    t.log(`${socket.protocol} ${socket.extensions} ${socket.url.startsWith(`ws://${t.host}/ws/`)}`);
  }],

  ['opening: credentials in the URL', async (t) => {
    const server = t.server(['accept'], ...DONE);
    const socket = new t.WebSocket(server.url.replace('ws://', 'ws://user:pass@'));
    await t.watch(socket).closed;
    t.log(socket.url.replace(/\/ws\/.*/, '/ws'));
    t.log(`authorization: ${(await server.request()).find(([name]) => name.toLowerCase() === 'authorization')?.[1] ?? 'none'}`);
  }],

  ['opening: the path and the query as they are asked for', async (t) => {
    const server = t.server(['accept'], ...DONE);
    const [path, query] = server.url.split('?');
    const socket = new t.WebSocket(`${path}/./a/../?${query}`);
    await t.watch(socket).closed;
  }],

  ['opening: two sockets to one server at once', async (t) => {
    const first = t.connect([['accept'], ['gate', 'go'], ['text', 'first'], ...DONE], { label: 'first' });
    await first.opened;
    const second = t.connect([['accept'], ['text', 'second'], ...DONE], { label: 'second' });
    await second.closed;
    await first.server.gate('go');
    await first.closed;
  }],

  ['opening: readyState and events in the tasks before open', async (t) => {
    const socket = new t.WebSocket(`ws://${t.host}/echo`);
    const watched = t.watch(socket);
    t.log(`at once ${t.state(socket)}`);
    await null;
    t.log(`microtask ${t.state(socket)}`);
    await watched.opened;
    t.log(`opened ${t.state(socket)}`);
    socket.close();
    t.log(`closing ${t.state(socket)}`);
    await watched.closed;
    await t.wait(10);
    t.log(`later ${t.state(socket)}`);
  }],
];
