'use strict';

// What Node has and browsers have not: its own Event and EventTarget, events.once, blobs of files.

const assert = require('node:assert/strict');
const { once } = require('node:events');
const fs = require('node:fs/promises');
const { openAsBlob } = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { test } = require('node:test');
const sockeye = require('..');
const { serve } = require('./server.js');

const { WebSocket } = sockeye;

async function opened(t) {
  const socket = new WebSocket(await serve(t));
  await once(socket, 'open');
  t.after(() => socket.close());
  return socket;
}

test('two sockets do not disturb each other', async (t) => {
  const [one, two] = await Promise.all([opened(t), opened(t)]);
  const messages = Promise.all([once(one, 'message'), once(two, 'message')]);
  one.send('one');
  two.send('two');
  assert.deepEqual((await messages).map(([event]) => event.data), ['one', 'two']);
  one.close();
  await once(one, 'close');
  assert.deepEqual([one.readyState, two.readyState], [WebSocket.CLOSED, WebSocket.OPEN]);
});

test('a socket and its events are instances of what Node has', async (t) => {
  const socket = new WebSocket(await serve(t));
  assert.ok(socket instanceof EventTarget);
  const [event] = await once(socket, 'open');
  assert.ok(event instanceof Event && event instanceof sockeye.Event);
  const closed = once(socket, 'close');
  socket.close();
  const [close] = await closed;
  assert.ok(close instanceof Event && close instanceof sockeye.CloseEvent);
  assert.deepEqual([event.target === socket, event.type, event.isTrusted, event.currentTarget], [true, 'open', true, null]);
});

test('an event of Node is dispatched on a socket', async (t) => {
  const socket = await opened(t);
  const seen = [];
  socket.addEventListener('mine', (event) => seen.push('first', event.currentTarget === socket));
  socket.addEventListener('mine', (event) => { seen.push('once', event.currentTarget === socket, event.target === socket); event.preventDefault(); }, { once: true });
  socket.addEventListener('mine', () => seen.push('capture'), true);
  const event = new Event('mine', { cancelable: true });
  assert.equal(socket.dispatchEvent(event), false);
  assert.deepEqual(seen, ['capture', 'first', true, 'once', true, true]);
  seen.length = 0;
  assert.equal(socket.dispatchEvent(new Event('mine')), true);
  assert.deepEqual(seen, ['capture', 'first', true]);
  assert.equal(Object.hasOwn(event, 'stopImmediatePropagation'), false);
});

test('an event of Node may be stopped, and is not dispatched within its dispatch', async (t) => {
  const socket = await opened(t);
  let calls = 0;
  socket.addEventListener('mine', (event) => {
    calls += 1;
    assert.throws(() => socket.dispatchEvent(event), { name: 'InvalidStateError', code: 11 });
    event.stopImmediatePropagation();
  });
  socket.addEventListener('mine', () => { calls += 10; });
  socket.dispatchEvent(new Event('mine'));
  assert.equal(calls, 1);
  assert.throws(() => socket.dispatchEvent({ type: 'mine' }), TypeError);
});

test('exceptions are those of the standards', async (t) => {
  assert.throws(() => new WebSocket(), TypeError);
  assert.throws(() => new WebSocket('bad:'), (error) => error instanceof DOMException && error.name === 'SyntaxError' && error.code === 12 && /ws, wss/.test(error.message));
  assert.throws(() => new WebSocket('/relative'), { name: 'SyntaxError' }, 'there is no page here');
  const socket = new WebSocket(await serve(t));
  assert.throws(() => socket.send('early'), { name: 'InvalidStateError' });
  assert.throws(() => socket.close(1001), { name: 'InvalidAccessError' });
  socket.close();
  await once(socket, 'close');
});

test('shared memory is not sent', async (t) => {
  const socket = await opened(t);
  assert.throws(() => socket.send(new Uint8Array(new SharedArrayBuffer(4))), TypeError);
  assert.equal(socket.bufferedAmount, 0);
});

test('a blob that cannot be read fails the connection, and what is behind it is not sent', async (t) => {
  const directory = await fs.mkdtemp(path.join(os.tmpdir(), 'sockeye-'));
  t.after(() => fs.rm(directory, { recursive: true }));
  const file = path.join(directory, 'file');
  await fs.writeFile(file, 'as it was');
  const blob = await openAsBlob(file);
  const socket = await opened(t);
  socket.send(blob);
  assert.equal(socket.bufferedAmount, 9);
  await once(socket, 'message');
  await fs.writeFile(file, 'longer than it was');
  const events = [];
  for (const type of ['message', 'error', 'close']) socket.addEventListener(type, (event) => events.push(event.type));
  socket.send(blob);
  socket.send('behind it');
  const [{ code, wasClean }] = await once(socket, 'close');
  assert.deepEqual([code, wasClean, events], [1006, false, ['error', 'close']]);
});

test('without a way to run microtasks between listeners all are called', async (t) => {
  const tick = process._tickCallback;
  process._tickCallback = undefined;
  t.after(() => { process._tickCallback = tick; });
  const socket = new WebSocket(await serve(t));
  const seen = [];
  socket.addEventListener('open', () => seen.push(1));
  socket.addEventListener('open', () => seen.push(2));
  await once(socket, 'open');
  assert.deepEqual(seen, [1, 2]);
  socket.close();
  await once(socket, 'close');
});

test('a page gives the base of relative URLs, and the origin', async (t) => {
  const url = await serve(t);
  globalThis.location = new URL('a/page', url.replace('ws:', 'http:'));
  t.after(() => { delete globalThis.location; });
  const socket = new WebSocket('../close');
  assert.equal(socket.url, `${url}close`);
  const [{ code }] = await once(socket, 'close');
  assert.equal(code, 1000);
});
