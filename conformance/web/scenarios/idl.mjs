// WebIDL: what the interfaces look like to a program that looks at them.

const flags = (descriptor) => ['writable', 'enumerable', 'configurable'].filter((flag) => descriptor[flag]).join(' ') || 'none';

// Every property of an object, with its flags.
function properties(t, label, object, names = Reflect.ownKeys(object)) {
  const shown = names.map((name) => {
    const descriptor = Object.getOwnPropertyDescriptor(object, name);
    if (!descriptor) return `${label} ${String(name)}: none`;
    if ('value' in descriptor) {
      const { value } = descriptor;
      return `${label} ${String(name)}: ${typeof value === 'function' ? `function ${value.name} ${value.length}` : t.show(value)}; ${flags(descriptor)}`;
    }
    const { get, set } = descriptor;
    return `${label} ${String(name)}: ${get ? `${get.name} ${get.length}` : 'no getter'}, ${set ? `${set.name} ${set.length}` : 'no setter'}; ${flags(descriptor)}`;
  });
  for (const line of shown.sort()) t.log(line);
}

const made = (t) => { const socket = new t.WebSocket(`ws://${t.host}/echo`); socket.close(); return socket; };

export const scenarios = [
  ['idl: the interface object', async (t) => {
    properties(t, 'WebSocket', t.WebSocket);
    t.log(`${typeof t.WebSocket} ${Object.getPrototypeOf(t.WebSocket) === EventTarget}`);
    t.attempt('the prototype cannot be replaced', () => { 'use strict'; t.WebSocket.prototype = {}; });
    t.attempt('a constant cannot be changed', () => { 'use strict'; t.WebSocket.OPEN = 7; });
  }],

  ['idl: the prototype object', async (t) => {
    properties(t, 'prototype', t.WebSocket.prototype);
    t.log(`${Object.getPrototypeOf(t.WebSocket.prototype) === EventTarget.prototype} ${t.WebSocket.prototype.constructor === t.WebSocket} ${Object.prototype.toString.call(t.WebSocket.prototype)}`);
  }],

  ['idl: an instance', async (t) => {
    const socket = made(t);
    t.log(`${socket instanceof t.WebSocket} ${socket instanceof EventTarget} ${Object.prototype.toString.call(socket)} ${socket}`);
    t.log(`${Object.keys(socket).length} own, ${[...(function* all() { for (const name in socket) yield name; }())].filter((name) => !(name in EventTarget.prototype)).sort().join(' ')}`);
    t.log(`${socket.OPEN} ${'CLOSING' in socket} ${Object.hasOwn(socket, 'OPEN')} ${socket.constructor === t.WebSocket}`);
    t.log(`${JSON.stringify(socket).replace(/"isTrusted":\w+/, '')}`);
    socket.mine = 5;
    t.log(`${socket.mine} ${Object.isExtensible(socket)}`);
  }],

  ['idl: attributes of what is no WebSocket', async (t) => {
    const { prototype } = t.WebSocket;
    for (const name of ['url', 'readyState', 'bufferedAmount', 'extensions', 'protocol', 'binaryType', 'onopen', 'onmessage', 'onerror', 'onclose']) {
      const { get, set } = Object.getOwnPropertyDescriptor(prototype, name);
      t.attempt(`${name} of the prototype`, () => prototype[name]);
      for (const value of [{}, null, undefined, 5, new EventTarget(), Object.create(prototype)]) t.attempt(`get ${name} of ${value instanceof t.WebSocket ? 'an heir' : t.show(value)}`, () => get.call(value));
      if (set) {
        t.attempt(`set ${name} of an object`, () => set.call({}, null));
        t.attempt(`set ${name} without argument`, () => set.call(made(t)));
      }
    }
  }],

  ['idl: methods of what is no WebSocket', async (t) => {
    const { send, close } = t.WebSocket.prototype;
    for (const value of [{}, null, undefined, new EventTarget(), Object.create(t.WebSocket.prototype)]) {
      const label = value instanceof t.WebSocket ? 'an heir' : t.show(value);
      t.attempt(`send on ${label}`, () => send.call(value, 'x'));
      t.attempt(`close on ${label}`, () => close.call(value));
      t.attempt(`close on ${label} with a wrong code`, () => close.call(value, 1));
    }
    t.attempt('send is no constructor', () => new send('x')); // eslint-disable-line new-cap
    t.attempt('close is no constructor', () => new close()); // eslint-disable-line new-cap
    t.attempt('addEventListener on an object', () => EventTarget.prototype.addEventListener.call({}, 'x', () => {}));
  }],

  ['idl: too few arguments come before anything else', async (t) => {
    const { socket, closed } = t.connect([['accept'], ['answer']]);
    t.attempt('send in CONNECTING', () => socket.send());
    t.attempt('send undefined in CONNECTING', () => socket.send(undefined));
    t.attempt('close of nothing', () => socket.close(undefined, undefined));
    await closed;
  }],

  ...['CloseEvent', 'MessageEvent'].flatMap((name) => [
    [`idl: the interface ${name}`, async (t) => {
      const { api: { [name]: Interface } } = t;
      properties(t, name, Interface, ['length', 'name', 'prototype']);
      const common = name === 'CloseEvent' ? ['wasClean', 'code', 'reason'] : ['data', 'origin', 'lastEventId', 'source', 'ports', 'initMessageEvent'];
      properties(t, 'prototype', Interface.prototype, [...common, 'constructor', Symbol.toStringTag]);
      t.log(`${Object.getPrototypeOf(Interface) === Event} ${Object.getPrototypeOf(Interface.prototype) === Event.prototype}`);
      t.attempt('without new', () => Interface('x'));
      t.attempt('without arguments', () => new Interface());
      for (const attribute of common.slice(0, 3)) t.attempt(`${attribute} of the prototype`, () => Interface.prototype[attribute]);
      t.attempt('an attribute of an Event', () => Object.getOwnPropertyDescriptor(Interface.prototype, common[0]).get.call(new Event('x')));
      t.attempt('a symbol as type', () => new Interface(Symbol('x')));
      t.attempt('a type that is made a string', () => new Interface(5).type);
      for (const init of [null, undefined, {}, 5, 'x', true, Symbol('x'), () => {}]) t.attempt(`init ${t.show(init)}`, () => new Interface('x', init).bubbles);
      const event = new Interface('x', { bubbles: 1, cancelable: 'yes', composed: {} });
      t.log(`${event.type} ${event.bubbles} ${event.cancelable} ${event.composed} ${event.isTrusted} ${event.target} ${event.eventPhase} ${event instanceof Event} ${event}`);
    }],
  ]),

  ['idl: members of CloseEventInit', async (t) => {
    const line = (event) => `${t.show(event.wasClean)} ${t.show(event.code)} ${t.show(event.reason)}`;
    t.log(line(new t.CloseEvent('close')));
    t.log(line(new t.CloseEvent('close', { wasClean: true, code: 4000, reason: 'x' })));
    t.log(line(new t.CloseEvent('close', { wasClean: undefined, code: undefined, reason: undefined })));
    for (const code of [65535, 65536, 65537, -1, 1.9, -0.5, NaN, Infinity, '12', 'x', null, true, {}]) t.attempt(`code ${t.show(code)}`, () => new t.CloseEvent('close', { code }).code);
    for (const reason of [5, null, '\ud800', {}, 'x'.repeat(200)]) t.attempt(`reason ${t.show(reason)}`, () => new t.CloseEvent('close', { reason }).reason);
    for (const [label, init] of [['a symbol as code', { code: Symbol('x') }], ['a bigint as code', { code: 1n }], ['a symbol as reason', { reason: Symbol('x') }]]) t.attempt(label, () => new t.CloseEvent('close', init));
    for (const wasClean of [0, 1, '', 'x', null, {}]) t.attempt(`wasClean ${t.show(wasClean)}`, () => new t.CloseEvent('close', { wasClean }).wasClean);
    const order = [];
    const init = Object.fromEntries(['bubbles', 'cancelable', 'composed', 'code', 'reason', 'wasClean'].map((name) => [name, undefined]));
    for (const name of Object.keys(init)) Object.defineProperty(init, name, { get() { order.push(name); return undefined; } });
    t.log(`${line(new t.CloseEvent('close', init))} read: ${order.join(' ')}`);
    t.attempt('an attribute is read only', () => { 'use strict'; new t.CloseEvent('close').code = 5; });
  }],

  ['idl: members of MessageEventInit', async (t) => {
    const line = (event) => ['data', 'origin', 'lastEventId', 'source', 'ports'].map((name) => `${name}=${t.show(event[name])}`).join(' ');
    t.log(line(new t.MessageEvent('message')));
    t.log(line(new t.MessageEvent('message', { data: 5, origin: 'o', lastEventId: 'i', source: null, ports: [] })));
    const data = {};
    t.log(`${new t.MessageEvent('message', { data }).data === data} ${t.show(new t.MessageEvent('message', { data: undefined }).data)}`);
    const { port1, port2 } = new MessageChannel();
    const event = new t.MessageEvent('message', { source: port1, ports: [port1, port2] });
    t.log(`${event.source === port1} ${event.ports.length} ${event.ports[1] === port2} ${event.ports === event.ports} ${Object.isFrozen(event.ports)}`);
    port1.close();
    for (const init of [{ ports: [{}] }, { ports: 5 }, { ports: null }, { source: {} }, { source: 5 }, { origin: Symbol('x') }, { lastEventId: Symbol('x') }]) t.attempt(`${Object.keys(init)[0]} ${t.show(Object.values(init)[0])}`, () => line(new t.MessageEvent('message', init)));
    t.attempt('origin is made a string', () => new t.MessageEvent('message', { origin: 5 }).origin);
    t.attempt('an unpaired surrogate', () => new t.MessageEvent('message', { origin: '\ud800', lastEventId: '\ud800' }).origin);
  }],

  ['idl: initMessageEvent', async (t) => {
    const event = new t.MessageEvent('a', { data: 1, origin: 'x' });
    t.attempt('without arguments', () => event.initMessageEvent());
    t.attempt('a type', () => event.initMessageEvent('b'));
    t.log(`${event.type} ${event.bubbles} ${t.show(event.data)} ${t.show(event.origin)}`);
    t.attempt('all', () => event.initMessageEvent('c', true, true, 5, 'o', 'i', null, []));
    t.log(`${event.type} ${event.bubbles} ${event.cancelable} ${t.show(event.data)} ${event.origin} ${event.lastEventId} ${t.show(event.ports)}`);
  }],

  ['idl: events of the socket are of the interfaces', async (t) => {
    const { socket, closed } = t.connect([['accept'], ['text', 'x'], ['close', 1000], ['closed']]);
    for (const [type, Interface] of [['open', Event], ['message', t.MessageEvent], ['close', t.CloseEvent]]) socket.addEventListener(type, (event) => t.log(`${type} ${Object.getPrototypeOf(event) === Interface.prototype} ${Object.keys(event).join(' ')}`));
    await closed;
  }],

  ['idl: a message event is what the page cannot change', async (t) => {
    const { socket, closed } = t.connect([['accept'], ['text', 'x'], ['binary', 3], ['close', 1000], ['closed']]);
    const all = [];
    socket.addEventListener('message', (event) => {
      t.attempt('data', () => { 'use strict'; event.data = 5; });
      t.log(`${event.data === event.data} ${Object.isFrozen(event.ports)} ${event.ports === event.ports}`);
      all.push(event);
    });
    await closed;
    t.log(`${all.length}`);
  }],
];
