"""What a room refuses, as errors a person can read."""

from __future__ import annotations

from greenroom.errors import GreenroomError


class RoomError(GreenroomError):
    """A room, or the server that holds it, refuses what was asked."""

    code = "room_refused"


class LimitError(RoomError):
    """A name, a metadata field or the attributes are longer than allowed."""

    code = "limit_exceeded"

    def __init__(self, what: str, *, limit: int, unit: str) -> None:
        super().__init__(
            f"{what} exceeds the limit of {limit} {unit}",
            fix="Send less, or raise the server's limit",
            context={"limit": limit},
        )


class CapacityError(RoomError):
    """The server holds as many rooms or participants as it may."""

    code = "capacity_exceeded"


class RoomFullError(CapacityError):
    """The room has as many participants as it may."""

    code = "room_full"

    def __init__(self, room: str, limit: int) -> None:
        super().__init__(
            "room has exceeded its max participants",
            fix="Raise max_participants of the room, or wait until somebody leaves",
            context={"room": room, "limit": limit},
        )


class RoomNotFoundError(RoomError):
    """There is no such room."""

    code = "room_not_found"

    def __init__(self, room: str) -> None:
        super().__init__("requested room does not exist", context={"room": room})


class RemoteUnmuteError(RoomError):
    """Somebody's microphone may not be opened from afar."""

    code = "remote_unmute_disabled"

    def __init__(self) -> None:
        super().__init__("remote unmute not enabled", fix="Set enable_remote_unmute, or let the participant unmute")


class ParticipantNotFoundError(RoomError):
    """There is no such participant."""

    code = "participant_not_found"

    def __init__(self, identity: str) -> None:
        super().__init__("participant does not exist", context={"identity": identity})
