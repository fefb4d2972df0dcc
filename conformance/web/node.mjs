// Node's side: node.mjs MODULE BASE [PART OF A NAME]...; what is under test is what MODULE exports.
import { createRequire } from 'node:module';
import { FILES, run } from './harness.mjs';

const [module, base, ...wanted] = process.argv.slice(2);
globalThis.location = new URL(`${base}/page`); // what the page has: relative URLs are relative to it
const { WebSocket, WebSocketStream, WebSocketError, CloseEvent, MessageEvent, ...dom } = createRequire(import.meta.url)(module);
Object.assign(globalThis, dom); // an EventTarget and an Event, if it has its own: Node's are not as DOM has them
const reported = [];
const hooks = { take: () => reported.splice(0) };
process.on('uncaughtException', (error) => reported.push(error));
process.on('unhandledRejection', (reason) => reported.push(reason));

const files = await Promise.all(FILES.map((name) => import(`./scenarios/${name}.mjs`)));
await run('node', { api: { WebSocket, WebSocketStream, WebSocketError, CloseEvent, MessageEvent }, base, hooks }, files, wanted);
