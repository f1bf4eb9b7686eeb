"""``greenroom ARGUMENTS`` whose event loop stands still for 50 ms, again and again, once it got SIGUSR1."""

from __future__ import annotations

import asyncio
import signal
import sys
import time

import uvloop

from greenroom.cli import main

STALL = 0.05
# Between two stalls; the program goes on living, slowly.
BREATH = 0.05

_new_loop = uvloop.new_event_loop


def _stalling_loop() -> asyncio.AbstractEventLoop:
    loop = _new_loop()

    def stall() -> None:
        time.sleep(STALL)
        loop.call_later(BREATH, stall)

    loop.add_signal_handler(signal.SIGUSR1, stall)
    return loop


if __name__ == "__main__":
    uvloop.new_event_loop = _stalling_loop
    sys.exit(main())
