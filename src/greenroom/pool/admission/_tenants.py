"""What is known of tenants: a table that may be replaced at any time, and a resolver's answers for a while."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Any, Final

import msgspec

from greenroom.errors import ConfigError
from greenroom.pool._settings import TenantSettings
from greenroom.pool.admission._offer import Reason, Refusal, is_tenant, shown

#: What a resolver may say at the top, as OpenRTC's ``tenant_config`` does, instead of under ``providers``.
PROVIDER_KINDS: Final = ("stt", "llm", "tts", "vad", "realtime")
_NEGATIVE: Final = 0.1
_REMEMBERED: Final = 10_000
_NOBODY: Final = TenantSettings()


class Known(StrEnum):
    """How much is known of a tenant at a moment."""

    TABLE = "table"
    """It stands in the configuration or the file."""
    RESOLVED = "resolved"
    """The resolver knows it, and its answer still counts or is being renewed."""
    UNKNOWN = "unknown"
    """Nobody knows it."""
    PENDING = "pending"
    """The resolver has to answer first."""
    UNAVAILABLE = "unavailable"
    """The resolver failed, and has never told of it."""


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a tenant now. ``ask`` says that the resolver is to be asked, by exactly this caller."""

    known: Known
    settings: TenantSettings | None = None
    ask: bool = False
    problem: str = ""


class _Answer(msgspec.Struct, kw_only=True):
    settings: TenantSettings | None = None
    told: bool = False
    until: float = float("-inf")
    asking: bool = False
    problem: str = ""


class TenantTable:
    """Remembers what is known of tenants.

    The file goes before the configuration, both before the resolver. An answer of the resolver counts for
    ``lifetime`` seconds; then the next call still uses it while the resolver is asked again. That nobody knows a
    tenant, or that the resolver failed, counts for a tenth of it. When a resolver fails, its last answer goes on.

    :param strict: whether a tenant that nobody knows is refused; otherwise it has no settings of its own.
    :param resolves: whether there is a resolver.
    """

    def __init__(
        self,
        known: Mapping[str, TenantSettings] | None = None,
        *,
        lifetime: float = 60.0,
        strict: bool = False,
        resolves: bool = False,
    ) -> None:
        self._known = dict(known or {})
        self._file: dict[str, TenantSettings] = {}
        self._lifetime = lifetime
        self._strict = strict
        self._resolves = resolves
        self._answers: dict[str, _Answer] = {}

    def replace_file(self, tenants: Mapping[str, TenantSettings]) -> None:
        """Take what the file says now, all of it. The next call uses it."""
        self._file = dict(tenants)

    def all(self) -> dict[str, TenantSettings]:
        """Return those that stand in the configuration or the file."""
        return {**self._known, **self._file}

    def apply(self, known: Mapping[str, TenantSettings], *, lifetime: float, strict: bool) -> None:
        """Take what the configuration says now."""
        self._known = dict(known)
        self._lifetime = lifetime
        self._strict = strict

    def resolve_with(self, *, resolves: bool) -> None:
        """Forget what a resolver said: other code is in service, which has one or has none."""
        self._resolves = resolves
        self._answers.clear()

    def find(self, tenant: str, now: float) -> Found:
        """Return what is known, and whether to ask. Whoever is told to ask reports with one of the next two."""
        settings = self._file.get(tenant) or self._known.get(tenant)
        if settings is not None:
            return Found(known=Known.TABLE, settings=settings)
        if not self._resolves:
            return Found(known=Known.UNKNOWN)
        answer = self._answers.get(tenant)
        if answer is None:
            answer = self._answers[tenant] = _Answer()
            self._forget(now)
        valid = now < answer.until
        ask = not valid and not answer.asking
        answer.asking = answer.asking or ask
        if answer.settings is not None:
            return Found(known=Known.RESOLVED, settings=answer.settings, ask=ask)
        if not valid:
            return Found(known=Known.PENDING, ask=ask)
        if answer.told:
            return Found(known=Known.UNKNOWN)
        return Found(known=Known.UNAVAILABLE, problem=answer.problem)

    def answered(self, tenant: str, settings: TenantSettings | None, now: float) -> None:
        """Take the resolver's answer; ``None`` is that it does not know this tenant."""
        lifetime = self._lifetime if settings is not None else self._lifetime * _NEGATIVE
        self._answers[tenant] = _Answer(settings=settings, told=True, until=now + lifetime)

    def failed(self, tenant: str, problem: str, now: float) -> None:
        """Take that the resolver could not answer. The settings that it told last go on."""
        answer = self._answers.setdefault(tenant, _Answer())
        answer.asking = answer.told = False
        answer.until = now + self._lifetime * _NEGATIVE
        answer.problem = problem

    def settle(self, tenant: str, found: Found) -> TenantSettings | Refusal:
        """Return with which settings a call runs, or why it does not."""
        if found.settings is not None:
            return found.settings
        if found.known is Known.UNKNOWN:
            if not self._strict:
                return _NOBODY
            return Refusal(reason=Reason.UNKNOWN_TENANT, message=f"Nobody knows the tenant '{shown(tenant)}'.")
        return Refusal(
            reason=Reason.TENANT_UNAVAILABLE, message=f"The settings of tenant '{shown(tenant)}' are not to be had."
        )

    def _forget(self, now: float) -> None:
        """Keep no more answers than a pool can have tenants: names come from whoever dispatches."""
        if len(self._answers) <= _REMEMBERED:
            return
        for name in [name for name, each in self._answers.items() if not each.asking and now >= each.until]:
            del self._answers[name]
        for name in [name for name, each in self._answers.items() if not each.asking]:
            if len(self._answers) <= _REMEMBERED:
                break
            del self._answers[name]


def may_use(settings: TenantSettings, tenant: str, agent: str) -> Refusal | None:
    """Return why a tenant may not use an agent; ``None`` when it may."""
    if settings.agents is None or any(fnmatchcase(agent, pattern) for pattern in settings.agents):
        return None
    return Refusal(reason=Reason.TENANT_AGENT, message=f"Tenant '{shown(tenant)}' may not use agent '{shown(agent)}'.")


def tenants_of(text: bytes, *, path: str) -> dict[str, TenantSettings]:
    """Return what a file of tenants says: TOML, or JSON where its name ends so.

    Raises :class:`ConfigError`, which tells the place but none of the values: some are secrets.
    """
    try:
        raw: Any = json.loads(text) if path.endswith(".json") else tomllib.loads(text.decode())
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path} cannot be read: {_position(error)}", fix="Mend it and save it again") from None
    if not isinstance(raw, dict):
        raise ConfigError(f"{path} must hold one table for each tenant", fix='For example: {"acme": {}}')
    found = {}
    for name, fields in raw.items():
        if not is_tenant(name):
            raise ConfigError(
                f"{path}: '{shown(name)}' cannot be a tenant", fix="Use 1-128 of A-Z, a-z, 0-9, '-' and '_'"
            )
        try:
            found[name] = msgspec.convert(fields, TenantSettings)
        except msgspec.ValidationError as error:
            raise ConfigError(f"{path}: tenant '{name}': {error}", fix="Mend it and save it again") from None
    return found


def answer_of(found: Mapping[str, Any]) -> TenantSettings:
    """Return what a resolver said as settings. Raises :class:`ConfigError`, without the values."""
    providers = {kind: found[kind] for kind in PROVIDER_KINDS if kind in found}
    fields = {name: value for name, value in found.items() if name not in providers}
    if providers:
        fields["providers"] = {**fields.get("providers", {}), **providers}
    try:
        return msgspec.convert(fields, TenantSettings)
    except msgspec.ValidationError as error:
        raise ConfigError(
            f"The resolver's answer is no settings of a tenant: {error}",
            fix="Return a mapping with max_sessions, agents, providers, policies or environment, or None",
        ) from None


def _position(error: Exception) -> str:
    """Return where a text is broken. What stands there may be a secret, so the parser's own words are not passed on."""
    if isinstance(error, json.JSONDecodeError):
        return f"it is not JSON at line {error.lineno}, column {error.colno}"
    if isinstance(error, UnicodeDecodeError):
        return f"it is not UTF-8 at byte {error.start}"
    if isinstance(error, tomllib.TOMLDecodeError):
        words = str(error)
        place = words[words.rfind("(") :].strip("()") if words.endswith(")") else "an unknown place"
        return f"it is not TOML ({place})"
    return "it is nested too deep"
