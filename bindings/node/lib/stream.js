'use strict';

// WHATWG WebSockets, "The WebSocketStream interface", as Chromium has it.

const { attempt, native, page, toBuffer } = require('./native.js');
const { asInterface, member, required, toBytes, toClampedShort, toDOMString, toDictionary, toSequence, toUSVString } = require('./webidl.js');

const { AbortSignal, ReadableStream, WritableStream } = globalThis;

// WebSocketCloseInfo
function toCloseInfo(value) {
  const dictionary = toDictionary(value, 'closeInfo');
  const closeCode = member(dictionary, 'closeCode', toClampedShort, undefined);
  return { closeCode, reason: member(dictionary, 'reason', toUSVString, '') };
}

let received; // makes one that the network has brought, whatever its code

class WebSocketError extends DOMException {
  #closeCode;
  #reason;

  constructor(message = '', init = {}) {
    const text = toDOMString(message);
    const { closeCode, reason } = toCloseInfo(init);
    super(text, 'WebSocketError');
    this.#closeCode = attempt(() => native.checkClose(closeCode, reason)) ?? null;
    this.#reason = reason;
  }

  get closeCode() { return this.#closeCode; }
  get reason() { return this.#reason; }

  static {
    received = (code, reason) => {
      const error = new WebSocketError('the connection was not opened, or not closed cleanly');
      error.#closeCode = code ?? null;
      error.#reason = reason;
      return error;
    };
  }
}
asInterface(WebSocketError);

function toSignal(value) {
  if (!(value instanceof AbortSignal)) throw new TypeError('signal is not an AbortSignal');
  return value;
}

const toProtocols = (value, name) => toSequence(value, toDOMString, name);

class WebSocketStream {
  #stream;
  #opened = promise();
  #closed = promise();
  #isOver = false;
  #readable; // its controller
  #writable; // its controller
  #written = null; // the promise of the chunk that is being written

  constructor(url, options = {}) {
    required(1, arguments, 'WebSocketStream');
    const wanted = toUSVString(url);
    const dictionary = toDictionary(options, 'options');
    const protocols = member(dictionary, 'protocols', toProtocols, []);
    const signal = member(dictionary, 'signal', toSignal, undefined);
    this.#stream = attempt(() => new native.Stream(wanted, protocols, page(), (happened) => this.#happened(happened)));
    if (signal?.aborted) this.#abort(signal.reason);
    else signal?.addEventListener('abort', () => this.#abort(signal.reason), { once: true });
  }

  get url() { return this.#stream.url; }
  get opened() { return this.#opened.promise; }
  get closed() { return this.#closed.promise; }

  close(closeInfo = {}) {
    const stream = this.#stream;
    const { closeCode, reason } = toCloseInfo(closeInfo);
    attempt(() => stream.close(closeCode, reason));
  }

  // "If the WebSocket connection is not yet established"
  #abort(reason) {
    if (this.#readable || this.#isOver) return;
    this.#isOver = true;
    this.#stream.abort();
    this.#opened.reject(reason);
    this.#closed.reject(reason);
  }

  #happened({ type, extensions, protocol, data, code, reason }) {
    if (this.#isOver) return;
    switch (type) {
      case 'opened': return this.#open(extensions, protocol);
      case 'chunk': return this.#readable.enqueue(data.text ?? toBuffer(data.bytes));
      case 'written': return this.#settle('resolve');
      default: return this.#end(type === 'closed', code, reason);
    }
  }

  #open(extensions, protocol) {
    const readable = new ReadableStream({
      start: (controller) => { this.#readable = controller; },
      pull: () => this.#stream.pull(),
      cancel: (reason) => this.#closeUsing(reason),
    });
    const writable = new WritableStream({
      start: (controller) => { this.#writable = controller; },
      write: (chunk) => this.#write(chunk),
      close: async () => { this.#closeUsing(undefined); await this.#closed.promise; },
      abort: (reason) => this.#closeUsing(reason),
    });
    this.#opened.resolve({ extensions, protocol, readable, writable });
  }

  #write(chunk) {
    const bytes = toBytes(chunk, 'chunk');
    const text = bytes ? undefined : toUSVString(chunk);
    this.#written = promise();
    if (bytes) this.#stream.writeBinary(bytes);
    else this.#stream.writeText(text);
    return this.#written.promise;
  }

  #settle(how, value) {
    this.#written?.[how](value);
    this.#written = null;
  }

  // "Close using reason"
  #closeUsing(reason) {
    if (reason instanceof WebSocketError) this.#stream.close(reason.closeCode ?? undefined, reason.reason);
    else this.#stream.close(undefined, '');
  }

  // "When the WebSocket connection is closed"
  #end(isClean, code, reason) {
    this.#isOver = true;
    const error = isClean ? new DOMException('a closed WebSocketStream cannot be written to', 'InvalidStateError') : received(code, reason);
    if (!this.#readable) {
      this.#opened.reject(received(undefined, ''));
    } else if (isClean) {
      attemptQuietly(() => this.#readable.close());
    } else {
      attemptQuietly(() => this.#readable.error(error));
    }
    this.#settle('reject', error);
    if (isClean) this.#closed.resolve({ closeCode: code, reason });
    else this.#closed.reject(error);
    this.#writable?.error(error);
  }
}
asInterface(WebSocketStream);

// A promise whose rejection nobody has to handle, and what settles it.
function promise() {
  let settle;
  const made = new Promise((resolve, reject) => { settle = { resolve, reject }; });
  made.catch(() => {});
  return { promise: made, ...settle };
}

// A stream that was cancelled is closed already.
function attemptQuietly(call) {
  try {
    call();
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
  }
}

module.exports = { WebSocketError, WebSocketStream };
