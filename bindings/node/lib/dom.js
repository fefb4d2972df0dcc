'use strict';

// DOM, "Event" and "EventTarget", on top of Node's own, so that an event and a socket are instances of these too.
//
// Node's know no phases, forget the current target after the first listener, and run no microtasks between listeners.

const { asInterface, isObject, member, required, toDOMString, toDictionary } = require('./webidl.js');

const { AbortSignal, Event: NodeEvent, EventTarget: NodeEventTarget } = globalThis;
const toBoolean = Boolean;

const NONE = 0;
const AT_TARGET = 2;

let flagsOf; // an event's internal flags; undefined if it is none of ours
let setTrusted; // makes an event one that the user agent has made

const trusting = { get isTrusted() { return flagsOf(this).isTrusted; } };
const trustedDescriptor = { ...Object.getOwnPropertyDescriptor(trusting, 'isTrusted'), configurable: false };

class Event extends NodeEvent {
  #flags = { type: '', target: null, currentTarget: null, phase: NONE, stop: false, stopImmediately: false, canceled: false, inPassive: false, isDispatched: false, isTrusted: false, bubbles: false, cancelable: false, composed: false };

  static {
    flagsOf = (event) => (isObject(event) && #flags in event ? event.#flags : undefined);
    setTrusted = (event) => { event.#flags.isTrusted = true; };
  }

  constructor(type, init = {}) {
    required(1, arguments, 'Event');
    const name = toDOMString(type);
    const dictionary = toDictionary(init, 'eventInitDict');
    super(name);
    const flags = this.#flags;
    flags.type = name;
    flags.bubbles = member(dictionary, 'bubbles', toBoolean, false);
    flags.cancelable = member(dictionary, 'cancelable', toBoolean, false);
    flags.composed = member(dictionary, 'composed', toBoolean, false);
    Reflect.defineProperty(this, 'isTrusted', trustedDescriptor); // [LegacyUnforgeable]
  }

  get type() { return this.#flags.type; }
  get target() { return this.#flags.target; }
  get srcElement() { return this.#flags.target; }
  get currentTarget() { return this.#flags.currentTarget; }
  composedPath() { return this.#flags.currentTarget ? [this.#flags.currentTarget] : []; }
  get eventPhase() { return this.#flags.phase; }
  stopPropagation() { this.#flags.stop = true; }
  get cancelBubble() { return this.#flags.stop; }
  set cancelBubble(value) { if (value) this.#flags.stop = true; }
  stopImmediatePropagation() { this.#flags.stop = true; this.#flags.stopImmediately = true; }
  get bubbles() { return this.#flags.bubbles; }
  get cancelable() { return this.#flags.cancelable; }
  get returnValue() { return !this.#flags.canceled; }
  set returnValue(value) { if (!value) this.preventDefault(); }
  preventDefault() { if (this.#flags.cancelable && !this.#flags.inPassive) this.#flags.canceled = true; }
  get defaultPrevented() { return this.#flags.canceled; }
  get composed() { return this.#flags.composed; }

  initEvent(type, bubbles = false, cancelable = false) {
    required(1, arguments, 'initEvent');
    const name = toDOMString(type);
    if (this.#flags.isDispatched) return;
    Object.assign(this.#flags, { type: name, target: null, stop: false, stopImmediately: false, canceled: false, isTrusted: false, bubbles: !!bubbles, cancelable: !!cancelable });
  }
}
asInterface(Event, { NONE, CAPTURING_PHASE: 1, AT_TARGET, BUBBLING_PHASE: 3 });

// "Report an exception": in Node the process's uncaughtException. It comes with the microtasks.
function report(exception) {
  queueMicrotask(() => { throw exception; });
}

// WebIDL, clean up after running script: "If the JavaScript execution context stack is now empty, perform a microtask checkpoint." Node has no
// documented way to perform one; without this one they run when all listeners have been called.
function checkpoint() {
  if (typeof process._tickCallback !== 'function') return;
  try {
    process._tickCallback();
  } catch (exception) {
    report(exception);
  }
}

// WebIDL, "call a user object's operation".
function call(callback, target, event) {
  try {
    if (typeof callback === 'function') return Reflect.apply(callback, target, [event]);
    const { handleEvent } = callback;
    if (typeof handleEvent !== 'function') throw new TypeError('handleEvent of the listener is not a function');
    return Reflect.apply(handleEvent, callback, [event]);
  } catch (exception) {
    return report(exception);
  }
}

let fire; // dispatches an event that the user agent has made

class EventTarget extends NodeEventTarget {
  #listeners = [];

  static {
    fire = (target, event) => {
      setTrusted(event);
      target.#dispatch(event, flagsOf(event), checkpoint);
    };
  }

  addEventListener(type, callback, options = {}) {
    required(2, arguments, 'addEventListener');
    const listeners = this.#listeners;
    const listener = { type: toDOMString(type), callback: toCallback(callback), capture: false, once: false, passive: false, isRemoved: false };
    let signal;
    if (isObject(options)) {
      listener.capture = member(options, 'capture', toBoolean, false);
      listener.once = member(options, 'once', toBoolean, false);
      listener.passive = member(options, 'passive', toBoolean, false);
      signal = member(options, 'signal', toSignal, undefined);
    } else {
      listener.capture = Boolean(options);
    }
    if (signal?.aborted || listener.callback === null) return;
    if (listeners.some((other) => isSame(other, listener))) return;
    this.#listeners = [...listeners, listener];
    signal?.addEventListener('abort', () => this.#remove(listener), { once: true });
  }

  removeEventListener(type, callback, options = {}) {
    required(2, arguments, 'removeEventListener');
    const wanted = { type: toDOMString(type), callback: toCallback(callback), capture: isObject(options) ? Boolean(options.capture) : Boolean(options) };
    const listener = this.#listeners.find((other) => isSame(other, wanted));
    if (listener) this.#remove(listener);
  }

  dispatchEvent(event) {
    required(1, arguments, 'dispatchEvent');
    const listeners = this.#listeners; // or it throws: this is no EventTarget
    const flags = flagsOf(event);
    if (flags === undefined) {
      if (!(event instanceof NodeEvent)) throw new TypeError('event is not an Event');
      return this.#dispatchNodeEvent(event, listeners);
    }
    if (flags.isDispatched) throw new DOMException('the event is being dispatched already', 'InvalidStateError');
    flags.isTrusted = false;
    this.#dispatch(event, flags, () => {});
    return !flags.canceled;
  }

  #remove(listener) {
    listener.isRemoved = true;
    this.#listeners = this.#listeners.filter((other) => other !== listener);
  }

  // DOM, "dispatch", for a path of one target. `afterEach` is done after each listener.
  #dispatch(event, flags, afterEach) {
    Object.assign(flags, { isDispatched: true, target: this, currentTarget: this, phase: AT_TARGET });
    this.#invoke(event, flags, true, afterEach);
    this.#invoke(event, flags, false, afterEach);
    Object.assign(flags, { isDispatched: false, currentTarget: null, phase: NONE, stop: false, stopImmediately: false });
  }

  // DOM, "invoke" and "inner invoke".
  #invoke(event, flags, capture, afterEach) {
    if (flags.stop) return;
    for (const listener of this.#listeners) { // those there are now: it is never changed, but replaced
      if (listener.isRemoved || listener.type !== event.type || listener.capture !== capture) continue;
      if (listener.once) this.#remove(listener);
      flags.inPassive = listener.passive;
      call(listener.callback, this, event);
      flags.inPassive = false;
      afterEach();
      if (flags.stopImmediately) return;
    }
  }

  // An event of Node's keeps its target to itself: Node's EventTarget has to set it, for one listener that calls all of these.
  #dispatchNodeEvent(event, listeners) {
    const { type } = event;
    let isStopped = false;
    const stop = { value() { isStopped = true; event.stopPropagation(); }, configurable: true };
    const step = () => {
      for (const capture of [true, false]) {
        if (event.cancelBubble) return;
        for (const listener of listeners) {
          if (listener.isRemoved || listener.type !== type || listener.capture !== capture) continue;
          if (listener.once) this.#remove(listener);
          call(listener.callback, this, event);
          if (isStopped) return;
        }
      }
    };
    if (listeners.length > 0) super.addEventListener(type, step);
    const own = Object.getOwnPropertyDescriptor(event, 'stopImmediatePropagation');
    Object.defineProperty(event, 'stopImmediatePropagation', stop);
    try {
      return super.dispatchEvent(event);
    } catch (error) {
      if (error?.code === 'ERR_EVENT_RECURSION') throw new DOMException('the event is being dispatched already', 'InvalidStateError');
      throw error;
    } finally {
      super.removeEventListener(type, step);
      if (own) Object.defineProperty(event, 'stopImmediatePropagation', own);
      else delete event.stopImmediatePropagation;
    }
  }
}
asInterface(EventTarget);

const isSame = (one, other) => one.type === other.type && one.callback === other.callback && one.capture === other.capture;

function toCallback(value) {
  if (value === undefined || value === null) return null;
  if (!isObject(value)) throw new TypeError('the listener is not an object');
  return value;
}

function toSignal(value) {
  if (!(value instanceof AbortSignal)) throw new TypeError('signal is not an AbortSignal');
  return value;
}

// HTML, "event handlers": the value of an attribute such as onopen, and its listener.
class Handlers {
  #values = new Map();

  get(type) { return this.#values.get(type)?.value ?? null; }

  // [LegacyTreatNonObjectAsNull]
  set(target, type, value) {
    const known = this.#values.get(type);
    if (!isObject(value)) {
      if (known) target.removeEventListener(type, known.listener);
      this.#values.delete(type);
    } else if (known) {
      known.value = value;
    } else {
      const handler = { value, listener: undefined };
      handler.listener = function listener(event) {
        if (typeof handler.value !== 'function') return;
        if (Reflect.apply(handler.value, event.currentTarget, [event]) === false) event.preventDefault();
      };
      this.#values.set(type, handler);
      target.addEventListener(type, handler.listener);
    }
  }
}

module.exports = { Event, EventTarget, Handlers, fire, flagsOf };
