// DOM, "EventTarget" and "Dispatching events", as a socket has them.

const ONE = [['accept'], ['text', 'one'], ['close', 1000], ['closed']];
const THREE = [['accept'], ['texts', 'n', 3], ['close', 1000], ['closed']];

// Connects, lets `listen` add its listeners, and waits for the end.
const session = (name, steps, listen) => [`listeners: ${name}`, async (t) => {
  const socket = new t.WebSocket(t.server(...steps).url);
  const closed = new Promise((resolve) => { socket.addEventListener('close', () => setTimeout(resolve, 5)); });
  const on = (type, listener, options) => socket.addEventListener(type, listener, options);
  await listen(t, socket, on);
  await closed;
}];

export const scenarios = [
  session('in the order in which they were added', ONE, (t, socket, on) => {
    for (const name of ['a', 'b', 'c']) on('message', () => t.log(name));
  }),

  session('the same one is there once', ONE, (t, socket, on) => {
    const same = () => t.log('called');
    on('message', same);
    on('message', same);
    on('message', same, { once: true });
    on('message', same, true);
    on('message', same, { capture: true });
  }),

  session('once', THREE, (t, socket, on) => {
    on('message', ({ data }) => t.log(`once ${data}`), { once: true });
    on('message', ({ data }) => t.log(`always ${data}`));
  }),

  session('once is removed before it is called', THREE, (t, socket, on) => {
    const again = ({ data }) => { t.log(`called ${data}`); if (data === 'n0') on('message', again, { once: true }); };
    on('message', again, { once: true });
  }),

  session('removed', ONE, (t, socket, on) => {
    const gone = () => t.log('never');
    on('message', gone);
    socket.removeEventListener('message', gone);
    on('message', gone, true);
    socket.removeEventListener('message', gone);
    socket.removeEventListener('message', gone, { capture: true });
    socket.removeEventListener('message', () => {});
    socket.removeEventListener('message', null);
    on('message', () => t.log('still here'));
  }),

  session('removed by another, before it was its turn and after', THREE, (t, socket, on) => {
    const early = () => t.log('early');
    const late = () => t.log('never');
    on('message', early);
    on('message', () => { t.log('remover'); socket.removeEventListener('message', early); socket.removeEventListener('message', late); });
    on('message', late);
  }),

  session('added while an event is dispatched, it gets the next one', THREE, (t, socket, on) => {
    on('message', ({ data }) => {
      t.log(`outer ${data}`);
      on('message', (event) => t.log(`added at ${data}, called at ${event.data}`), { once: true });
    });
  }),

  session('removed and added again while an event is dispatched', THREE, (t, socket, on) => {
    const second = ({ data }) => t.log(`second ${data}`);
    on('message', ({ data }) => { t.log(`first ${data}`); socket.removeEventListener('message', second); on('message', second); });
    on('message', second);
  }),

  session('in the capture phase', ONE, (t, socket, on) => {
    on('message', ({ eventPhase }) => t.log(`bubble ${eventPhase}`));
    on('message', ({ eventPhase }) => t.log(`capture ${eventPhase}`), true);
  }),

  session('an abort signal', THREE, (t, socket, on) => {
    const controller = new AbortController();
    on('message', ({ data }) => { t.log(`aborter ${data}`); if (data === 'n1') controller.abort(); });
    on('message', ({ data }) => t.log(`abortable ${data}`), { signal: controller.signal });
    on('message', ({ data }) => t.log(`last ${data}`));
  }),

  session('a signal that is aborted already, and what is no signal', ONE, (t, socket, on) => {
    on('message', () => t.log('never'), { signal: AbortSignal.abort() });
    for (const signal of [null, 5, {}]) t.attempt(`signal ${t.show(signal)}`, () => on('message', () => t.log('never'), { signal }));
    t.attempt('undefined', () => on('message', () => t.log('called'), { signal: undefined }));
  }),

  session('an object with handleEvent', ONE, (t, socket, on) => {
    const listener = { name: 'mine', handleEvent(event) { t.log(`${this.name} ${event.data} ${this === listener}`); } };
    on('message', listener);
    const later = {};
    on('message', later);
    later.handleEvent = () => t.log('looked up at the call');
    const getter = { get handleEvent() { t.log('get'); return () => t.log('from the getter'); } };
    on('message', getter);
  }),

  session('an object without handleEvent is reported', ONE, (t, socket, on) => {
    on('message', {});
    on('message', { handleEvent: 5 });
    on('message', { get handleEvent() { throw new RangeError('getter'); } });
    on('message', () => t.log('last'));
  }),

  session('this of a function', ONE, (t, socket, on) => {
    on('message', function listener(event) { t.log(`${this === socket} ${event.currentTarget === socket} ${event.target === socket}`); });
  }),

  session('what may be one', ONE, (t, socket) => {
    for (const value of [null, undefined, 5, 'x', true, Symbol('x'), {}, () => {}]) t.attempt(t.show(value), () => socket.addEventListener('x', value));
    t.attempt('none', () => socket.addEventListener());
    t.attempt('a type only', () => socket.addEventListener('x'));
    t.attempt('dispatch nothing', () => socket.dispatchEvent());
    t.attempt('dispatch null', () => socket.dispatchEvent(null));
    t.attempt('dispatch an object', () => socket.dispatchEvent({ type: 'message' }));
  }),

  session('an exception is reported, and the next ones are called', THREE, (t, socket, on) => {
    on('message', ({ data }) => { throw new RangeError(`at ${data}`); });
    on('message', ({ data }) => t.log(data));
    on('close', () => { throw new TypeError('close'); });
    on('close', ({ code }) => t.log(code));
  }),

  session('stopImmediatePropagation', ONE, (t, socket, on) => {
    on('message', (event) => { t.log('first'); event.stopImmediatePropagation(); });
    on('message', () => t.log('never'));
    socket.onmessage = () => t.log('never either');
  }),

  session('stopPropagation and preventDefault', ONE, (t, socket, on) => {
    on('message', (event) => { event.stopPropagation(); event.preventDefault(); event.returnValue = false; });
    on('message', (event) => t.log(`${event.defaultPrevented} ${event.cancelBubble} ${event.returnValue}`));
  }),

  session('microtasks run between two of them', ONE, (t, socket, on) => {
    on('message', () => { Promise.resolve().then(() => t.log('microtask of the first')); t.log('first'); });
    on('message', () => t.log('second'));
  }),

  session('all get the same event', ONE, (t, socket, on) => {
    const events = [];
    on('message', (event) => events.push(event));
    socket.onmessage = (event) => events.push(event);
    on('message', (event) => t.log(`${events.every((one) => one === event)}`));
  }),

  session('the members of an event', ONE, (t, socket, on) => {
    for (const type of ['open', 'message', 'close']) {
      on(type, (event) => {
        for (const name of ['type', 'bubbles', 'cancelable', 'composed', 'defaultPrevented', 'returnValue', 'isTrusted', 'eventPhase', 'cancelBubble', 'data', 'origin', 'lastEventId', 'source', 'ports', 'code', 'reason', 'wasClean']) {
          t.log(`${type} ${name}: ${t.show(event[name])}`);
        }
        t.log(`${type} ${event.constructor.name} ${t.show(event)} ${event.target === socket} ${event.currentTarget === socket} ${event.srcElement === socket} path ${event.composedPath().length}`);
        t.log(`${type} timeStamp ${typeof event.timeStamp} ${event.timeStamp >= 0}`);
      });
    }
  }),

  ['listeners: the members of an error event', async (t) => {
    const socket = new t.WebSocket(`ws://${t.refused}/`);
    await new Promise((resolve) => {
      socket.addEventListener('error', (event) => {
        for (const name of ['type', 'bubbles', 'cancelable', 'composed', 'isTrusted', 'eventPhase', 'message', 'error']) t.log(`${name}: ${t.show(event[name])}`);
        t.log(`${event.constructor.name} ${Object.getPrototypeOf(event) === Event.prototype} ${event.target === socket}`);
      });
      socket.addEventListener('close', resolve);
    });
  }],

  session('an event after its dispatch', ONE, (t, socket, on) => {
    on('message', (event) => setTimeout(() => t.log(`${event.currentTarget} ${event.target === socket} ${event.eventPhase} ${event.composedPath().length} ${event.data}`), 0));
  }),

  session('events that the page makes', ONE, (t, socket, on) => {
    on('message', (event) => t.log(`${event.type} ${event.isTrusted} ${t.show(event.data)} ${socket.readyState}`));
    on('close', (event) => t.log(`${event.type} ${event.isTrusted} ${event.code} ${socket.readyState}`));
    t.attempt('message', () => socket.dispatchEvent(new t.MessageEvent('message', { data: [1, 2] })));
    t.attempt('close', () => socket.dispatchEvent(new t.CloseEvent('close', { code: 4000 })));
    t.attempt('plain', () => socket.dispatchEvent(new Event('message', { cancelable: true })));
    const event = new Event('message');
    on('message', () => t.attempt('within its dispatch', () => socket.dispatchEvent(event)), { once: true });
    t.attempt('once more', () => socket.dispatchEvent(event));
  }),

  session('an event from the socket is dispatched again by the page', ONE, (t, socket, on) => {
    let again = true;
    on('message', (event) => {
      t.log(`${event.isTrusted} ${event.data}`);
      if (again) {
        again = false;
        setTimeout(() => t.attempt('again', () => socket.dispatchEvent(event)), 0);
      }
    });
  }),

  session('options are read, and may be anything', ONE, (t, socket, on) => {
    const read = [];
    const options = { get capture() { read.push('capture'); return false; }, get once() { read.push('once'); return false; }, get passive() { read.push('passive'); return false; } };
    on('message', () => t.log('called'), options);
    t.log(read.sort().join(' '));
    for (const value of [null, undefined, 5, 'x', {}, []]) t.attempt(t.show(value), () => on('x', () => {}, value));
    t.attempt('once as an object', () => on('message', () => t.log('once'), { once: {} }));
  }),

  session('passive', ONE, (t, socket, on) => {
    on('message', (event) => { event.preventDefault(); t.log(`${event.defaultPrevented}`); }, { passive: true });
  }),

  session('the page closes in one, and the others are still called', THREE, (t, socket, on) => {
    on('message', () => { socket.close(); t.log(t.state(socket)); });
    on('message', ({ data }) => t.log(`${data} ${t.state(socket)}`));
  }),
];
