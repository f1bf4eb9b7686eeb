"""``greenroom doctor``: is a server in order, from here, and do its agents answer? Works against any LiveKit."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import msgspec

from greenroom.cli._options import CallOptions
from greenroom.cli._settings import call_target, rtc_port
from greenroom.cli.doctor._report import Check, Report, show
from greenroom.errors import ConfigError

__all__ = ["DoctorRequest", "doctor_command"]

_FAULTY: Final = 1


@dataclass(frozen=True, kw_only=True)
class DoctorRequest:
    """What to examine.

    :param agent: the agent to call; None for those the server's page lists.
    :param timeout: seconds for an agent to come, and again to answer.
    """

    agent: str | None = None
    timeout: float = 20.0


def doctor_command(options: CallOptions, request: DoctorRequest, *, as_json: bool) -> int:
    """Examine a server and return the exit status: 1 when something is wrong. Raises :class:`ConfigError`."""
    from greenroom.cli.doctor._examination import Examination  # noqa: PLC0415 - with the native core and websockets

    if request.timeout <= 0:
        raise ConfigError(f"--timeout {request.timeout:g} is no time to wait", fix="For example: --timeout 20")
    target = call_target(options)
    tell: Callable[[Check], None] = (lambda _: None) if as_json else show
    examination = Examination(target, request.agent, request.timeout, rtc_port(options), tell)
    asyncio.run(examination.run())
    fine = not any(check.ok is False for check in examination.checks)
    if as_json:
        report = Report(ok=fine, url=target.url, checks=examination.checks)
        sys.stdout.write(msgspec.json.encode(report).decode() + "\n")
    return 0 if fine else _FAULTY
