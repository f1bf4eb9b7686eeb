"""What can go wrong with the log, each with what to do about it."""

from __future__ import annotations

from greenroom.errors import GreenroomError


class EventLogError(GreenroomError):
    """The event log refused or could not do something."""

    code = "log_error"


class ConflictError(EventLogError):
    """The stream has moved on: its last sequence number is not the expected one."""

    code = "log_conflict"

    def __init__(self, stream: str, *, expected: int, actual: int) -> None:
        super().__init__(
            f"Stream {stream} is at {actual}, not at {expected}",
            fix="Read the stream again and decide anew",
            context={"stream": stream, "expected": expected, "actual": actual},
        )
        self.expected = expected
        self.actual = actual


class EventTooLargeError(EventLogError):
    """An event's payload is larger than a row should be."""

    code = "log_event_too_large"


class LogFullError(EventLogError):
    """Nothing was stored: the disk, or a limit on the file's size, is exhausted."""

    code = "log_full"


class LogBusyError(EventLogError):
    """Nothing was stored: another process holds the log's write lock."""

    code = "log_busy"


class LogCorruptError(EventLogError):
    """The database file is damaged, or is not a log at all."""

    code = "log_corrupt"


class LogVersionError(EventLogError):
    """The database was written by a newer Greenroom."""

    code = "log_version"


class LogClosedError(EventLogError):
    """The log has been closed."""

    code = "log_closed"

    def __init__(self) -> None:
        super().__init__("The event log is closed")


class BlobMissingError(EventLogError):
    """An event names a blob that is not stored."""

    code = "blob_missing"


class BlobTooLargeError(EventLogError):
    """What was to be stored as a blob is larger than its limit."""

    code = "blob_too_large"
