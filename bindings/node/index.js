'use strict';

const { Event, EventTarget } = require('./lib/dom.js');
const { CloseEvent, MessageEvent } = require('./lib/events.js');
const { WebSocket } = require('./lib/websocket.js');
const { WebSocketError, WebSocketStream } = require('./lib/stream.js');

module.exports = { CloseEvent, Event, EventTarget, MessageEvent, WebSocket, WebSocketError, WebSocketStream };
