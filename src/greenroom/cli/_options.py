"""The options of the commands. What is not given stays ``None``: environment and file come next."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(kw_only=True)
class KeyOptions:
    """Options of every command that holds an API key.

    Parameters
    ----------
    key
        An API key and its secret as KEY:SECRET; repeatable. On loopback devkey:secret is the default.
        Environment: GREENROOM_KEY, several separated by commas.
    config
        Configuration file, TOML or JSON; greenroom.toml here when it exists. The only place for what a key
        may touch. Environment: GREENROOM_CONFIG.
    """

    key: list[str] | None = None
    config: Path | None = None


@dataclass(kw_only=True)
class ServerOptions(KeyOptions):
    """Options of every command that serves.

    Parameters
    ----------
    bind
        Address to listen on; 127.0.0.1 by default. Environment: GREENROOM_BIND.
    port
        TCP port for HTTP and signalling; 7880 by default, 0 for any free one. Environment: GREENROOM_PORT.
    rtc_port
        UDP port for media and data; 7882 by default, 0 for any free one. Environment: GREENROOM_RTC_PORT.
    node_ip
        Address under which clients reach the UDP port, where it is not the machine's own; repeatable.
        Environment: GREENROOM_NODE_IP, several separated by commas.
    data_dir
        Directory for data; .greenroom by default. Environment: GREENROOM_DATA_DIR.
    observability_url
        Where agents upload what they record of their sessions; with it every job is recorded. greenroom dev takes
        the uploads itself. Environment: GREENROOM_OBSERVABILITY_URL.
    webhook
        URL to be told what happens in rooms, as LiveKit's webhooks; repeatable. Environment: GREENROOM_WEBHOOK,
        several separated by commas.
    webhook_allow_private
        Let webhooks go to addresses of private networks.
    verbose
        Log details.
    """

    bind: str | None = None
    port: int | None = None
    rtc_port: int | None = None
    node_ip: list[str] | None = None
    data_dir: Path | None = None
    observability_url: str | None = None
    webhook: list[str] | None = None
    webhook_allow_private: bool = False
    verbose: bool = False


@dataclass(kw_only=True)
class CallOptions(KeyOptions):
    """Options of every command that calls a server.

    Parameters
    ----------
    url
        Address of the server; ws://127.0.0.1:7880 by default. Environment: LIVEKIT_URL. Its key may come from
        LIVEKIT_API_KEY and LIVEKIT_API_SECRET.
    """

    url: str | None = None


@dataclass(kw_only=True)
class ApiOptions:
    """Options of every command that asks a control plane.

    Parameters
    ----------
    url
        Address of greenroom dev or greenroom control; http://127.0.0.1:7880 by default.
        Environment: GREENROOM_URL.
    token
        Bearer token, as greenroom login --token prints it; on loopback none is asked for.
        Environment: GREENROOM_TOKEN.
    """

    url: str | None = None
    token: str | None = None


@dataclass(kw_only=True)
class SessionsRequest:
    """Which sessions to list; what is not given does not matter.

    Parameters
    ----------
    agent
        The agent's name.
    room
        The room's name or sid.
    participant
        The identity of somebody who was in it.
    tag
        One of their tags.
    outcome
        success, fail, or none for those that did not say.
    status
        live or ended.
    since
        They began then or later: 2h (ago), 2026-11-20, 2026-11-20T09:00.
    until
        They began before then.
    text
        Words that were said, or stood in a tool's arguments or results; the last may be a beginning.
    slower_than
        Their slowest turn took so many seconds or more.
    errors
        Only those with errors.
    limit
        How many.
    after
        Go on where a page before ended.
    """

    agent: str | None = None
    room: str | None = None
    participant: str | None = None
    tag: str | None = None
    outcome: str | None = None
    status: str | None = None
    since: str | None = None
    until: str | None = None
    text: str | None = None
    slower_than: float | None = None
    errors: bool = False
    limit: int = 20
    after: str | None = None


@dataclass(kw_only=True)
class LogOptions:
    """Options of every command that opens the event log.

    Parameters
    ----------
    data_dir
        Directory for data; .greenroom by default. Environment: GREENROOM_DATA_DIR.
    config
        Configuration file, for the directory; greenroom.toml here when it exists. Environment: GREENROOM_CONFIG.
    """

    data_dir: Path | None = None
    config: Path | None = None


@dataclass(kw_only=True)
class ControlOptions(KeyOptions):
    """Options of the control plane.

    Parameters
    ----------
    livekit
        Address of the LiveKit server; ws://127.0.0.1:7880 by default. Environment: LIVEKIT_URL. Its key may come
        from LIVEKIT_API_KEY and LIVEKIT_API_SECRET.
    bind
        Address to listen on; 127.0.0.1 by default. Environment: GREENROOM_CONTROL_BIND.
    port
        TCP port; 7870 by default, 0 for any free one. Environment: GREENROOM_CONTROL_PORT.
    allowed_host
        A further name under which browsers reach it, a proxy's for example; repeatable.
    data_dir
        Directory for data; .greenroom by default. Environment: GREENROOM_DATA_DIR.
    verbose
        Log details.
    """

    livekit: str | None = None
    bind: str | None = None
    port: int | None = None
    allowed_host: list[str] | None = None
    data_dir: Path | None = None
    verbose: bool = False
