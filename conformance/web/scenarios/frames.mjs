// Frames from the server: those that are well formed, and those that fail the connection.

const OPEN = ['accept'];

// A violation, once the socket is open and has got a message; what comes after it is not delivered.
const malformed = (name, ...steps) => [`frames: ${name}`, async (t) => { await violate(t, steps); }];

async function violate(t, steps, label) {
  const { socket, server, messages, closed } = t.connect([OPEN, ['text', 'before'], ['gate', 'go'], ...steps, ['text', 'after'], ['eof', 1]], { label });
  await messages(1);
  await server.gate('go');
  await closed;
  return { socket, server };
}

const wellFormed = (name, ...steps) => [`frames: ${name}`, async (t) => {
  const { server, closed } = t.connect([OPEN, ...steps, ['close', 1000], ['closed']], { binaryType: 'arraybuffer' });
  await closed;
  await server.seen();
}];

export const scenarios = [
  wellFormed('fragments', ['fragments', 1, ['one', ' two', ' three']], ['fragments', 2, ['', 'a', '', 'b', '']], ['fragments', 1, ['', '']]),
  wellFormed('a ping amid fragments', ['fragments', 1, ['one', ['amid'], ' two', [''], ' three']]),
  wellFormed('pings are answered, and nobody is told', ['ping', ''], ['text', 'one'], ['ping', 'x'.repeat(125)], ['ping', 'last']),
  wellFormed('pongs that nobody asked for', ['frame', 10], ['frame', 10, '6162'], ['text', 'one']),
  wellFormed('a character that fragments divide', ['frame', 1, '61f09f', { fin: false }], ['frame', 0, '909f62']),
  wellFormed('sizes at the bounds of the length field', ['text', 'a', 125], ['text', 'b', 126], ['text', 'c', 127], ['text', 'd', 65535], ['text', 'e', 65536]),
  wellFormed('noncharacters and the last code point', ['text', '\ufdd0\ufffe\uffff\u{1fffe}\u{10ffff}']),

  ['frames: ten thousand fragments', async (t) => {
    const { closed } = t.connect([OPEN, ['shreds', 10_000], ['close', 1000], ['closed']]);
    await closed;
  }],

  ['frames: two thousand messages, in order', async (t) => {
    const { socket, closed } = t.connect([OPEN, ['texts', 'n', 2000], ['close', 1000], ['closed']], { messages: 'silent' });
    let right = 0;
    let count = 0;
    socket.addEventListener('message', ({ data }) => { right += data === `n${count}`; count += 1; });
    await closed;
    t.log(`${right} of ${count} right`);
  }],

  malformed('masked', ['frame', 1, '6162', { masked: true }]),
  malformed('RSV1', ['frame', 1, '6162', { rsv: 4 }]),
  malformed('RSV2', ['frame', 1, '6162', { rsv: 2 }]),
  malformed('RSV3', ['frame', 2, '6162', { rsv: 1 }]),
  malformed('RSV1 of a ping', ['frame', 9, '', { rsv: 4 }]),
  ...[3, 4, 7, 11, 12, 15].map((opcode) => malformed(`opcode ${opcode}`, ['frame', opcode, '61'])),
  malformed('a ping in fragments', ['frame', 9, '61', { fin: false }]),
  malformed('a Close in fragments', ['frame', 8, '03e8', { fin: false }]),
  malformed('a ping of 126 octets', ['frame', 9, '61', { times: 126 }]),
  malformed('a pong of 65,536 octets', ['frame', 10, '61', { times: 65536 }]),
  malformed('a continuation of nothing', ['frame', 0, '61']),
  malformed('a continuation of nothing that is not final', ['frame', 0, '61', { fin: false }]),
  malformed('a new message within a fragmented one', ['frame', 1, '61', { fin: false }], ['frame', 1, '62']),
  malformed('a length in more octets than needed, 16 bits', ['frame', 1, '61', { length: '7e0001' }]),
  malformed('a length in more octets than needed, 64 bits', ['frame', 1, '61', { length: '7f0000000000000001' }]),
  malformed('a length with its highest bit set', ['frame', 2, '61', { length: '7f8000000000000001' }]),
  malformed('text that is no UTF-8', ['frame', 1, '61ff62']),
  malformed('text with an encoded surrogate', ['frame', 1, 'eda080']),
  malformed('text with an overlong encoding', ['frame', 1, 'c0af']),
  malformed('text beyond U+10FFFF', ['frame', 1, 'f4908080']),
  malformed('text that ends within a character', ['frame', 1, '61f09f90']),
  malformed('fragmented text that is no UTF-8', ['frame', 1, '61', { fin: false }], ['frame', 0, 'ff', { fin: false }], ['frame', 0, '62']),

  ['frames: a length that nobody could have memory for', async (t) => {
    const { server, messages, closed } = t.connect([OPEN, ['text', 'before'], ['gate', 'go'], ['frame', 2, '61', { length: '7f7fffffffffffffff' }]]);
    await messages(1);
    await server.gate('go');
    await closed;
  }],

  ['frames: what the server is told of a violation', async (t) => {
    for (const [label, steps] of [['a reserved opcode', [['frame', 3]]], ['no UTF-8', [['frame', 1, 'ff']]]]) {
      const { server } = await violate(t, steps, label);
      await server.seen(label, (line) => line.replace(/^(close \d+) .*/, '$1'));
    }
  }],

  malformed('compressed data that is none', ['frame', 1, 'ffffff', { rsv: 4 }]),

  ['frames: compressed data that is none, permessage-deflate being agreed upon', async (t) => {
    const { server, messages, closed } = t.connect([['accept', { headers: [['Sec-WebSocket-Extensions', 'permessage-deflate']] }], ['text', 'before'], ['gate', 'go'], ['frame', 1, 'ffffff', { rsv: 4 }], ['eof', 1]]);
    await messages(1);
    await server.gate('go');
    await closed;
  }],

  ['frames: a frame that comes octet by octet', async (t) => {
    const steps = [...'8105'.match(/../g), ...'68656c6c6f'.match(/../g)].flatMap((octet) => [['raw', octet], ['sleep', 1]]);
    await t.session([OPEN, ...steps, ['close', 1000], ['closed']]);
  }],

  ['frames: a violation while the page is closing', async (t) => {
    const { socket, opened, closed } = t.connect([OPEN, ['closed'], ['frame', 1, 'ff'], ['close', 1000]]);
    await opened;
    socket.close(1000);
    await closed;
  }],
];
