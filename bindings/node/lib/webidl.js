'use strict';

// WebIDL: conversion of JavaScript's values, and what interfaces look like.

const { types: { isAnyArrayBuffer, isArrayBuffer } } = require('node:util');

// `name` is the standard's word for what is converted, for the messages of exceptions.

function required(count, values, name) {
  if (values.length < count) throw new TypeError(`${name}: ${count} argument${count > 1 ? 's' : ''} required, but only ${values.length} present`);
}

// A symbol makes it throw a TypeError.
const toDOMString = (value) => `${value}`;
const toUSVString = (value) => `${value}`.toWellFormed();

// unsigned short: modulo 2^16.
function toUnsignedShort(value) {
  const number = Math.trunc(+value);
  return Number.isFinite(number) ? ((number % 65536) + 65536) % 65536 : 0;
}

// [Clamp] unsigned short: "Round x to the nearest integer, choosing the even integer if it lies halfway between two".
function toClampedShort(value) {
  const number = +value;
  if (Number.isNaN(number)) return 0;
  const clamped = Math.min(Math.max(number, 0), 65535);
  const floor = Math.floor(clamped);
  const rest = clamped - floor;
  return rest > 0.5 || (rest === 0.5 && floor % 2 === 1) ? floor + 1 : floor;
}

const isObject = (value) => (typeof value === 'object' && value !== null) || typeof value === 'function';

// A dictionary: {} for what is missing.
function toDictionary(value, name) {
  if (value === undefined || value === null) return {};
  if (!isObject(value)) throw new TypeError(`${name} is not an object`);
  return value;
}

// A member of a dictionary, converted, or what it is by default.
function member(dictionary, name, convert, byDefault) {
  const value = dictionary[name];
  return value === undefined ? byDefault : convert(value, name);
}

function toSequence(value, convert, name, method = isObject(value) ? value[Symbol.iterator] : undefined) {
  if (typeof method !== 'function') throw new TypeError(`${name} is not iterable`);
  const iterator = Reflect.apply(method, value, []);
  if (!isObject(iterator)) throw new TypeError(`the iterator of ${name} is not an object`);
  const { next } = iterator;
  const sequence = [];
  for (;;) {
    const result = Reflect.apply(next, iterator, []);
    if (!isObject(result)) throw new TypeError(`the iterator of ${name} gave what is not an object`);
    if (result.done) return sequence;
    sequence.push(convert(result.value, name));
  }
}

// (DOMString or sequence<DOMString>), as a sequence.
function toStrings(value, name) {
  if (isObject(value)) {
    const method = value[Symbol.iterator];
    if (method !== undefined && method !== null) return toSequence(value, toDOMString, name, method);
  }
  return [toDOMString(value)];
}

// The bytes of a BufferSource as a Uint8Array on its memory; null if the value is none.
function toBytes(value, name) {
  const isView = ArrayBuffer.isView(value);
  if (!isView && !isArrayBuffer(value)) return null;
  const buffer = isView ? value.buffer : value;
  // Neither [AllowShared] nor [AllowResizable].
  if (isAnyArrayBuffer(buffer) && !isArrayBuffer(buffer)) throw new TypeError(`${name} is on shared memory`);
  if (buffer.resizable) throw new TypeError(`${name} can be resized`);
  const { byteLength } = value;
  if (byteLength === 0) return new Uint8Array(0); // perhaps a detached one
  return new Uint8Array(buffer, isView ? value.byteOffset : 0, byteLength);
}

// Gives a class the flags of an interface: enumerable members, constants on both objects, the class string.
function asInterface(Interface, constants = {}) {
  const { name, prototype } = Interface;
  for (const key of Reflect.ownKeys(prototype)) {
    if (key !== 'constructor') Object.defineProperty(prototype, key, { enumerable: true });
  }
  for (const object of [Interface, prototype]) {
    for (const [key, value] of Object.entries(constants)) Object.defineProperty(object, key, { value, enumerable: true });
  }
  Object.defineProperty(prototype, Symbol.toStringTag, { value: name, configurable: true });
  return Interface;
}

module.exports = {
  asInterface, isObject, member, required, toBytes, toClampedShort, toDOMString, toDictionary, toSequence, toStrings, toUSVString, toUnsignedShort,
};
