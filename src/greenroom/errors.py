"""The error every part of Greenroom raises for what a person can mend.

An error says what went wrong, why, and what to do. It reads the same from
Python, over HTTP and on the command line.
"""

from __future__ import annotations

from collections.abc import Mapping


class GreenroomError(Exception):
    """Something a person can mend.

    :param message: what was wrong and where, one sentence without the final stop.
    :param fix: what to do about it, as a sentence or a command to paste.
    :param context: the values involved. Never a secret, never what a caller said.
    """

    code: str = "greenroom_error"

    def __init__(self, message: str, *, fix: str = "", context: Mapping[str, object] | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.fix = fix
        self.context: dict[str, object] = dict(context or {})

    def __str__(self) -> str:
        return f"{self.message}. {self.fix}" if self.fix else self.message


class ConfigError(GreenroomError):
    """An option, an environment variable or a configuration file is unusable."""

    code = "config_invalid"


class MissingExtraError(GreenroomError):
    """A feature needs packages that the core install does not bring."""

    code = "missing_extra"

    def __init__(self, feature: str, extra: str, *, apt: str = "") -> None:
        fix = f"Run: pip install 'greenroom[{extra}]'"
        if apt:
            fix += f" && apt-get install {apt}"
        super().__init__(f"{feature} needs the '{extra}' extra", fix=fix, context={"extra": extra})


class PortInUseError(GreenroomError):
    """A port that Greenroom should listen on is taken."""

    code = "port_in_use"

    def __init__(self, host: str, port: int, *, protocol: str, option: str) -> None:
        super().__init__(
            f"{protocol} port {port} on {host} is already in use",
            fix=f"Stop the program that holds it, or choose another with {option} (0 picks any free port)",
            context={"host": host, "port": port, "protocol": protocol},
        )


class MediaEngineError(GreenroomError):
    """The media engine refused a command or has stopped."""

    code = "media_engine"


class TokenError(GreenroomError):
    """A token is missing, malformed, expired or signed with the wrong key."""

    code = "token_invalid"
