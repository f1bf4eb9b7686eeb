"""What the supervisor, its shards and the decisions between them all speak of."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

import msgspec

DEFAULT_TENANT: Final = "default"
#: Attributes of a dispatch that a pool reads. The value of the first is a list, separated by commas.
CAPABILITIES_ATTRIBUTE: Final = "greenroom.capabilities"
AGENT_ATTRIBUTE: Final = "greenroom.agent"
TENANT_ATTRIBUTE: Final = "greenroom.tenant"


class Placement(StrEnum):
    """Whom a call of an agent shares its shard with."""

    SHARED = "shared"
    TENANT = "tenant"
    DEDICATED = "dedicated"


class Kind(StrEnum):
    """What an agent is made of: a program with an ``AgentServer`` and an entrypoint of its own, or a class."""

    PROGRAM = "program"
    CLASS = "class"


class Permissions(msgspec.Struct, frozen=True, kw_only=True):
    """What an agent may do in a room: LiveKit's ``WorkerPermissions``."""

    can_publish: bool = True
    can_subscribe: bool = True
    can_publish_data: bool = True
    can_update_metadata: bool = True
    can_publish_sources: tuple[int, ...] = ()
    hidden: bool = False


class AgentSpec(msgspec.Struct, frozen=True, kw_only=True):
    """One agent, as the nursery found it: all that is known of it outside the processes that run user code.

    :param name: what the pool calls it; unique in the pool.
    :param dispatch: the ``agent_name`` that LiveKit dispatches to; empty is automatic dispatch.
    :param source: the absolute path of its file.
    :param job_type: LiveKit's ``JobType``: 0 a job for each room, 1 for each publisher.
    :param capabilities: what a dispatch may ask for instead of a name.
    :param placed: whether its own code says its placement, which then is not left to what the pool is told.
    :param asks: whether it decides itself which offers it takes (``on_request``).
    :param max_sessions: of it at once, in this pool.
    :param providers: the labels of its STT, LLM and TTS as far as they are known before a call.
    :param fingerprint: differs when its file, or a local file that it imports, has changed.
    """

    name: str
    dispatch: str = ""
    kind: Kind = Kind.PROGRAM
    source: str = ""
    job_type: int = 0
    permissions: Permissions = Permissions()
    capabilities: tuple[str, ...] = ()
    placement: Placement = Placement.SHARED
    placed: bool = False
    asks: bool = False
    max_sessions: int | None = None
    providers: dict[str, str] = {}
    fingerprint: str = ""


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """A file that does not enter service, and why. ``line`` counts from 1; 0 is unknown."""

    source: str
    line: int = 0
    message: str = ""
    traceback: str = ""


class CodeOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What a program's ``AgentPool(...)`` says; a flag, the environment and the configuration file go before it.

    :param routes: whether it has a router, which the advisor asks.
    :param resolves: whether it has a resolver of tenants, which the advisor asks.
    :param filters: whether it has a request filter, which the advisor asks.
    """

    max_sessions: int | None = None
    max_sessions_per_agent: dict[str, int] | None = None
    max_sessions_per_tenant: dict[str, int] | None = None
    drain_timeout: float | None = None
    memory_warn_mb: float | None = None
    memory_limit_mb: float | None = None
    breaker: bool | None = None
    breaker_cooldown: float | None = None
    slow_session_ms: float | None = None
    port: int | None = None
    deployment: str | None = None
    only_registered_rooms: bool | None = None
    first_prefix: bool | None = None
    routes: bool = False
    resolves: bool = False
    filters: bool = False


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What one nursery has loaded.

    :param files: every local file that took part; saving one of them asks for another generation.
    :param versions: of ``livekit-agents`` and ``livekit``.
    :param inference: whether an inference process is needed, for models that agents share.
    """

    agents: tuple[AgentSpec, ...] = ()
    failures: tuple[Failure, ...] = ()
    files: tuple[str, ...] = ()
    options: CodeOptions = CodeOptions()
    versions: dict[str, str] = {}
    inference: bool = False


class EndKind(StrEnum):
    """Why a session ended."""

    USER = "user"
    """The caller left, or the room ended."""
    AGENT = "agent"
    """The agent ended it."""
    SETUP = "setup"
    """It never came to be: the entrypoint, a constructor or the connection failed."""
    PROVIDER = "provider"
    """An STT, LLM, TTS or realtime provider failed for good."""
    TOOL = "tool"
    """A tool ended it, or failed and nothing caught that."""
    CODE = "code"
    """The program failed otherwise, after the session had begun."""
    POLICY = "policy"
    """A lifecycle policy ended it: silent, solo, too long, too dear."""
    DRAINED = "drained"
    """Its pool stopped before it had ended."""
    KILLED = "killed"
    """Its shard died or was killed, and the call could not be saved."""
    RESCUED = "rescued"
    """Its shard died or was killed; the call goes on in another."""
    MOVED = "moved"
    """It goes on in another shard, with newer code."""
    TERMINATED = "terminated"
    """The server took the job away: the dispatch was deleted, or an operator ended the call."""


class Spent(msgspec.Struct, frozen=True, kw_only=True):
    """What a session costs its machine. CPU is a share of one core over the window; memory is bytes."""

    job_id: str
    cpu: float = 0.0
    memory: int = 0


class Memo(msgspec.Struct, frozen=True, kw_only=True):
    """What is needed to go on with a call elsewhere.

    :param chat: the chat context as JSON (``ChatContext.to_dict``).
    :param agent: the class of the agent that spoke last, for those who hand over: ``module:qualname``.
    :param at: when, in seconds since the epoch.
    """

    chat: bytes = b""
    agent: str = ""
    at: float = 0.0
