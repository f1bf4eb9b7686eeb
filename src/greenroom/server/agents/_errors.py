"""What the dispatcher refuses, as errors a person can read."""

from __future__ import annotations

from greenroom.errors import GreenroomError


class DispatchError(GreenroomError):
    """A dispatch, or a worker that registers, asks for what cannot be."""

    code = "dispatch_invalid"
