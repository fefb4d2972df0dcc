// WHATWG WebSockets, "new WebSocket(url, protocols)": what it refuses, and what the new object says of itself.

// Makes a socket, logs its URL, and closes it again before it is open.
function make({ WebSocket, attempt }, label, ...values) {
  attempt(label, () => {
    const socket = new WebSocket(...values);
    const { url } = socket;
    socket.close();
    return url;
  });
}

export const scenarios = [
  ['constructor: no URL', async (t) => {
    for (const url of ['ws://', 'ws:', 'http://', 'wss:///', 'ws://[', 'ws://[1::2::3]/', 'ws://127.0.0.1:65536/', 'ws://127.0.0.1:x/', 'ws://127.0.0.1:-1/', 'ws://a b/', 'ws://a<b/', 'ws://1.2.3.256/', 'ws://%zz/', 'ws://a%00b/', 'ws://xn--/', '//', '://x']) {
      make(t, t.show(url), url);
    }
  }],

  ['constructor: schemes that are none of WebSocket', async (t) => {
    for (const url of ['ftp://127.0.0.1/', 'file:///x', 'mailto:a@b', 'about:blank', 'data:,x', 'javascript:1', 'blob:x', 'wsx://127.0.0.1/', 'ws+unix://x', 'w:x', 'urn:x']) {
      make(t, t.show(url), url);
    }
  }],

  ['constructor: http is ws, and https is wss', async (t) => {
    for (const scheme of ['ws', 'wss', 'http', 'https', 'WS', 'Http', 'HTTPS']) make(t, scheme, `${scheme}://${t.host}/echo?q`);
  }],

  ['constructor: an http URL connects', async (t) => {
    const socket = new t.WebSocket(`${t.base}/echo`);
    const watched = t.watch(socket);
    t.log(socket.url);
    await watched.opened;
    socket.close(1000);
    await watched.closed;
    t.log(socket.url);
  }],

  ['constructor: URLs relative to the page', async (t) => {
    for (const url of ['/echo', 'echo', './a/../echo', '?q', '', '//127.0.0.1:81/x', '/a b', '/%7e/\u00e9']) make(t, t.show(url), url);
  }],

  ['constructor: a URL with a fragment', async (t) => {
    for (const url of [`ws://${t.host}/#`, `ws://${t.host}/#x`, `ws://${t.host}/?a#b`, `http://${t.host}/#`, 'wss://127.0.0.1/# ']) make(t, t.show(url), url);
    make(t, 'escaped', `ws://${t.host}/%23x`);
  }],

  ['constructor: the URL is written as the URL standard writes it', async (t) => {
    for (const url of [
      'ws://127.1:7/', 'ws://0x7f.1:7/', 'ws://127.0.0.1:80/', 'wss://127.0.0.1:443/', 'ws://127.0.0.1:443/', 'http://127.0.0.1:80/', 'ws://127.0.0.1:007/', 'ws://127.0.0.1:/',
      'ws://127.0.0.1:7', 'ws:127.0.0.1:7/x', 'ws:\\\\127.0.0.1:7\\x', 'ws:///127.0.0.1:7/x', ' ws://127.0.0.1:7/ ', 'w\ns:\t//127.0.0.1:7/', 'ws://LocalHost:7/', 'ws://[::0001]:7/', 'ws://[0:0::127.0.0.1]:7/',
      'ws://127.0.0.1:7/a/../b/./c', 'ws://127.0.0.1:7/%2e%2E/x', 'ws://127.0.0.1:7/a b"<>`{}', 'ws://127.0.0.1:7/?a b"<>\'', 'ws://127.0.0.1:7/\u00e9?\u00e9', 'ws://127.0.0.1:7/\ud83d\udc1f', 'ws://127.0.0.1:7/a|b^c', 'ws://127.0.0.1:7?q',
      'ws://b\u00fccher.localhost:7/', 'ws://%6cocalhost:7/',
    ]) make(t, t.show(url), url);
  }],

  ['constructor: an unpaired surrogate in the URL', async (t) => {
    make(t, 'path', `ws://${t.host}/\ud800x`);
    make(t, 'query', `ws://${t.host}/?\udfff`);
    make(t, 'host', 'ws://\ud800/');
  }],

  ['constructor: what is no string is made one', async (t) => {
    make(t, 'URL', new URL(`ws://${t.host}/echo`));
    make(t, 'an array', [`ws://${t.host}/echo`]);
    make(t, 'toString', { toString: () => `ws://${t.host}/echo` });
    make(t, 'valueOf', { valueOf: () => 1, toString: () => `ws://${t.host}/echo` });
    make(t, 'a symbol', Symbol('ws'));
    make(t, 'toString throws', { toString() { throw new RangeError('x'); } });
    make(t, 'no conversion', Object.create(null));
  }],

  ['constructor: too few arguments, too many, and without new', async (t) => {
    make(t, 'none');
    t.attempt('without new', () => t.WebSocket(`ws://${t.host}/echo`));
    t.attempt('apply', () => t.WebSocket.call({}, `ws://${t.host}/echo`));
    make(t, 'three', `ws://${t.host}/echo`, [], { headers: { a: 'b' } });
  }],

  ['constructor: arguments are converted in order, and before the URL is looked at', async (t) => {
    const order = [];
    const url = { toString() { order.push('url'); return 'bad:'; } };
    const protocols = { *[Symbol.iterator]() { order.push('iterator'); yield { toString() { order.push('item'); return 'a'; } }; } };
    make(t, 'both', url, protocols);
    t.log(order.join(' '));
    make(t, 'the conversion of protocols comes before a bad URL', 'bad:', Symbol('x'));
    make(t, 'the URL comes before bad protocols', 'bad:', ['a', 'a']);
  }],

  ['constructor: credentials in the URL', async (t) => {
    make(t, 'both', `ws://user:pass@${t.host}/echo`);
    make(t, 'user', `ws://user@${t.host}/echo`);
    make(t, 'empty', `ws://:@${t.host}/echo`);
    make(t, 'escaped', `ws://us%20er:p@ss@${t.host}/echo`);
  }],

  ['constructor: a bad port fails the connection', async (t) => {
    for (const port of [1, 25, 6000, 6667, 10080]) {
      const socket = t.attempt(`port ${port}`, () => new t.WebSocket(`ws://127.0.0.1:${port}/`));
      if (socket) {
        t.log(t.state(socket));
        await t.watch(socket, `port ${port}`).closed;
      }
    }
  }],

  ['constructor: protocols that are no tokens', async (t) => {
    for (const protocols of ['', ' ', 'a b', ' a', 'a,b', 'a/b', 'a:b', '"a"', '(a)', '[a]', '{a}', '<a>', 'a@b', 'a=b', 'a?b', 'a;b', '\\', '\u0000', '\t', '\u001f', '\u007f', '\u0080', '\u00e9', '\u6e2f', '\ud800', ['a', ''], ['a', 'b c']]) {
      make(t, t.show(protocols), `ws://${t.host}/echo`, protocols);
    }
  }],

  ['constructor: protocols that come twice', async (t) => {
    for (const protocols of [['a', 'a'], ['a', 'b', 'a'], ['a', 'A'], ['ab', 'aB', 'AB']]) make(t, t.show(protocols), `ws://${t.host}/echo`, protocols);
  }],

  ['constructor: what is no string or array of strings as protocols', async (t) => {
    const url = `ws://${t.host}/echo`;
    make(t, 'undefined', url, undefined);
    make(t, 'null', url, null);
    make(t, 'a number', url, 5);
    make(t, 'true', url, true);
    make(t, 'an object', url, {});
    make(t, 'a function', url, () => {});
    make(t, 'a set', url, new Set(['a', 'b']));
    make(t, 'a String', url, new String('ab'));
    make(t, 'empty', url, []);
    make(t, 'numbers', url, [1, 2, null, undefined, true]);
    make(t, 'equal once converted', url, ['1', 1]);
    make(t, 'a nested array', url, [['a']]);
    make(t, 'a nested array of two', url, [['a', 'b']]);
    make(t, 'a symbol', url, [Symbol('a')]);
    make(t, 'an iterator that is none', url, { [Symbol.iterator]: 1 });
    make(t, 'an iterator of null', url, { [Symbol.iterator]: null, toString: () => 'a' });
    make(t, 'an iterator that throws', url, { *[Symbol.iterator]() { yield 'a'; throw new RangeError('x'); } });
    make(t, 'without hole', url, [, 'a']); // eslint-disable-line no-sparse-arrays
  }],

  ['constructor: protocols are asked for in their order', async (t) => {
    const all = "!#$%&'*+-.^_`|~09azAZ";
    for (const protocols of ['chat', ['b', 'a', 'c'], [all], new Set(['one', 'TWO']), [1, null]]) {
      const last = typeof protocols === 'string' ? protocols : String([...protocols].at(-1));
      const { server } = await t.session([['accept', { headers: [['Sec-WebSocket-Protocol', last]] }], ['close', 1000], ['closed']], { protocols });
      const request = await server.request();
      t.log(request.filter(([name]) => name.toLowerCase() === 'sec-websocket-protocol').map(([, value]) => value).join(' and '));
    }
  }],

  ['constructor: the new object', async (t) => {
    const socket = new t.WebSocket(`ws://${t.host}/echo`);
    for (const name of ['url', 'readyState', 'bufferedAmount', 'onopen', 'onerror', 'onclose', 'extensions', 'protocol', 'onmessage', 'binaryType']) t.log(`${name}: ${t.show(socket[name])}`);
    t.log(`own properties: ${t.show(Reflect.ownKeys(socket).filter((key) => typeof key === 'string'))}`);
    const watched = t.watch(socket);
    socket.close();
    await watched.closed;
  }],

  ['constructor: a class that extends it', async (t) => {
    class Mine extends t.WebSocket {
      constructor(...values) { super(...values); this.mine = 1; }
      get url() { return `mine ${super.url}`; }
    }
    const socket = new Mine(`ws://${t.host}/echo`);
    const watched = t.watch(socket);
    t.log(`${socket instanceof Mine} ${socket instanceof t.WebSocket} ${socket.constructor.name} ${socket.url} ${Mine.OPEN} ${socket.mine}`);
    await watched.opened;
    socket.close();
    await watched.closed;
    const other = Reflect.construct(t.WebSocket, [`ws://${t.host}/echo`], Object);
    t.log(`${other instanceof t.WebSocket} ${Object.getPrototypeOf(other) === Object.prototype}`);
    t.log(Object.getOwnPropertyDescriptor(t.WebSocket.prototype, 'readyState').get.call(other));
    t.WebSocket.prototype.close.call(other);
    t.attempt('a new.target without prototype', () => {
      const target = function target() {}.bind();
      const made = Reflect.construct(t.WebSocket, [`ws://${t.host}/echo`], target);
      made.close();
      return Object.getPrototypeOf(made) === t.WebSocket.prototype;
    });
  }],

  ['constructor: binaryType in every state', async (t) => {
    const socket = new t.WebSocket(`ws://${t.host}/echo`);
    const watched = t.watch(socket);
    const table = () => {
      for (const value of ['arraybuffer', 'blob', 'arraybuffer', 'ArrayBuffer', '', 'text', null, undefined, 0, {}, { toString: () => 'blob' }]) {
        t.attempt(`${t.state(socket)} ${t.show(value)}`, () => { socket.binaryType = value; return socket.binaryType; });
      }
    };
    table();
    t.attempt('a symbol', () => { socket.binaryType = Symbol('blob'); });
    await watched.opened;
    table();
    socket.close();
    table();
    await watched.closed;
    table();
  }],

  ['constructor: attributes that are read only', async (t) => {
    const socket = new t.WebSocket(`ws://${t.host}/echo`);
    for (const name of ['url', 'readyState', 'bufferedAmount', 'extensions', 'protocol', 'CONNECTING', 'OPEN']) {
      t.attempt(name, () => { 'use strict'; socket[name] = 7; return socket[name]; });
    }
    socket.close();
  }],
];
