// usage: ws_client.js URL SEED COUNT FORM: Node `ws` against an echo server, every echo compared.
'use strict';

const { WebSocket } = require('ws');
const { perMessageDeflate } = require('./deflate.js');
const { Messages } = require('./messages.js');

const IN_FLIGHT = 8;
const OCTETS_IN_FLIGHT = 256 * 1024;

const [url, seed, count] = [process.argv[2], Number(process.argv[3]), Number(process.argv[4])];
const messages = new Messages(seed);
const awaited = [];
let [sent, echoed, octets] = [0, 0, 0];

const describe = (octets, isBinary) => `${isBinary ? 'binary' : 'text'} of ${octets.length} octets`;

function fail(why) {
  console.error(why);
  process.exit(1);
}

const socket = new WebSocket(url, { perMessageDeflate: perMessageDeflate(process.argv[5]) });

function send() {
  while (sent < count && awaited.length < IN_FLIGHT && octets < OCTETS_IN_FLIGHT) {
    const message = messages.next();
    octets += message.octets.length;
    socket.send(message.octets, { binary: message.isBinary });
    awaited.push(message);
    sent += 1;
  }
  if (echoed === count) socket.close(1000);
}

socket.on('upgrade', (response) => console.log(`agreed on ${response.headers['sec-websocket-extensions'] || ''}`));
socket.on('open', send);
socket.on('message', (echo, isBinary) => {
  const message = awaited.shift();
  if (!message) fail(`after the last echo: ${describe(echo, isBinary)}`);
  if (message.isBinary !== isBinary || !message.octets.equals(echo)) {
    fail(`message ${echoed}: ${describe(message.octets, message.isBinary)} came back different, as ${describe(echo, isBinary)}`);
  }
  octets -= message.octets.length;
  echoed += 1;
  send();
});
socket.on('error', (error) => fail(error.stack));
socket.on('close', (code) => {
  if (echoed !== count) fail(`closed with ${code} after ${echoed} echoes`);
  // `ws` reports the code of the Close that it received, 1006 if there was none.
  if (code !== 1000) fail(`not a clean close with 1000: ${code}`);
  console.log(`${echoed} messages echoed`);
});
