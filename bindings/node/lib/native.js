'use strict';

// The addon, and what it shares with the interfaces.

const native = require('../sockeye.node');

// Calls the addon: what it throws has the name of a DOMException as its code.
function attempt(call) {
  try {
    return call();
  } catch (error) {
    throw new DOMException(error.message, error.code);
  }
}

// Where there is a page, as some programs have one, it is what relative URLs are relative to.
function page() {
  const { location } = globalThis;
  return location?.href ? { base: `${location.href}`, origin: `${location.origin}` } : {};
}

// A received message's bytes in an ArrayBuffer of their own.
const toBuffer = (bytes) => bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength);

module.exports = { attempt, native, page, toBuffer };
