// usage: ws_server.js FORM: Node `ws` as an echo server on a port of its own. Prints its address, then how each connection closed.
'use strict';

const { WebSocketServer } = require('ws');
const { perMessageDeflate } = require('./deflate.js');

const server = new WebSocketServer({ host: '127.0.0.1', port: 0, perMessageDeflate: perMessageDeflate(process.argv[2]) });
server.on('listening', () => console.log(`listening on ws://127.0.0.1:${server.address().port}/`));
server.on('connection', (socket) => {
  socket.on('message', (message, isBinary) => socket.send(message, { binary: isBinary }));
  socket.on('error', (error) => console.log(`error: ${error.message}`));
  socket.on('close', (code) => console.log(`closed with ${code}`));
});
process.on('SIGTERM', () => process.exit(0));
