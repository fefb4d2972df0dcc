'use strict';

// A server that echoes: enough of RFC 6455 for these tests, and nothing of what is under test.

const { createHash } = require('node:crypto');
const { createServer } = require('node:http');

const GUID = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11';

function frame(opcode, payload) {
  const head = payload.length < 126 ? [0x80 | opcode, payload.length] : [0x80 | opcode, 126, payload.length >> 8, payload.length & 255];
  return Buffer.concat([Buffer.from(head), payload]);
}

// The first whole frame of a client, and what is behind it.
function parse(bytes) {
  if (bytes.length < 6) return null;
  const short = bytes[1] & 127;
  const at = short < 126 ? 2 : 4;
  const length = short < 126 ? short : bytes.readUInt16BE(2);
  if (bytes.length < at + 4 + length) return null;
  const payload = bytes.subarray(at + 4, at + 4 + length).map((byte, index) => byte ^ bytes[at + (index & 3)]);
  return { opcode: bytes[0] & 15, payload, rest: bytes.subarray(at + 4 + length) };
}

// Listens until the test is over; gives its URL. `/close` closes by itself. `onClose` is told each client's close code.
async function serve(t, onClose = () => {}) {
  const sockets = new Set();
  const server = createServer((request, response) => { response.writeHead(404).end(); });
  server.on('upgrade', (request, socket) => {
    const accept = createHash('sha1').update(request.headers['sec-websocket-key'] + GUID).digest('base64');
    socket.write(`HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\n\r\n`);
    socket.on('error', () => {});
    sockets.add(socket);
    if (request.url === '/close') setTimeout(() => socket.write(frame(8, Buffer.from([3, 232]))), 100);
    let bytes = Buffer.alloc(0);
    socket.on('data', (data) => {
      bytes = Buffer.concat([bytes, data]);
      for (let one = parse(bytes); one; one = parse(bytes)) {
        bytes = one.rest;
        if (one.opcode === 8) onClose(one.payload.length > 1 ? one.payload.readUInt16BE(0) : null);
        if (one.opcode === 8 && request.url === '/close') socket.end();
        else if (one.opcode === 8) socket.end(frame(8, one.payload));
        else socket.write(frame(one.opcode, one.payload));
      }
    });
  });
  await new Promise((resolve) => { server.listen(0, '127.0.0.1', resolve); });
  t.after(() => { server.close(); for (const socket of sockets) socket.destroy(); });
  return `ws://127.0.0.1:${server.address().port}/`;
}

module.exports = { serve };
