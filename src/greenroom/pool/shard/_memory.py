"""What a process weighs beside others that were forked like it: shared pages counted by their part, or not at all."""

from __future__ import annotations

from pathlib import Path

_ROLLUP = Path("/proc/self/smaps_rollup")


def proportional_and_unique() -> tuple[int, int] | None:
    """Return the PSS and USS of this process in bytes, ``None`` where the system does not say.

    Takes milliseconds in the kernel, so it is for a thread.
    """
    try:
        lines = _ROLLUP.read_text().splitlines()[1:]
    except OSError:
        return None
    kilobytes = {name: int(value.split()[0]) for name, _, value in (line.partition(":") for line in lines)}
    unique = kilobytes.get("Private_Clean", 0) + kilobytes.get("Private_Dirty", 0)
    return kilobytes.get("Pss", 0) * 1024, unique * 1024
