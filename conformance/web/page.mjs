// The page's side: what is under test is what the browser has.
import { FILES, run } from './harness.mjs';

const { WebSocket, WebSocketStream, WebSocketError, CloseEvent, MessageEvent } = globalThis;
let reported = [];
const hooks = { take: () => reported.splice(0) };
const keep = (what) => (event) => { reported.push(event[what]); event.preventDefault(); };
addEventListener('error', keep('error'));
addEventListener('unhandledrejection', keep('reason'));

// Chromium delays the connections of a page most of whose attempts failed: here are some that do not.
for (let count = 0; count < 60; count += 1) {
  await new Promise((resolve) => {
    const socket = new WebSocket(`ws://${location.host}/echo`);
    socket.onopen = () => socket.close();
    socket.onclose = resolve;
  });
}

const [engine, ...wanted] = decodeURIComponent(location.hash.slice(1)).split(',');
const files = await Promise.all(FILES.map((name) => import(`./scenarios/${name}.mjs`)));
await run(engine, { api: { WebSocket, WebSocketStream, WebSocketError, CloseEvent, MessageEvent }, base: location.origin, hooks }, files, wanted);
