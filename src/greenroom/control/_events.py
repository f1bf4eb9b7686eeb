"""What the control plane itself puts into the log: who logged in."""

from __future__ import annotations

import msgspec

from greenroom.eventlog import event


@event("operator.logged_in")
class LoggedIn(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody opened a session in a browser."""

    by: str
    role: str
