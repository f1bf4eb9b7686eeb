"""What a configuration file may say, and how each setting of it is called in the environment.

The shapes are those that the parts themselves take, so a setting that a part gains stands in the file, in the
environment and in ``greenroom config schema`` at once.
"""

from __future__ import annotations

import re
import types
import typing
from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, TypeAlias

import msgspec

from greenroom.config import (
    DEFAULT_DATA_DIR,
    DEFAULT_PORT,
    DEFAULT_RTC_PORT,
    AgentDefaults,
    Limits,
    RoomDefaults,
    Seconds,
    WebhookSettings,
)
from greenroom.errors import ConfigError
from greenroom.pool.settings import PoolSettings, TenantsSettings

DEFAULT_CONTROL_PORT: Final = 7870
_PREFIX: Final = "GREENROOM"
#: Variables that go before the one that the rule names, and after it.
_BEFORE: Final = {"pool.url": "LIVEKIT_URL", "control.livekit": "LIVEKIT_URL"}
_AFTER: Final = {
    "webhook.urls": ("GREENROOM_WEBHOOK",),
    "client.url": ("GREENROOM_URL",),
    "client.token": ("GREENROOM_TOKEN",),
    "log.level": ("LIVEKIT_LOG_LEVEL",),
    "pool.observability": ("LIVEKIT_OBSERVABILITY_URL",),
    "pool.deployment": ("LIVEKIT_AGENT_DEPLOYMENT",),
    "pool.max_sessions": ("OPENRTC_MAX_CONCURRENT_SESSIONS",),
    "pool.port": ("OPENRTC_PORT",),
    "pool.placement": ("OPENRTC_ISOLATION",),
}
#: OpenRTC's words for Greenroom's.
_WORDS: Final = {"OPENRTC_ISOLATION": {"process": "dedicated", "coroutine": "shared"}}
#: Of a pool's settings, those that have a section of their own, and what only a program tells it.
_ELSEWHERE: Final = frozenset({"key", "log_level", "tenants", "cli_address"})

Level = Literal["DEBUG", "INFO", "WARNING", "ERROR"]
Observe = Literal["never", "watched", "sampled", "always"]
Port = Annotated[int, msgspec.Meta(ge=0, le=65535)]


class _Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    pass


class KeyPolicy(_Section, frozen=True):
    """An API key: its secret, and the patterns of what its tokens may touch."""

    secret: str
    agents: tuple[str, ...] | None = None
    rooms: tuple[str, ...] | None = None


class ControlSection(_Section, frozen=True):
    """How the control plane works. ``greenroom dev`` takes from it what is about the record.

    :param livekit: the address of the LiveKit server beside it.
    :param allowed_hosts: further names under which browsers reach it.
    :param observe: which sessions are listened to while they run.
    :param share: of all sessions, the share that ``sampled`` listens to.
    :param linger: seconds a session is still listened to when nobody looks any more.
    :param limit: sessions listened to at once.
    :param content: whether what is heard there goes into the log, or only that it was.
    :param recording: take what agents upload; if not, they are told to stop.
    :param keep: how long sessions and rooms are kept: ``30d``, ``12h``; empty is for ever.
    :param log_key: a file with the key that the log's checkpoints are signed with.
    :param compare: seconds between two questions whether a webhook was missed.
    """

    livekit: str = ""
    bind: str = "127.0.0.1"
    port: Port = DEFAULT_CONTROL_PORT
    allowed_hosts: tuple[str, ...] = ()
    observe: Observe = "watched"
    share: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.1
    linger: Annotated[float, msgspec.Meta(ge=0)] = 10.0
    limit: Annotated[int, msgspec.Meta(ge=1)] = 200
    content: bool = True
    recording: bool = True
    keep: str = ""
    log_key: str = ""
    compare: Seconds = 60.0


class DevSection(_Section, frozen=True):
    """How ``greenroom dev`` works. ``path`` is an agent's file or a directory; empty is the packaged example."""

    path: str = ""
    reload: bool = True
    open: bool = False


class LogSection(_Section, frozen=True):
    """What is told on stderr, and how: lines to read, or JSON objects."""

    level: Level = "INFO"
    format: Literal["text", "json"] = "text"


class ClientSection(_Section, frozen=True):
    """Which control plane commands ask, and with which token."""

    url: str = ""
    token: str = ""


class _Limits(Limits, forbid_unknown_fields=True, frozen=True):
    pass


class _RoomDefaults(RoomDefaults, forbid_unknown_fields=True, frozen=True):
    pass


class _AgentDefaults(AgentDefaults, forbid_unknown_fields=True, frozen=True):
    pass


class _WebhookSettings(WebhookSettings, forbid_unknown_fields=True, frozen=True):
    pass


def _pool_section() -> Any:
    own = {"url": (str, ""), "paths": (tuple[str, ...], ()), "port": (Port | None, None)}
    fields: list[Any] = []
    for field in msgspec.structs.fields(PoolSettings):
        if field.name in own:
            fields.append((field.name, *own[field.name]))
        elif field.name not in _ELSEWHERE:
            fields.append((field.name, field.type, {} if field.default is msgspec.NODEFAULT else field.default))
    return msgspec.defstruct(
        "PoolSection",
        fields,
        namespace={"__doc__": PoolSettings.__doc__},
        kw_only=True,
        frozen=True,
        forbid_unknown_fields=True,
    )


if TYPE_CHECKING:
    PoolSection: TypeAlias = Any
else:
    PoolSection = _pool_section()


class ConfigFile(_Section, frozen=True):
    """What a configuration file may say; everything may be left out."""

    keys: dict[str, KeyPolicy] = {}
    bind: str = "127.0.0.1"
    port: int = DEFAULT_PORT
    rtc_port: int = DEFAULT_RTC_PORT
    node_ip: tuple[str, ...] = ()
    data_dir: str = str(DEFAULT_DATA_DIR)
    observability_url: str = ""
    limits: _Limits = _Limits()
    room: _RoomDefaults = _RoomDefaults()
    agent: _AgentDefaults = _AgentDefaults()
    webhook: _WebhookSettings = _WebhookSettings()
    pool: PoolSection = PoolSection()
    tenants: TenantsSettings = TenantsSettings()
    control: ControlSection = ControlSection()
    dev: DevSection = DevSection()
    log: LogSection = LogSection()
    client: ClientSection = ClientSection()


class Setting(msgspec.Struct, frozen=True, kw_only=True):
    """One setting: where it stands in the file, its type, its default, and the variables it is read from, first wins.

    :param name: ``pool.watchdog.stall``.
    """

    name: str
    kind: Any
    default: Any
    variables: tuple[str, ...]

    def read(self, variable: str, text: str) -> Any:
        """Return what a variable says, as a file would. Raises :class:`ConfigError`, without a secret in it."""
        problem = ""
        text = _WORDS.get(variable, {}).get(text.strip(), text)
        for kind in _choices(self.kind):
            try:
                return msgspec.json.decode(msgspec.json.encode(msgspec.convert(_value(kind, text), kind, strict=False)))
            except (msgspec.MsgspecError, ValueError) as error:
                problem = problem or _problem(variable, text, _plain(kind), error)
        raise ConfigError(problem, fix=f"It is {self.name}, see docs/configuration.md: unset or mend it")


@cache
def settings() -> tuple[Setting, ...]:
    """Return every setting there is."""
    return tuple(_walk(ConfigFile, ""))


def _walk(kind: Any, before: str) -> Iterator[Setting]:
    for field in msgspec.structs.fields(kind):
        name = f"{before}{field.name}"
        inner = _plain(field.type)
        if isinstance(inner, type) and issubclass(inner, msgspec.Struct):
            yield from _walk(inner, f"{name}.")
            continue
        ruled = f"{_PREFIX}_{name.replace('.', '_').upper()}"
        first = (_BEFORE[name],) if name in _BEFORE else ()
        default = field.default_factory() if field.default is msgspec.NODEFAULT else field.default
        yield Setting(name=name, kind=field.type, default=default, variables=(*first, ruled, *_AFTER.get(name, ())))


def fields_at(path: str) -> tuple[str, ...]:
    """Return what may stand at a path as msgspec writes it: ``$.pool.agents[...]``; empty for what is no table."""
    kind: Any = ConfigFile
    for part in re.findall(r"\.(\w+)|(\[\.\.\.\])", path):
        if part[1]:
            kind = typing.get_args(_plain(kind))[-1:]
            kind = kind[0] if kind else None
        else:
            known = {field.name: field.type for field in msgspec.structs.fields(kind)} if _is_table(kind) else {}
            kind = known.get(part[0])
        kind = _plain(kind)
    return tuple(field.name for field in msgspec.structs.fields(kind)) if _is_table(kind) else ()


def _is_table(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)


def _choices(kind: Any) -> list[Any]:
    """Return the types of which a value may be, without ``None``."""
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        return [each for each in typing.get_args(kind) if each is not type(None)]
    return [kind]


def _plain(kind: Any) -> Any:
    """Return a type without what narrows it and without ``None``."""
    while True:
        origin = typing.get_origin(kind)
        if origin is Annotated:
            kind = typing.get_args(kind)[0]
        elif origin in (typing.Union, types.UnionType):
            rest = _choices(kind)
            if len(rest) != 1:
                return kind
            kind = rest[0]
        else:
            return kind


def _problem(variable: str, text: str, kind: Any, error: Exception) -> str:
    """Say what is wrong with a variable. What is not one word is not repeated: it may be a secret."""
    if kind in (int, float):
        return f"{variable}: {error}" if _is_number(text) else f"{variable} is '{text}', not a number"
    if kind is bool:
        return f"{variable} is '{text}', neither true nor false"
    return f"{variable} is not usable: {error}"


def _value(kind: Any, text: str) -> Any:
    kind = _plain(kind)
    origin = typing.get_origin(kind)
    if kind is bool:
        return {"yes": "true", "on": "true", "no": "false", "off": "false"}.get(text.lower(), text)
    if origin in (tuple, list):
        if text.startswith("["):
            return msgspec.json.decode(text)
        return [part.strip() for part in text.split(",") if part.strip()]
    if origin is dict:
        if text.startswith("{"):
            return msgspec.json.decode(text)
        pairs = [part.partition("=") for part in text.split(",") if part.strip()]
        return {name.strip(): value.strip() for name, _, value in pairs}
    return text


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
