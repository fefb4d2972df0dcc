"""The messages for a seed; client.rs and messages.js make the same ones."""

SIZES = [0, 1, 125, 126, 127, 65_535, 65_536]
PIECES = ["a", "\u00e9", "\u20ac", "\U0001f600"]
MATERIAL = 65_536
LARGEST = 1_048_576


class Messages:
    """An endless iterator of str and bytes."""

    def __init__(self, seed):
        self.state = seed
        text, binary = bytearray(), bytearray()
        while len(text) < MATERIAL:
            text += PIECES[self.below(len(PIECES))].encode()
        while len(binary) < MATERIAL:
            binary.append(self.below(256))
        copies = LARGEST // MATERIAL + 2
        self.text, self.binary = bytes(text * copies), bytes(binary * copies)

    def below(self, limit):
        """A number from 0 to `limit` - 1, from Marsaglia's xorshift32."""
        self.state ^= self.state << 13 & 0xFFFF_FFFF
        self.state ^= self.state >> 17
        self.state ^= self.state << 5 & 0xFFFF_FFFF
        return self.state % limit

    def __iter__(self):
        return self

    def __next__(self):
        kind = self.below(400)
        if kind <= 1:
            size = LARGEST
        elif kind <= 200:
            size = SIZES[self.below(len(SIZES))]
        else:
            size = self.below(MATERIAL)
        is_text, start = self.below(2) == 0, self.below(MATERIAL)
        if not is_text:
            return self.binary[start:start + size]
        # Whole characters only; what is then missing from the size is filled up.
        start = self.boundary(start, 1)
        text = self.text[start:self.boundary(start + size, -1)]
        return (text + b"~" * (size - len(text))).decode()

    def boundary(self, index, step):
        """The nearest index, in that direction, at which a character begins."""
        while self.text[index] & 0xC0 == 0x80:
            index += step
        return index
