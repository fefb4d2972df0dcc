'use strict';

// WHATWG WebSockets, "The CloseEvent interface", and HTML, "The MessageEvent interface".

const { Event, flagsOf } = require('./dom.js');
const { asInterface, member, required, toDOMString, toDictionary, toSequence, toUSVString, toUnsignedShort } = require('./webidl.js');

const { MessagePort } = globalThis;
const toAny = (value) => value;

class CloseEvent extends Event {
  #wasClean;
  #code;
  #reason;

  constructor(type, init = {}) {
    required(1, arguments, 'CloseEvent');
    super(type, init);
    const dictionary = toDictionary(init, 'eventInitDict');
    this.#code = member(dictionary, 'code', toUnsignedShort, 0);
    this.#reason = member(dictionary, 'reason', toUSVString, '');
    this.#wasClean = member(dictionary, 'wasClean', Boolean, false);
  }

  get wasClean() { return this.#wasClean; }
  get code() { return this.#code; }
  get reason() { return this.#reason; }
}
asInterface(CloseEvent);

function toPort(value, name) {
  if (!(value instanceof MessagePort)) throw new TypeError(`${name} is not a MessagePort`);
  return value;
}

const toPorts = (value) => toSequence(value, toPort, 'ports');
const toSource = (value) => (value === null ? null : toPort(value, 'source'));

class MessageEvent extends Event {
  #data;
  #origin;
  #lastEventId;
  #source;
  #ports;

  constructor(type, init = {}) {
    required(1, arguments, 'MessageEvent');
    super(type, init);
    const dictionary = toDictionary(init, 'eventInitDict');
    this.#data = member(dictionary, 'data', toAny, null);
    this.#lastEventId = member(dictionary, 'lastEventId', toDOMString, '');
    this.#origin = member(dictionary, 'origin', toUSVString, '');
    this.#ports = Object.freeze(member(dictionary, 'ports', toPorts, []));
    this.#source = member(dictionary, 'source', toSource, null);
  }

  get data() { return this.#data; }
  get origin() { return this.#origin; }
  get lastEventId() { return this.#lastEventId; }
  get source() { return this.#source; }
  get ports() { return this.#ports; }

  initMessageEvent(type, bubbles = false, cancelable = false, data = null, origin = '', lastEventId = '', source = null, ports = []) {
    required(1, arguments, 'initMessageEvent');
    const values = [toDOMString(type), Boolean(bubbles), Boolean(cancelable), data, toUSVString(origin), toDOMString(lastEventId), toSource(source ?? null), toPorts(ports)];
    this.#data; // or it throws: this is no MessageEvent
    if (flagsOf(this).isDispatched) return;
    this.initEvent(values[0], values[1], values[2]);
    [this.#data, this.#origin, this.#lastEventId, this.#source] = values.slice(3, 7);
    this.#ports = Object.freeze(values[7]);
  }
}
asInterface(MessageEvent);

module.exports = { CloseEvent, MessageEvent };
