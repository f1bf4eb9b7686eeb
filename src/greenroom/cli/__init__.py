"""The ``greenroom`` command."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from greenroom.cli._quick import quick_server
from greenroom.errors import GreenroomError

__all__ = ["main"]

FAILED = 2
INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit status: 2 for what the person can mend, said in one line."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        options = quick_server(given)
        if options is not None:
            from greenroom.cli.server import run_server  # noqa: PLC0415 - each command imports its own

            return run_server(options)
        from greenroom.cli._app import run_app  # noqa: PLC0415

        return run_app(given)
    except GreenroomError as error:
        print(f"greenroom: {error}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        return INTERRUPTED
