"""What LiveKit said no to, or did not say at all."""

from __future__ import annotations

from greenroom.errors import GreenroomError


class LinkError(GreenroomError):
    """LiveKit could not be asked, or refused.

    :param status: the HTTP status; 0 when no answer came.
    :param reason: LiveKit's code for it, such as ``not_found``; empty when there is none.
    """

    code = "livekit_failed"

    def __init__(self, message: str, *, fix: str = "", status: int = 0, reason: str = "") -> None:
        super().__init__(message, fix=fix, context={"status": status, "reason": reason} if status else None)
        self.status = status
        self.reason = reason


class NotFoundError(LinkError):
    """There is no such room, participant, dispatch or track."""

    code = "livekit_not_found"


class NotServedError(LinkError):
    """The server does not have what was asked for: LiveKit's own has no worker list."""

    code = "livekit_not_served"


class WebhookError(GreenroomError):
    """A webhook is not what it says it is: unsigned, signed by another key, or changed on its way."""

    code = "webhook_invalid"
