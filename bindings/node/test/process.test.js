'use strict';

// What sockets mean to the process that they are in.

const assert = require('node:assert/strict');
const { spawn } = require('node:child_process');
const path = require('node:path');
const { test } = require('node:test');
const { Worker } = require('node:worker_threads');
const { serve } = require('./server.js');

const MODULE = path.join(__dirname, '..');

// Runs a program that has WebSocket, and `url`; gives what it printed and how it ended. It is killed after 20 s.
function run(url, program) {
  const words = `const sockeye = require(${JSON.stringify(MODULE)}); globalThis.WebSocket = sockeye.WebSocket; const url = ${JSON.stringify(url)};\n${program}`;
  const child = spawn(process.execPath, ['-e', words], { stdio: ['ignore', 'pipe', 'pipe'], timeout: 20_000, killSignal: 'SIGKILL' });
  const texts = { stdout: '', stderr: '' };
  for (const name of Object.keys(texts)) child[name].on('data', (data) => { texts[name] += data; });
  return new Promise((resolve) => { child.on('close', (code, signal) => resolve({ ...texts, code, signal })); });
}

test('it ends once its sockets are closed', async (t) => {
  const url = await serve(t);
  const ended = await run(url, `
    const socket = new WebSocket(url);
    socket.onopen = () => socket.send('hello');
    socket.onmessage = ({ data }) => { console.log(data); socket.close(1000); };
    socket.onclose = ({ code }) => console.log(code);`);
  assert.deepEqual(ended, { stdout: 'hello\n1000\n', stderr: '', code: 0, signal: null });
});

test('an open socket keeps it alive, until the server closes', async (t) => {
  const url = await serve(t);
  const ended = await run(url, 'new WebSocket(`${url}close`).onclose = ({ code, wasClean }) => console.log(code, wasClean);');
  assert.deepEqual(ended, { stdout: '1000 true\n', stderr: '', code: 0, signal: null });
});

test('so it is without listeners, and when the connection is refused', async (t) => {
  const url = await serve(t);
  const ended = await run(url, 'new WebSocket(`${url}close`); new WebSocket("ws://127.0.0.1:1/"); try { new WebSocket("x:"); } catch ({ name }) { console.log(name); }');
  assert.deepEqual(ended, { stdout: 'SyntaxError\n', stderr: '', code: 0, signal: null });
});

test('a stream does the same', async (t) => {
  const url = await serve(t);
  const ended = await run(url, `(async () => {
    const stream = new sockeye.WebSocketStream(url);
    const { readable, writable } = await stream.opened;
    const writer = writable.getWriter();
    await writer.write('hello');
    console.log((await readable.getReader().read()).value);
    writer.close();
    console.log((await stream.closed).closeCode);
  })();`);
  assert.deepEqual(ended, { stdout: 'hello\n1005\n', stderr: '', code: 0, signal: null });
});

test('it may exit with an open socket', async (t) => {
  const url = await serve(t);
  const ended = await run(url, 'new WebSocket(url).onopen = () => process.exit(7); new sockeye.WebSocketStream(url);');
  assert.deepEqual(ended, { stdout: '', stderr: '', code: 7, signal: null });
});

test('an exception in a listener that nobody catches ends it', async (t) => {
  const url = await serve(t);
  const ended = await run(url, 'const socket = new WebSocket(url); socket.onopen = () => { throw new RangeError("mine"); }; socket.addEventListener("open", () => console.log("next"));');
  assert.equal(ended.code, 1);
  assert.match(ended.stderr, /RangeError: mine/);
});

test('a worker has sockets too', async (t) => {
  const url = await serve(t);
  const program = `
    const { parentPort } = require('node:worker_threads');
    const socket = new (require(${JSON.stringify(MODULE)}).WebSocket)(${JSON.stringify(url)});
    socket.onopen = () => socket.send('hello');
    socket.onmessage = ({ data }) => { parentPort.postMessage(data); socket.close(); };`;
  const worker = new Worker(program, { eval: true });
  const messages = [];
  worker.on('message', (message) => messages.push(message));
  assert.equal(await new Promise((resolve, reject) => { worker.on('exit', resolve); worker.on('error', reject); }), 0);
  assert.deepEqual(messages, ['hello']);
});

test('a worker that ends leaves no connection behind', async (t) => {
  const codes = [];
  let over;
  const closed = new Promise((resolve) => { over = resolve; });
  const url = await serve(t, (code) => { codes.push(code); if (codes.length === 2) over(); });
  const program = `
    const sockeye = require(${JSON.stringify(MODULE)});
    new sockeye.WebSocketStream(${JSON.stringify(url)}).opened.then(() => { new sockeye.WebSocket(${JSON.stringify(url)}).onopen = () => process.exit(3); });`;
  const worker = new Worker(program, { eval: true });
  assert.equal(await new Promise((resolve, reject) => { worker.on('exit', resolve); worker.on('error', reject); }), 3);
  await closed;
  assert.deepEqual(codes.sort(), [1001, null]);
});
