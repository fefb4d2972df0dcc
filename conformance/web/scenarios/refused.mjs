// The opening handshake that fails: an error event, then close with 1006; nothing tells the page why.

const KEEP = ['sleep', 50];

// The connection must fail. What the server gets afterwards (nothing) is not logged: it is no part of the interface.
const refused = (name, steps, options) => [`refused: ${name}`, async (t) => { await t.session(steps, options); }];
const answer = (name, options, rest) => refused(name, [['accept', options], ['text', 'never'], KEEP], rest);
const field = (name, headers, rest) => answer(name, { headers }, rest);
const respond = (name, text) => refused(name, [['respond', text.replaceAll('\n', '\r\n')], ['sleep', 30]]);
const body = 'Content-Length: 2\nContent-Type: text/plain\n\nno';

export const scenarios = [
  respond('200', `HTTP/1.1 200 OK\n${body}`),
  respond('200 that has all the fields of an acceptance', `HTTP/1.1 200 OK\nUpgrade: websocket\nConnection: Upgrade\n${body}`),
  respond('204', 'HTTP/1.1 204 No Content\n\n'),
  respond('400', `HTTP/1.1 400 Bad Request\n${body}`),
  respond('401 without challenge', `HTTP/1.1 401 Unauthorized\n${body}`),
  respond('403', `HTTP/1.1 403 Forbidden\n${body}`),
  respond('404', `HTTP/1.1 404 Not Found\n${body}`),
  respond('426', `HTTP/1.1 426 Upgrade Required\nSec-WebSocket-Version: 14\n${body}`),
  respond('500', `HTTP/1.1 500 Internal Server Error\n${body}`),
  respond('503 with Retry-After', `HTTP/1.1 503 Service Unavailable\nRetry-After: 0\n${body}`),
  respond('a chunked body', 'HTTP/1.1 404 Not Found\nTransfer-Encoding: chunked\n\n2\nno\n0\n\n'),
  respond('what is no HTTP', 'SSH-2.0-OpenSSH_9.2\n'),
  respond('a status line without status', 'HTTP/1.1\n\n'),
  respond('half a head', 'HTTP/1.1 101 Switching Protocols\nUpgrade: websocket\n'),

  ['refused: redirects are not followed', async (t) => {
    for (const status of [301, 302, 303, 307, 308]) {
      const target = t.server(['accept'], ['close', 1000], ['closed']);
      await t.session([['respond', `HTTP/1.1 ${status} Elsewhere\r\nLocation: ${target.url}\r\nContent-Length: 0\r\n\r\n`], ['sleep', 30]], { label: String(status) });
      t.log(`the target was asked: ${Array.isArray(await target.request().catch(() => null))}`);
    }
  }],

  ['refused: a redirect to the same place by http', async (t) => {
    await t.session([['respond', `HTTP/1.1 302 Found\r\nLocation: ${t.base}/echo\r\nContent-Length: 0\r\n\r\n`], ['sleep', 30]]);
  }],

  refused('the server ends the connection without an answer', []),
  refused('the server resets the connection without an answer', [['reset']]),

  ['refused: nobody listens', async (t) => {
    await t.watch(new t.WebSocket(`ws://${t.refused}/`)).closed;
  }],

  ['refused: wss where no TLS is spoken', async (t) => {
    await t.watch(new t.WebSocket(`wss://${t.refused}/`)).closed;
  }],

  ['refused: a silent server, until the page closes', async (t) => {
    const { socket, closed } = t.connect([['eof']]);
    await t.wait(100);
    t.log(t.state(socket));
    socket.close(3000, 'enough');
    t.log(t.state(socket));
    await closed;
  }],

  ['refused: a server that is silent in the middle of its answer, until the page closes', async (t) => {
    const { socket, closed } = t.connect([['respond', 'HTTP/1.1 101 Switching Protocols\r\nUpgrade: web'], ['eof']]);
    await t.wait(100);
    t.log(t.state(socket));
    socket.close();
    t.log(t.state(socket));
    await closed;
  }],

  answer('no Sec-WebSocket-Accept', { accept: null }),
  answer('Sec-WebSocket-Accept is wrong', { accept: 'AAAAAAAAAAAAAAAAAAAAAAAAAAA=' }),
  answer('Sec-WebSocket-Accept is empty', { accept: '' }),
  answer('Sec-WebSocket-Accept is right but for something after it', { accept: 'RIGHT=' }),
  field('Sec-WebSocket-Accept twice', [['Sec-WebSocket-Accept', 'RIGHT']]),
  field('Sec-WebSocket-Accept twice, once wrong', [['Sec-WebSocket-Accept', 'AAAAAAAAAAAAAAAAAAAAAAAAAAA=']]),
  answer('no Upgrade', { upgrade: null }),
  answer('Upgrade is something else', { upgrade: 'h2c' }),
  answer('Upgrade has a version', { upgrade: 'websocket/13' }),
  field('Upgrade twice', [['Upgrade', 'websocket']]),
  answer('no Connection', { connection: null }),
  answer('Connection is something else', { connection: 'close' }),
  answer('HTTP/1.0', { status: 'HTTP/1.0 101 Switching Protocols' }),

  field('a subprotocol though none was asked for', [['Sec-WebSocket-Protocol', 'chat']]),
  field('another subprotocol than those asked for', [['Sec-WebSocket-Protocol', 'superchat']], { protocols: ['chat', 'talk'] }),
  field('the subprotocol in another case', [['Sec-WebSocket-Protocol', 'Chat']], { protocols: 'chat' }),
  field('two subprotocols in a field', [['Sec-WebSocket-Protocol', 'chat, talk']], { protocols: ['chat', 'talk'] }),
  field('two fields with a subprotocol', [['Sec-WebSocket-Protocol', 'chat'], ['Sec-WebSocket-Protocol', 'talk']], { protocols: ['chat', 'talk'] }),
  field('two fields with the same subprotocol', [['Sec-WebSocket-Protocol', 'chat'], ['Sec-WebSocket-Protocol', 'chat']], { protocols: ['chat', 'talk'] }),
  field('an empty subprotocol', [['Sec-WebSocket-Protocol', '']], { protocols: 'chat' }),
  answer('no subprotocol though some were asked for', {}, { protocols: ['chat', 'talk'] }),

  field('an extension that was not offered', [['Sec-WebSocket-Extensions', 'x-foo']]),
  field('an extension that was not offered beside one that was', [['Sec-WebSocket-Extensions', 'permessage-deflate, x-foo']]),
  field('permessage-deflate twice', [['Sec-WebSocket-Extensions', 'permessage-deflate, permessage-deflate']]),
  field('permessage-deflate in two fields', [['Sec-WebSocket-Extensions', 'permessage-deflate'], ['Sec-WebSocket-Extensions', 'permessage-deflate']]),
  field('permessage-deflate with an unknown parameter', [['Sec-WebSocket-Extensions', 'permessage-deflate; x=1']]),
  field('permessage-deflate with a window that cannot be', [['Sec-WebSocket-Extensions', 'permessage-deflate; server_max_window_bits=7']]),
  field('permessage-deflate with a parameter twice', [['Sec-WebSocket-Extensions', 'permessage-deflate; server_no_context_takeover; server_no_context_takeover']]),
  field('permessage-deflate with a value where none is', [['Sec-WebSocket-Extensions', 'permessage-deflate; server_no_context_takeover=1']]),
  field('extensions that are no list', [['Sec-WebSocket-Extensions', ';;']]),

  ['refused: 401 with a challenge, credentials in the URL', async (t) => {
    const server = t.server(['respond', 'HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic realm="x"\r\nContent-Length: 0\r\n\r\n'], ['sleep', 30]);
    await t.watch(new t.WebSocket(server.url.replace('ws://', 'ws://user:pass@'))).closed;
  }],
];
