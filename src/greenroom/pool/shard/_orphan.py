"""Ends a forked process whose supervisor is gone although its own loop does not turn."""

from __future__ import annotations

import logging
import os
import select
import signal
import socket
import threading
import time
from typing import Final

logger = logging.getLogger("greenroom.pool")

#: Beyond the time that calls get to end: for last words, and for whoever is slow to go.
_MARGIN: Final = 6.0


def bound(end: socket.socket, patience: float) -> None:
    """Kill this process and all of its group once the other side of ``end`` has been gone for so long.

    Whoever ends in good order is not there any more by then.

    :param patience: seconds that calls get to end.
    """
    # The descriptor itself is closed by the loop, which is how an ordinary end begins.
    watched = socket.socket(fileno=os.dup(end.fileno()))
    threading.Thread(target=_watch, args=(watched, patience + _MARGIN), name="orphan-watch", daemon=True).start()


def _watch(watched: socket.socket, patience: float) -> None:
    poller = select.poll()
    poller.register(watched, select.POLLRDHUP)
    while not poller.poll():
        pass
    watched.close()
    time.sleep(patience)
    logger.error("the supervisor is gone and the process does not end by itself")
    os.killpg(os.getpid(), signal.SIGKILL)
