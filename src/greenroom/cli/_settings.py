"""Options, environment, configuration file and defaults, in this order, as one server configuration."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

import msgspec

from greenroom.cli._options import ApiOptions, CallOptions, ControlOptions, KeyOptions, LogOptions, ServerOptions
from greenroom.config import (
    DEFAULT_DATA_DIR,
    DEFAULT_PORT,
    DEFAULT_RTC_PORT,
    DEV_KEY,
    DEV_SECRET,
    AgentDefaults,
    ApiKey,
    Limits,
    RoomDefaults,
    ServerConfig,
    WebhookSettings,
    is_loopback,
    parse_key,
)
from greenroom.errors import ConfigError

_Value = TypeVar("_Value")

DEFAULT_FILE: Final = "greenroom.toml"
DEFAULT_CONTROL_PORT: Final = 7870
_DEVELOPMENT: Final = ApiKey(key=DEV_KEY, secret=DEV_SECRET)


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """A server to call, and the key to do it with.

    :param url: a WebSocket address without a slash at the end.
    """

    url: str
    key: ApiKey


class ControlTarget(msgspec.Struct, frozen=True, kw_only=True):
    """A LiveKit server to stand beside, and where to listen.

    :param keys: the first asks the server; all of them sign webhooks, uploads and operators' tokens.
    """

    livekit: str
    keys: tuple[ApiKey, ...]
    bind: str
    port: int
    allowed_hosts: tuple[str, ...]
    data_dir: Path


class ApiTarget(msgspec.Struct, frozen=True, kw_only=True):
    """A control plane to ask.

    :param url: an HTTP address without a slash at the end.
    :param token: a bearer token; empty without one.
    """

    url: str
    token: str = ""


class _Policy(msgspec.Struct, forbid_unknown_fields=True):
    secret: str
    agents: tuple[str, ...] | None = None
    rooms: tuple[str, ...] | None = None


class _Limits(Limits, forbid_unknown_fields=True, frozen=True):
    pass


class _RoomDefaults(RoomDefaults, forbid_unknown_fields=True, frozen=True):
    pass


class _AgentDefaults(AgentDefaults, forbid_unknown_fields=True, frozen=True):
    pass


class _WebhookSettings(WebhookSettings, forbid_unknown_fields=True, frozen=True):
    pass


class ConfigFile(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What a configuration file may say."""

    keys: dict[str, _Policy] = {}
    bind: str | None = None
    port: int | None = None
    rtc_port: int | None = None
    node_ip: tuple[str, ...] | None = None
    data_dir: str | None = None
    observability_url: str | None = None
    limits: _Limits | None = None
    room: _RoomDefaults | None = None
    agent: _AgentDefaults | None = None
    webhook: _WebhookSettings | None = None


def server_config(options: ServerOptions, environment: Mapping[str, str] = os.environ) -> ServerConfig:
    """Return what a server is to be. Raises :class:`ConfigError`."""
    file = _read_file(options, environment)
    node_ip = _first(options.node_ip, _list(environment, "GREENROOM_NODE_IP"), file.node_ip)
    settings: dict[str, Any] = {
        "bind": _first(options.bind, environment.get("GREENROOM_BIND"), file.bind),
        "port": _first(options.port, _number(environment, "GREENROOM_PORT"), file.port),
        "rtc_port": _first(options.rtc_port, _number(environment, "GREENROOM_RTC_PORT"), file.rtc_port),
        "node_ip": None if node_ip is None else tuple(_address(text) for text in node_ip),
        "data_dir": options.data_dir or _path(environment.get("GREENROOM_DATA_DIR") or file.data_dir),
        "observability_url": _first(
            options.observability_url, environment.get("GREENROOM_OBSERVABILITY_URL"), file.observability_url
        ),
        "limits": file.limits,
        "room": file.room,
        "agent": file.agent,
        "webhook": _webhook(options, environment, file.webhook or WebhookSettings()),
    }
    given = {name: value for name, value in settings.items() if value is not None}
    config = ServerConfig(keys=_keys(options, environment, file), **given)
    config.validate()
    return config


def _webhook(options: ServerOptions, environment: Mapping[str, str], file: WebhookSettings) -> WebhookSettings:
    urls = _first(options.webhook, _list(environment, "GREENROOM_WEBHOOK"), file.urls)
    return WebhookSettings(
        urls=tuple(urls or ()),
        api_key=file.api_key,
        include=file.include,
        exclude=file.exclude,
        allow_private=options.webhook_allow_private or file.allow_private,
    )


def data_directory(options: LogOptions, environment: Mapping[str, str] = os.environ) -> Path:
    """Return the directory for data. Raises :class:`ConfigError`."""
    file = _read_file(options, environment)
    named = _path(environment.get("GREENROOM_DATA_DIR") or file.data_dir)
    return options.data_dir or named or DEFAULT_DATA_DIR


def api_keys(options: KeyOptions, environment: Mapping[str, str] = os.environ) -> tuple[ApiKey, ...]:
    """Return the API keys; the development key when none is given. Raises :class:`ConfigError`."""
    return _keys(options, environment, _read_file(options, environment))


def call_target(options: CallOptions, environment: Mapping[str, str] = os.environ, *, option: str = "--url") -> Target:
    """Return which server to call. LiveKit's own variables go before Greenroom's. Raises :class:`ConfigError`."""
    file = _read_file(options, environment)
    names = ("LIVEKIT_API_KEY", "LIVEKIT_API_SECRET")
    key, secret = (environment.get(name, "").strip() for name in names)
    if options.key or not (key or secret):
        chosen = _keys(options, environment, file)[0]
    elif key and secret:
        chosen = ApiKey(key=key, secret=secret)
    else:
        given, missing = names if key else reversed(names)
        raise ConfigError(f"{given} is set, {missing} is not", fix="Set both, or pass --key KEY:SECRET")
    written = options.url or environment.get("LIVEKIT_URL", "").strip()
    return Target(url=_websocket(written, option) if written else _own_address(environment, file), key=chosen)


def control_target(options: ControlOptions, environment: Mapping[str, str] = os.environ) -> ControlTarget:
    """Return which server to stand beside. Raises :class:`ConfigError`."""
    file = _read_file(options, environment)
    first = call_target(
        CallOptions(key=options.key, config=options.config, url=options.livekit), environment, option="--livekit"
    )
    keys = (first.key, *(key for key in _keys(options, environment, file) if key.key != first.key.key))
    bind = options.bind or environment.get("GREENROOM_CONTROL_BIND") or "127.0.0.1"
    if not is_loopback(bind) and any(key.secret == DEV_SECRET for key in keys):
        raise ConfigError(
            f"Refusing to listen on {bind} with the development key",
            fix="Pass --key KEY:SECRET with a secret of your own, or --bind 127.0.0.1",
        )
    port = _first(options.port, _number(environment, "GREENROOM_CONTROL_PORT"), DEFAULT_CONTROL_PORT)
    assert port is not None
    if not 0 <= port <= 65535:
        raise ConfigError(f"--port {port} is not a port", fix="Use 1 to 65535, or 0 for any free one")
    return ControlTarget(
        livekit=first.url,
        keys=keys,
        bind=bind,
        port=port,
        allowed_hosts=tuple(options.allowed_host or ()),
        data_dir=data_directory(LogOptions(data_dir=options.data_dir, config=options.config), environment),
    )


def api_target(options: ApiOptions, environment: Mapping[str, str] = os.environ) -> ApiTarget:
    """Return which control plane to ask, and as whom. Raises :class:`ConfigError`."""
    written = options.url or environment.get("GREENROOM_URL", "").strip()
    if not written:
        port = _first(_number(environment, "GREENROOM_PORT"), _read_file(LogOptions(), environment).port)
        written = f"http://127.0.0.1:{port or DEFAULT_PORT}"
    token = (options.token or environment.get("GREENROOM_TOKEN", "")).strip()
    if not (token.isascii() and token.isprintable()):
        raise ConfigError("The token is none", fix="Pass what greenroom login --token prints")
    return ApiTarget(url=_websocket(written, example="http://127.0.0.1:7870").replace("ws", "http", 1), token=token)


def rtc_port(options: KeyOptions, environment: Mapping[str, str] = os.environ) -> int:
    """Return the UDP port that a server started here would open. Raises :class:`ConfigError`."""
    file = _read_file(options, environment)
    return _first(_number(environment, "GREENROOM_RTC_PORT"), file.rtc_port) or DEFAULT_RTC_PORT


def _own_address(environment: Mapping[str, str], file: ConfigFile) -> str:
    port = _first(_number(environment, "GREENROOM_PORT"), file.port) or DEFAULT_PORT
    return f"ws://127.0.0.1:{port}"


def _websocket(text: str, option: str = "--url", example: str = "ws://127.0.0.1:7880") -> str:
    error = ConfigError(f"{option} '{text}' is not an address", fix=f"For example: {option} {example}")
    try:
        parts = urlsplit(text)
        scheme = {"ws": "ws", "http": "ws", "wss": "wss", "https": "wss"}.get(parts.scheme)
        # Asking for the port finds out whether it is one.
        if scheme is None or not parts.hostname or parts.username or (parts.port is not None and not parts.port):
            raise error
    except ValueError:
        raise error from None
    return f"{scheme}://{parts.netloc}{parts.path.rstrip('/')}"


def _keys(options: KeyOptions, environment: Mapping[str, str], file: ConfigFile) -> tuple[ApiKey, ...]:
    written = options.key or _list(environment, "GREENROOM_KEY")
    if written:
        return tuple(parse_key(text) for text in written)
    keys = tuple(
        ApiKey(key=name, secret=policy.secret, agents=policy.agents, rooms=policy.rooms)
        for name, policy in file.keys.items()
    )
    return keys or (_DEVELOPMENT,)


def _read_file(options: KeyOptions | LogOptions, environment: Mapping[str, str]) -> ConfigFile:
    named = options.config or environment.get("GREENROOM_CONFIG")
    path = Path(named or DEFAULT_FILE)
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        if not named:
            return ConfigFile()
        raise ConfigError(f"Configuration file '{path}' does not exist", fix="Check --config") from None
    except OSError as error:
        raise ConfigError(f"Cannot read '{path}': {error.strerror}", fix="Check --config") from None
    try:
        if path.suffix == ".json":
            return msgspec.json.decode(content, type=ConfigFile)
        return msgspec.toml.decode(content, type=ConfigFile)
    except (msgspec.MsgspecError, UnicodeDecodeError, ValueError) as error:
        raise ConfigError(f"'{path}' is not a usable configuration: {error}", fix="See docs/cli.md") from None


def _first(*values: _Value | None) -> _Value | None:
    return next((value for value in values if value is not None), None)


def _path(text: str | None) -> Path | None:
    return Path(text) if text else None


def _list(environment: Mapping[str, str], name: str) -> list[str] | None:
    return [part.strip() for part in environment.get(name, "").split(",") if part.strip()] or None


def _number(environment: Mapping[str, str], name: str) -> int | None:
    text = environment.get(name)
    if not text:
        return None
    try:
        return int(text)
    except ValueError:
        raise ConfigError(f"{name} is '{text}', not a number", fix=f"Set {name} to a port, or unset it") from None


def _address(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        raise ConfigError(
            f"--node-ip '{text}' is not an IP address", fix="For example: --node-ip 203.0.113.7"
        ) from None
