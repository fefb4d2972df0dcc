"""usage: websockets_server.py FORM: Python `websockets` as an echo server on a port of its own. Prints its address, then how each connection closed."""

import asyncio
import signal
import sys

from deflate import ServerFactory, complaint, options
from websockets.asyncio.server import serve


FORM = sys.argv[1]


async def echo(socket):
    async for message in socket:
        await socket.send(message)
    received = socket.protocol.close_rcvd
    print(complaint(FORM, socket) or f"closed with {received.code if received else 'no Close'}", flush=True)


async def main():
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    async with serve(echo, "127.0.0.1", 0, max_size=2**21, **options(ServerFactory, FORM)) as server:
        print(f"listening on ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/", flush=True)
        await ended.wait()


asyncio.run(main())
