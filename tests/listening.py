"""A server of ASGI that listens on a free port, in a thread of this process."""

import contextlib
import threading
import time
from collections.abc import Iterator

import uvicorn


@contextlib.contextmanager
def listening(app, **options) -> Iterator[str]:
    """Where it listens; `options` are uvicorn's."""
    server = uvicorn.Server(uvicorn.Config(app, **{"port": 0, "log_level": "warning", **options}))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()
