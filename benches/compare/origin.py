"""The upstream of nginx and Varnish: serves the service's own bytes after a delay. `origin.py FOLDER`.

    /plain/NAME/…/MS   FOLDER/NAME as it is, after MS milliseconds
    /gzip/NAME/…/MS    FOLDER/NAME.gz, with Content-Encoding: gzip, after MS milliseconds
    /count             the number of requests for files since the last /count

The segments between NAME and MS are ignored. With different segments, one file stands for any number of meetings.
"""

import asyncio
import functools
import os
import sys

folder, asked = sys.argv[1], 0


@functools.cache
def content(coding, name):
    with open(os.path.join(folder, name + (".gz" if coding == "gzip" else "")), "rb") as file:
        return file.read()


async def answer(path):
    global asked
    if path == "/count":
        count, asked = asked, 0
        return "200 OK", "", str(count).encode()
    match path.split("/"):
        case ["", "plain" | "gzip" as coding, name, *_, milliseconds]:
            asked += 1
            await asyncio.sleep(int(milliseconds) / 1000)
            header = "Content-Encoding: gzip\r\n" if coding == "gzip" else ""
            return "200 OK", header, content(coding, name)
    return "404 Not Found", "", b""


async def connection(reader, writer):
    try:
        while head := await reader.readuntil(b"\r\n\r\n"):
            status, header, body = await answer(head.split(b" ", 2)[1].decode())
            fixed = "Content-Type: application/json\r\nETag: \"1\"\r\nVary: Accept-Encoding\r\nCache-Control: max-age=86400\r\n"
            writer.write(f"HTTP/1.1 {status}\r\n{fixed}{header}Content-Length: {len(body)}\r\n\r\n".encode() + body)
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


async def main():
    server = await asyncio.start_server(connection, "127.0.0.1", 0, backlog=4096)
    host, port = server.sockets[0].getsockname()
    print(f"origin listens on {host}:{port}", flush=True)
    await server.serve_forever()


asyncio.run(main())
