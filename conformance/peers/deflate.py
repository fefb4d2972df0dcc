"""permessage-deflate of `websockets` in each FORM of peers.toml; counts what came compressed."""

import zlib

from websockets.extensions.permessage_deflate import (
    ClientPerMessageDeflateFactory, PerMessageDeflate, ServerPerMessageDeflateFactory)
from websockets.frames import CONT, CTRL_OPCODES, Frame


class Counting(PerMessageDeflate):
    """Counts the compressed messages that came."""

    compressed = 0

    def decode(self, frame, **options):
        self.compressed += frame.rsv1
        return super().decode(frame, **options)


class Final(Counting):
    """Ends each message with a block that has BFINAL set to 1."""

    window = b""

    def encode(self, frame):
        if frame.opcode in CTRL_OPCODES:
            return frame
        assert frame.fin and frame.opcode is not CONT, "messages of one frame are all that is sent here"
        data = bytes(frame.data)
        # The stream ends with the message; what the next one may refer to is handed on as a dictionary.
        encoder = zlib.compressobj(wbits=-self.local_max_window_bits, zdict=self.window)
        if not self.local_no_context_takeover:
            self.window = (self.window + data)[-2**self.local_max_window_bits:]
        # RFC 7692 section 7.2.3.4: "The last 1 octet (0x00) contains the header bits with "BFINAL" set to 0 and "BTYPE" set to 00, and
        # 5 padding bits of 0. This octet is necessary to allow the payload to be decompressed in the same manner as messages
        # flushed using DEFLATE blocks with "BFINAL" unset."
        payload = encoder.compress(data) + encoder.flush(zlib.Z_FINISH) + b"\0"
        return Frame(frame.opcode, payload, frame.fin, True, frame.rsv2, frame.rsv3)


def instance(form, agreed):
    """The extension of that form with the parameters that were agreed on."""
    kind = Final if form.endswith("-final") else Counting
    return kind(agreed.remote_no_context_takeover, agreed.local_no_context_takeover,
                agreed.remote_max_window_bits, agreed.local_max_window_bits)


class ClientFactory(ClientPerMessageDeflateFactory):
    form = None

    def process_response_params(self, *arguments):
        return instance(self.form, super().process_response_params(*arguments))


class ServerFactory(ServerPerMessageDeflateFactory):
    form = None

    def process_request_params(self, *arguments):
        parameters, agreed = super().process_request_params(*arguments)
        return parameters, instance(self.form, agreed)


def options(factory, form):
    """What `connect` or `serve` takes for that form."""
    if form == "plain":
        return {"compression": None}
    forgets = form.startswith("no-takeover")
    factory = factory(server_no_context_takeover=forgets, client_no_context_takeover=forgets)
    factory.form = form
    return {"compression": None, "extensions": [factory]}


def complaint(form, socket):
    """What is wrong with how messages came; nothing if all is well."""
    compressed = sum(extension.compressed for extension in socket.protocol.extensions)
    return "" if (compressed > 0) == (form != "plain") else f"{compressed} messages came compressed"
