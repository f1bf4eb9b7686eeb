"""What a Greenroom server is told at start: plain, validated values."""

from __future__ import annotations

import ipaddress
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Final, Literal, TypeAlias
from urllib.parse import urlsplit

import msgspec

from greenroom.errors import ConfigError

DEV_KEY: Final = "devkey"
DEV_SECRET: Final = "secret"  # noqa: S105 - the development secret that every LiveKit tool knows
DEFAULT_PORT: Final = 7880
DEFAULT_RTC_PORT: Final = 7882
DEFAULT_DATA_DIR: Final = Path(".greenroom")

Count: TypeAlias = Annotated[int, msgspec.Meta(ge=1)]
# What LiveKit's messages can carry.
Unsigned: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=2**32 - 1)]
Seconds: TypeAlias = Annotated[float, msgspec.Meta(gt=0, le=1e9)]


class ApiKey(msgspec.Struct, frozen=True, kw_only=True):
    """An API key, its secret, and what its tokens may touch.

    ``agents`` and ``rooms`` are shell-style patterns (``front-*``). ``None`` allows everything; an
    empty tuple allows nothing. They bind every token signed with the key, whatever the token grants.
    """

    key: str
    secret: str
    agents: tuple[str, ...] | None = None
    rooms: tuple[str, ...] | None = None

    def __repr__(self) -> str:
        return f"ApiKey(key={self.key!r}, agents={self.agents!r}, rooms={self.rooms!r})"


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """Sizes and counts past which a request is refused. Sizes are bytes, lengths are characters."""

    name: Count = 256
    metadata: Count = 512 * 1024
    attributes: Count = 64 * 1024
    signal_message: Count = 2 * 1024 * 1024
    agent_message: Count = 2 * 1024 * 1024
    api_body: Count = 10 * 1024 * 1024
    join_request: Count = 1024 * 1024
    data_packet: Count = 64_000
    pending_tracks: Count = 20
    participants: Count = 10_000
    rooms: Count = 10_000
    workers: Count = 1_000


class RoomDefaults(msgspec.Struct, frozen=True, kw_only=True):
    """How rooms behave unless their creator says otherwise. Times are seconds."""

    auto_create: bool = True
    empty_timeout: Unsigned = 300
    departure_timeout: Unsigned = 20
    max_participants: Unsigned = 0
    enable_remote_unmute: bool = False
    protect_agent_sessions: bool = False


class AgentDefaults(msgspec.Struct, frozen=True, kw_only=True):
    """How jobs are offered to workers. Times are seconds."""

    availability_timeout: Seconds = 4.0
    dispatch_deadline: Seconds = 60.0
    register_timeout: Seconds = 10.0


class WebhookSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Whom the server tells what happens in its rooms.

    ``api_key`` names the key that signs; empty is the first. ``include`` and ``exclude`` are shell-style
    patterns of event names; an empty ``include`` means all. ``allow_private`` lets the URLs lead into
    private networks.
    """

    urls: tuple[str, ...] = ()
    api_key: str = ""
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    allow_private: bool = False

    def wants(self, event: str) -> bool:
        """Whether events of this name are told."""
        wanted = not self.include or any(fnmatchcase(event, pattern) for pattern in self.include)
        return wanted and not any(fnmatchcase(event, pattern) for pattern in self.exclude)


class RecordSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How the record of calls is kept.

    :param observe: which sessions are listened to while they run.
    :param share: of all sessions, the share that ``sampled`` listens to.
    :param linger: seconds a session is still listened to when nobody looks at it any more.
    :param limit: sessions listened to at once.
    :param content: whether what is heard there goes into the log, or only that it was.
    :param recording: whether agents may upload; if not, they are told to stop.
    :param retention: seconds after which sessions and rooms are erased; ``None`` keeps them.
    :param log_key: a file with the key that the log's checkpoints are signed with.
    :param compare: seconds between two questions whether a webhook was missed.
    """

    observe: Literal["never", "watched", "sampled", "always"] = "watched"
    share: float = 0.1
    linger: float = 10.0
    limit: int = 200
    content: bool = True
    recording: bool = True
    retention: float | None = None
    log_key: Path | None = None
    compare: Seconds = 60.0


class ServerConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Everything ``greenroom server`` is told."""

    keys: tuple[ApiKey, ...]
    bind: str = "127.0.0.1"
    port: int = DEFAULT_PORT
    rtc_port: int = DEFAULT_RTC_PORT
    node_ip: tuple[str, ...] = ()
    data_dir: Path = DEFAULT_DATA_DIR
    observability_url: str = ""
    limits: Limits = Limits()
    room: RoomDefaults = RoomDefaults()
    agent: AgentDefaults = AgentDefaults()
    webhook: WebhookSettings = WebhookSettings()

    @property
    def webhook_key(self) -> ApiKey:
        """The API key that signs webhooks."""
        return self.key(self.webhook.api_key) or self.keys[0]

    def key(self, name: str) -> ApiKey | None:
        """Return the API key called ``name``."""
        return next((key for key in self.keys if key.key == name), None)

    def validate(self) -> None:
        """Raise :class:`ConfigError` for a combination that must not start."""
        if not self.keys:
            raise ConfigError("No API key is configured", fix="Pass --key KEY:SECRET")
        seen: set[str] = set()
        for key in self.keys:
            if not key.key or not key.secret:
                raise ConfigError("An API key has no name or no secret", fix="Write it as --key KEY:SECRET")
            if key.key in seen:
                raise ConfigError(f"API key '{key.key}' is given twice", fix="Give each key one secret")
            seen.add(key.key)
        for name, port in (("--port", self.port), ("--rtc-port", self.rtc_port)):
            if not 0 <= port <= 65535:
                raise ConfigError(f"{name} {port} is not a port", fix="Use 1 to 65535, or 0 for any free one")
        if not is_loopback(self.bind) and any(key.secret == DEV_SECRET for key in self.keys):
            raise ConfigError(
                f"Refusing to listen on {self.bind} with the development key",
                fix="Pass --key KEY:SECRET with a secret of your own, or --bind 127.0.0.1",
            )
        for address in self.node_ip:
            _check_reachable(self.bind, address)
        self._validate_webhooks()

    def _validate_webhooks(self) -> None:
        if self.webhook.api_key and self.key(self.webhook.api_key) is None:
            raise ConfigError(
                f"Webhooks are to be signed with API key '{self.webhook.api_key}', which is not configured",
                fix="Name one of the keys as webhook.api_key, or none for the first",
            )
        for url in self.webhook.urls:
            _check_webhook(url)


def _check_reachable(bind: str, address: str) -> None:
    version = 4 if bind == "localhost" else _version(bind)
    # "::" takes IPv4, too. What a host name stands for is not known here.
    if bind == "::" or version is None or _version(address) in {None, version}:
        return
    raise ConfigError(
        f"No client reaches --node-ip {address}: --bind {bind} listens on IPv{version} only",
        fix=f"Use --bind ::, or give an IPv{version} address",
    )


def _check_webhook(url: str) -> None:
    try:
        parts = urlsplit(url)
        usable = url.isascii() and parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise ConfigError(f"--webhook '{url}' is not a URL", fix="For example: --webhook https://example.com/livekit")
    if parts.username or parts.password:
        # Not repeated: it may be a secret.
        raise ConfigError(
            f"--webhook has a user name or password for {parts.hostname}",
            fix="Leave it out: the receiver knows a webhook by its signature",
        )


def _version(host: str) -> int | None:
    try:
        return ipaddress.ip_address(host).version
    except ValueError:
        return None


def is_loopback(host: str) -> bool:
    """Tell whether ``host`` is only reachable from this machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def parse_key(text: str) -> ApiKey:
    """Read ``KEY:SECRET``. Raises :class:`ConfigError` without repeating the secret."""
    name, colon, secret = text.partition(":")
    if not (name and colon and secret):
        raise ConfigError("--key takes KEY:SECRET", fix="For example: --key devkey:secret")
    return ApiKey(key=name.strip(), secret=secret.strip())
