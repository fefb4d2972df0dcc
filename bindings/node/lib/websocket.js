'use strict';

// WHATWG WebSockets, "The WebSocket interface".

const { Event, EventTarget, Handlers, fire } = require('./dom.js');
const { CloseEvent, MessageEvent } = require('./events.js');
const { attempt, native, page, toBuffer } = require('./native.js');
const { asInterface, isObject, required, toBytes, toClampedShort, toStrings, toUSVString } = require('./webidl.js');

const { Blob } = globalThis;

class WebSocket extends EventTarget {
  #socket;
  #handlers = new Handlers();
  #binaryType = 'blob';

  constructor(url, protocols = []) {
    required(1, arguments, 'WebSocket');
    const wanted = toUSVString(url);
    const strings = toStrings(protocols, 'protocols');
    const target = new.target;
    super();
    // WebIDL, "internally create a new object": a new.target whose prototype is no object has that of the interface.
    if (!isObject(target.prototype)) Object.setPrototypeOf(this, WebSocket.prototype);
    this.#socket = attempt(() => new native.Socket(wanted, strings, page(), (fired) => {
      for (const one of fired) fire(this, this.#event(one));
    }));
  }

  #event({ type, data, origin, wasClean, code, reason }) {
    switch (type) {
      case 'message': return new MessageEvent(type, { data: this.#received(data), origin });
      case 'close': return new CloseEvent(type, { wasClean, code, reason });
      default: return new Event(type);
    }
  }

  #received({ text, bytes }) {
    if (bytes === undefined) return text;
    return this.#binaryType === 'blob' ? new Blob([bytes]) : toBuffer(bytes);
  }

  get url() { return this.#socket.url; }
  get readyState() { return this.#socket.readyState; }
  get bufferedAmount() { return this.#socket.bufferedAmount; }
  get onopen() { return this.#handlers.get('open'); }
  set onopen(value) { this.#handlers.set(this, 'open', value); }
  get onerror() { return this.#handlers.get('error'); }
  set onerror(value) { this.#handlers.set(this, 'error', value); }
  get onclose() { return this.#handlers.get('close'); }
  set onclose(value) { this.#handlers.set(this, 'close', value); }
  get extensions() { return this.#socket.extensions; }
  get protocol() { return this.#socket.protocol; }

  close(code = undefined, reason = undefined) {
    const socket = this.#socket;
    const clamped = code === undefined ? undefined : toClampedShort(code);
    const text = reason === undefined ? undefined : toUSVString(reason);
    attempt(() => socket.close(clamped, text));
  }

  get onmessage() { return this.#handlers.get('message'); }
  set onmessage(value) { this.#handlers.set(this, 'message', value); }
  get binaryType() { return this.#binaryType; }
  set binaryType(value) {
    this.#binaryType; // or it throws: this is no WebSocket
    const wanted = `${value}`;
    if (wanted === 'blob' || wanted === 'arraybuffer') this.#binaryType = wanted;
  }

  send(data) {
    const socket = this.#socket;
    required(1, arguments, 'send');
    const bytes = toBytes(data, 'data');
    if (bytes) {
      attempt(() => socket.sendBinary(bytes));
    } else if (data instanceof Blob) {
      const deferred = attempt(() => socket.sendDeferred(data.size));
      if (deferred) data.arrayBuffer().then((buffer) => deferred.resolve(new Uint8Array(buffer)), () => deferred.reject());
    } else {
      const text = toUSVString(data);
      attempt(() => socket.sendText(text));
    }
  }
}
asInterface(WebSocket, { CONNECTING: 0, OPEN: 1, CLOSING: 2, CLOSED: 3 });

module.exports = { WebSocket };
