"""usage: websockets_client.py URL SEED COUNT FORM: Python `websockets` against an echo server, every echo compared."""

import asyncio
import sys
from itertools import islice

from deflate import ClientFactory, complaint, options
from messages import Messages
from websockets.asyncio.client import connect

IN_FLIGHT = 8
OCTETS_IN_FLIGHT = 256 * 1024


def describe(message):
    return f"text of {len(message.encode())} octets" if isinstance(message, str) else f"binary of {len(message)} octets"


def octets(message):
    return len(message.encode()) if isinstance(message, str) else len(message)


async def main():
    url, seed, count, form = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
    echoed = 0
    awaited = []
    messages = islice(Messages(seed), count)
    async with connect(url, max_size=2**21, **options(ClientFactory, form)) as socket:
        print(f"agreed on {socket.response.headers.get('Sec-WebSocket-Extensions', '')}")
        while echoed < count:
            while len(awaited) < IN_FLIGHT and sum(map(octets, awaited)) < OCTETS_IN_FLIGHT:
                message = next(messages, None)
                if message is None:
                    break
                await socket.send(message)
                awaited.append(message)
            echo, message = await socket.recv(), awaited.pop(0)
            if type(echo) is not type(message) or echo != message:
                sys.exit(f"message {echoed}: {describe(message)} came back different, as {describe(echo)}")
            echoed += 1
        await socket.close(1000)
    received = socket.protocol.close_rcvd
    if received is None or received.code != 1000:
        sys.exit(f"not a clean close with 1000: {received}")
    if complaint(form, socket):
        sys.exit(complaint(form, socket))
    print(f"{echoed} messages echoed")


asyncio.run(main())
