// The messages for a seed; client.rs and messages.py make the same ones.
'use strict';

const SIZES = [0, 1, 125, 126, 127, 65535, 65536];
const PIECES = ['a', '\u00e9', '\u20ac', '\u{1f600}'];
const MATERIAL = 65536;
const LARGEST = 1048576;

class Messages {
  constructor(seed) {
    this.state = seed;
    let text = '';
    while (Buffer.byteLength(text) < MATERIAL) text += PIECES[this.below(PIECES.length)];
    const binary = [];
    while (binary.length < MATERIAL) binary.push(this.below(256));
    const copies = LARGEST / MATERIAL + 2;
    this.text = Buffer.from(text.repeat(copies));
    this.binary = Buffer.concat(Array(copies).fill(Buffer.from(binary)));
  }

  // A number from 0 to `limit` - 1, from Marsaglia's xorshift32.
  below(limit) {
    this.state ^= this.state << 13;
    this.state ^= this.state >>> 17;
    this.state ^= this.state << 5;
    this.state >>>= 0;
    return this.state % limit;
  }

  // {octets, isBinary}
  next() {
    const kind = this.below(400);
    let size;
    if (kind <= 1) size = LARGEST;
    else if (kind <= 200) size = SIZES[this.below(SIZES.length)];
    else size = this.below(MATERIAL);
    const isBinary = this.below(2) !== 0;
    let start = this.below(MATERIAL);
    if (isBinary) return { octets: this.binary.subarray(start, start + size), isBinary };
    // Whole characters only; what is then missing from the size is filled up.
    start = this.boundary(start, 1);
    const text = this.text.subarray(start, this.boundary(start + size, -1));
    return { octets: Buffer.concat([text, Buffer.alloc(size - text.length, '~')]), isBinary };
  }

  // The nearest index, in that direction, at which a character begins.
  boundary(index, step) {
    while ((this.text[index] & 0xc0) === 0x80) index += step;
    return index;
  }
}

module.exports = { Messages };
