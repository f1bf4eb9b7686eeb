"""``python -m greenroom.pool.shard --socket FD``: the nursery, and in forked processes what they are for."""

from __future__ import annotations

import argparse
import atexit
import os
import signal
import socket
import sys
from types import FrameType
from typing import Final, NoReturn

from greenroom.pool._wire import Role
from greenroom.pool.shard._nursery import Child, Nursery

_LEAVING: Final = 5.0


def main() -> int:
    """Run until the supervisor is gone. Returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m greenroom.pool.shard", description="Started by a pool.")
    parser.add_argument("--socket", type=int, required=True, help="the descriptor of the socket to the supervisor")
    end = socket.socket(fileno=parser.parse_args().socket)
    # Programs that the user's code starts shall not hold it open.
    end.set_inheritable(False)
    child = Nursery(end).run()
    if child is not None:
        _be(child)
    return 0


def _be(child: Child) -> None:
    # The nursery has imported all of this, once it knew that livekit.agents is there.
    from greenroom.pool.shard import _advisor, _host, _inference, _orphan, _scope  # noqa: PLC0415

    _scope.install_output(child.settings)
    _orphan.bound(child.end, child.settings.shutdown_timeout)
    match child.role:
        case Role.SHARD:
            _host.run_shard(child.end, child.catalog, child.settings)
        case Role.ADVISOR:
            _advisor.run_advisor(child.end, child.catalog, child.settings)
        case Role.INFERENCE:
            _inference.run_inference(child.end, child.settings)


def _leave(status: int) -> NoReturn:
    """End the process as multiprocessing ends a child: exit functions in time, no threads waited for."""

    def overdue(_number: int, _frame: FrameType | None) -> None:
        os._exit(status)

    signal.signal(signal.SIGALRM, overdue)
    signal.setitimer(signal.ITIMER_REAL, _LEAVING)
    atexit._run_exitfuncs()  # noqa: SLF001 - the interpreter's own end waits for threads, without bound
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


if __name__ == "__main__":
    _leave(main())
