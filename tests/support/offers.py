"""What Chromium 156 really offered, recorded."""

from __future__ import annotations

from pathlib import Path

_FOLDER = Path(__file__).parent / "offers"


def chromium_first() -> str:
    """Return the first offer of livekit-client: three receiving audio and video sections each, then data channels."""
    return (_FOLDER / "chromium-first.sdp").read_bytes().decode()


def chromium_publish() -> str:
    """Return :func:`chromium_first` plus a microphone and a camera in three simulcast layers."""
    return (_FOLDER / "chromium-publish.sdp").read_bytes().decode()
