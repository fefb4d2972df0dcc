// HTML, "Event handlers": onopen, onmessage, onerror and onclose.

const NAMES = ['onopen', 'onmessage', 'onerror', 'onclose'];
const ONE = [['accept'], ['text', 'one'], ['close', 1000], ['closed']];
const THREE = [['accept'], ['texts', 'n', 3], ['close', 1000], ['closed']];

// A socket that `watch` does not listen to, so that a scenario's own listeners are the only ones.
function bare(t, steps) {
  const server = t.server(...steps);
  const socket = new t.WebSocket(server.url);
  const closed = new Promise((resolve) => { queueMicrotask(() => socket.addEventListener('close', () => setTimeout(resolve, 5))); });
  return { socket, server, closed };
}

export const scenarios = [
  ['handlers: every event', async (t) => {
    for (const steps of [ONE, [['accept'], ['gate', 'go'], ['frame', 3]]]) {
      const { socket, server, closed } = bare(t, steps);
      socket.addEventListener('open', () => server.gate('go'));
      for (const name of NAMES) socket[name] = (event) => t.log(`${name} ${event.type} ${event.constructor.name} ${t.state(socket)}`);
      await closed;
    }
  }],

  ['handlers: what may be one', async (t) => {
    const { socket, closed } = bare(t, ONE);
    const callable = () => {};
    for (const name of NAMES) {
      for (const value of [callable, {}, { handleEvent() {} }, null, undefined, 5, 'alert(1)', true, Symbol('x'), [], class {}]) {
        t.attempt(`${name} = ${t.show(value)}`, () => { socket[name] = value; return socket[name] === value ? 'kept' : socket[name]; });
      }
      socket[name] = null;
    }
    await closed;
  }],

  ['handlers: an object that is not callable is kept and never called', async (t) => {
    const { socket, closed } = bare(t, ONE);
    socket.onmessage = { handleEvent() { t.log('called'); } };
    socket.addEventListener('message', () => t.log('listener'));
    await closed;
    t.log(t.show(socket.onmessage));
  }],

  ['handlers: this, and the arguments', async (t) => {
    const { socket, closed } = bare(t, ONE);
    socket.onmessage = function handler(...values) { t.log(`${this === socket} ${values.length} ${values[0].constructor.name}`); };
    await closed;
  }],

  ['handlers: among listeners a handler has the place where it was first set', async (t) => {
    const { socket, closed } = bare(t, ONE);
    socket.addEventListener('message', () => t.log('first'));
    socket.onmessage = () => t.log('never');
    socket.addEventListener('message', () => t.log('third'));
    socket.onmessage = () => t.log('second, replaced');
    await closed;
  }],

  ['handlers: one that was null has its place anew', async (t) => {
    const { socket, closed } = bare(t, ONE);
    socket.onmessage = () => t.log('never');
    socket.addEventListener('message', () => t.log('first'));
    socket.onmessage = null;
    socket.onmessage = () => t.log('second');
    await closed;
  }],

  ['handlers: null is not called', async (t) => {
    const { socket, closed } = bare(t, ONE);
    socket.onmessage = () => t.log('never');
    socket.onmessage = null;
    socket.addEventListener('close', () => t.log('close'));
    await closed;
  }],

  ['handlers: set before the open event', async (t) => {
    const { socket, closed } = bare(t, THREE);
    const order = [];
    await null;
    for (const name of NAMES) socket[name] = ({ type, data }) => order.push(data ?? type);
    await closed;
    t.log(order.join(' '));
  }],

  ['handlers: set in another', async (t) => {
    const { socket, closed } = bare(t, THREE);
    socket.onopen = () => {
      t.log('open');
      socket.onmessage = ({ data }) => {
        t.log(`one ${data}`);
        socket.onmessage = (event) => { t.log(`two ${event.data}`); socket.onmessage = null; };
      };
    };
    socket.onclose = () => t.log('close');
    await closed;
  }],

  ['handlers: replaced by a listener before them', async (t) => {
    const { socket, closed } = bare(t, ONE);
    socket.addEventListener('message', () => { socket.onmessage = () => t.log('replaced'); });
    socket.onmessage = () => t.log('old');
    await closed;
  }],

  ['handlers: set to null by a listener before them', async (t) => {
    const { socket, closed } = bare(t, ONE);
    socket.addEventListener('message', () => { socket.onmessage = null; });
    socket.onmessage = () => t.log('old');
    socket.addEventListener('message', () => t.log('last'));
    await closed;
  }],

  ['handlers: false cancels nothing', async (t) => {
    const { socket, closed } = bare(t, ONE);
    socket.onmessage = () => false;
    socket.addEventListener('message', (event) => t.log(`${event.defaultPrevented} ${event.returnValue}`));
    socket.onclose = (event) => { event.preventDefault(); t.log(`${event.defaultPrevented}`); return false; };
    await closed;
  }],

  ['handlers: an exception is reported, and everything goes on', async (t) => {
    const { socket, closed } = bare(t, THREE);
    for (const name of NAMES) socket[name] = () => { t.log(name); throw new RangeError(`from ${name}`); };
    socket.addEventListener('message', ({ data }) => t.log(`listener ${data}`));
    await closed;
    t.log(t.state(socket));
  }],

  ['handlers: an exception in the error and in the close event', async (t) => {
    const { socket, server, closed } = bare(t, [['accept'], ['gate', 'go'], ['frame', 3]]);
    socket.addEventListener('open', () => server.gate('go'));
    for (const name of NAMES) socket[name] = () => { t.log(`${name} ${t.state(socket)}`); throw new RangeError(name); };
    await closed;
    t.log(t.state(socket));
  }],

  ['handlers: a value that is no error is thrown', async (t) => {
    const { socket, closed } = bare(t, ONE);
    socket.onmessage = () => { throw 'a string'; }; // eslint-disable-line no-throw-literal
    socket.onclose = () => t.log('close');
    await closed;
  }],

  ['handlers: an async one', async (t) => {
    const { socket, closed } = bare(t, THREE);
    socket.onmessage = async ({ data }) => { t.log(`begins ${data}`); await null; t.log(`ends ${data}`); };
    await closed;
  }],

  ['handlers: each message is a task of its own', async (t) => {
    const { socket, closed } = bare(t, THREE);
    const order = [];
    socket.onmessage = ({ data }) => { order.push(data); Promise.resolve().then(() => order.push('then')).then(() => order.push('then')); };
    await closed;
    t.log(order.join(' '));
  }],

  ['handlers: after close nothing holds them', async (t) => {
    const { socket, closed } = bare(t, ONE);
    for (const name of NAMES) socket[name] = () => {};
    await closed;
    t.log(NAMES.map((name) => typeof socket[name]).join(' '));
    for (const name of NAMES) socket[name] = null;
    t.log(NAMES.map((name) => t.show(socket[name])).join(' '));
  }],

  ['handlers: the attribute of another type is not that of this', async (t) => {
    const { socket, closed } = bare(t, ONE);
    const same = () => {};
    socket.onopen = same;
    t.log(NAMES.map((name) => t.show(socket[name])).join(' '));
    socket.onfoo = () => t.log('never');
    socket.dispatchEvent(new Event('foo'));
    await closed;
  }],
];
