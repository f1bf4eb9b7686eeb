"""A tiny program that outlives ``greenroom dev`` by an instant: it kills the agents of a parent that died.

Run as a script, never imported. Lines on its standard input name process groups to watch (``+123``) and
to forget (``-123``). When the input ends, the parent is gone, however it went, and every group that is
left is killed. On Linux a process could ask to die with its parent, but its own children would not.
"""

import os
import signal
import sys


def main() -> None:
    """Watch until the input ends, then kill."""
    groups: set[int] = set()
    for line in sys.stdin.buffer:
        group = int(line[1:])
        if line.startswith(b"+"):
            groups.add(group)
        else:
            groups.discard(group)
    for group in groups:
        try:
            os.killpg(group, signal.SIGKILL)
        except OSError:
            continue


if __name__ == "__main__":
    main()
