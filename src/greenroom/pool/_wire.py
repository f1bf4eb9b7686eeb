"""What the supervisor says to its nursery and shards, and what they answer: msgpack behind a length.

One stream socket for each process, made by the supervisor and inherited. Every message is preceded by its length,
4 bytes, big-endian. Whoever reads the end of the stream knows that the other side is gone.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Final, TypeAlias

import msgspec

from greenroom.pool._model import EndKind, Manifest, Memo, Spent

MAX_MESSAGE: Final = 64 * 1024 * 1024
_LENGTH: Final = 4


class Role(StrEnum):
    """What a process that the nursery forks is for.

    A shard runs sessions. The advisor answers what only user code can: routers, request filters, resolvers of
    tenants; it has no sessions that it could hold up. The inference process runs the models that sessions share.
    """

    SHARD = "shard"
    ADVISOR = "advisor"
    INFERENCE = "inference"


class _Message(msgspec.Struct, frozen=True, kw_only=True, tag=True, omit_defaults=True):
    pass


class ShardSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What every shard is told.

    :param dev: whether livekit-agents is to behave as in development.
    :param stall: seconds of a blocked loop after which it is told where.
    :param beat: seconds between two signs of life.
    :param window: seconds over which CPU is averaged.
    :param ffi_routing: whether events of livekit-rtc go only to whom they concern.
    :param gc_policy: whether the garbage collector waits for idle moments.
    :param inline_vad: whether livekit-agents' own VAD is asked on the loop, without a thread of its own.
    :param deployment: the version that users of this code see.
    """

    dev: bool = False
    log_level: str = "INFO"
    stall: float = 0.2
    beat: float = 0.5
    window: float = 10.0
    session_end_timeout: float = 300.0
    shutdown_timeout: float = 10.0
    ffi_routing: bool = True
    gc_policy: bool = True
    inline_vad: bool = True
    deployment: str = ""
    options: dict[str, Any] = {}


# --- supervisor to nursery


class Load(_Message, frozen=True, kw_only=True):
    """Load these files, freeze what came of it, and tell. The first message.

    :param paths: absolute; files, each once.
    :param skip: files not to touch, since loading them ended an earlier nursery.
    :param shard: what every shard is told, see :class:`ShardSettings`.
    """

    paths: tuple[str, ...]
    skip: tuple[str, ...] = ()
    shard: ShardSettings


class Fork(_Message, frozen=True, kw_only=True):
    """Fork a process. Two descriptors come with it: its socket, and what its output is written to."""

    role: Role
    number: int


class Quit(_Message, frozen=True, kw_only=True):
    """End at once. What was forked lives on."""


# --- nursery to supervisor


class Loading(_Message, frozen=True, kw_only=True):
    """A file is about to be loaded: should the nursery end or hang now, that file is why."""

    source: str


class Loaded(_Message, frozen=True, kw_only=True):
    """All files are loaded, as far as they can be. Forks are possible from now on."""

    manifest: Manifest


class Forked(_Message, frozen=True, kw_only=True):
    """A process was forked; or not, and ``problem`` says why."""

    number: int
    pid: int = 0
    problem: str = ""


class Reaped(_Message, frozen=True, kw_only=True):
    """A forked process has ended. ``status`` is its exit status, or minus the signal that ended it."""

    number: int
    pid: int
    status: int


# --- supervisor to shard


class Launch(_Message, frozen=True, kw_only=True):
    """Run a session.

    :param job: a serialized ``livekit.protocol.agent.Job``.
    :param providers: what replaces the agent's providers for this tenant: ``{"llm": "openai/gpt-5", ...}``.
    :param environment: of its tenant, read through ``greenroom.pool.context``.
    :param memo: with what to go on, when the call was elsewhere before.
    """

    job_id: str
    agent: str
    tenant: str
    job: bytes
    identity: str
    name: str = ""
    metadata: str = ""
    attributes: dict[str, str] = {}
    url: str
    token: str
    worker_id: str
    received_at: float = 0.0
    accepted_at: float = 0.0
    assigned_at: float = 0.0
    providers: dict[str, Any] = {}
    environment: dict[str, str] = {}
    memo: Memo | None = None
    fake: bool = False


class End(_Message, frozen=True, kw_only=True):
    """End a session in good order. ``kind`` is what it ended of."""

    job_id: str
    kind: EndKind
    reason: str = ""


class Move(_Message, frozen=True, kw_only=True):
    """End a session in good order as soon as nobody speaks, so that it can go on elsewhere; ``patience`` in seconds."""

    job_id: str
    patience: float = 10.0


class Retire(_Message, frozen=True, kw_only=True):
    """End the process once its last session has."""


class Ask(_Message, frozen=True, kw_only=True):
    """Whether an agent's own filter takes an offer; the advisor answers with :class:`Answer`."""

    number: int
    agent: str
    job: bytes


class AskRouter(_Message, frozen=True, kw_only=True):
    """Which agent a program's router names; the advisor answers with :class:`Routed`."""

    number: int
    job: bytes


class AskTenant(_Message, frozen=True, kw_only=True):
    """What a program's resolver says of a tenant; the advisor answers with :class:`TenantFound`."""

    number: int
    tenant: str


class Infer(_Message, frozen=True, kw_only=True):
    """Run a shared model. A shard asks, the supervisor passes it to the inference process."""

    number: int
    shard: int = 0
    method: str
    data: bytes = b""


class Inferred(_Message, frozen=True, kw_only=True):
    """What a shared model answers; passed back the same way."""

    number: int
    shard: int = 0
    data: bytes | None = None
    problem: str = ""


# --- shard to supervisor


class Ready(_Message, frozen=True, kw_only=True):
    """The process is ready for work; or not, and ``problem`` says why.

    :param failed: agents whose set-up failed in this process, and why: it runs none of their sessions.
    """

    problem: str = ""
    failed: dict[str, str] = {}


class Answer(_Message, frozen=True, kw_only=True):
    """What an agent's filter decided. ``terminate`` asks that nobody else be offered the job."""

    number: int
    accepted: bool
    terminate: bool = False
    identity: str = ""
    name: str = ""
    metadata: str = ""
    attributes: dict[str, str] = {}
    problem: str = ""


class Routed(_Message, frozen=True, kw_only=True):
    """What a router said; ``agent`` is ``None`` when it left the choice open."""

    number: int
    agent: str | None = None
    problem: str = ""


class TenantFound(_Message, frozen=True, kw_only=True):
    """What a resolver said of a tenant; ``found`` is ``None`` for an unknown one."""

    number: int
    found: dict[str, Any] | None = None
    problem: str = ""


class Started(_Message, frozen=True, kw_only=True):
    """A session's entrypoint runs."""

    job_id: str


class Fact(_Message, frozen=True, kw_only=True):
    """Something happened in a session that decisions are made of.

    ``kind`` and ``value``: ``connected`` 1; ``participants`` how many people are in the room; ``agent_state`` and
    ``user_state`` LiveKit's words; ``spoke`` who said something, ``user`` or ``agent``; ``provider_error`` the label
    of the provider that failed; ``provider_ok`` the label of one that answered; ``cost`` USD so far; ``usage`` a
    mapping of LiveKit's usage by model; ``recoverable`` accompanies ``provider_error``.
    """

    job_id: str
    kind: str
    value: Any = None
    recoverable: bool = False


class Checkpoint(_Message, frozen=True, kw_only=True):
    """With what to go on, should this process die."""

    job_id: str
    memo: Memo


class Ended(_Message, frozen=True, kw_only=True):
    """A session is over, everything that belongs to it is closed.

    :param ok: whether LiveKit is told success.
    :param provider: the label of the provider that failed, for ``EndKind.PROVIDER``.
    """

    job_id: str
    kind: EndKind
    ok: bool = True
    reason: str = ""
    error: str = ""
    provider: str = ""
    memo: Memo | None = None


class Beat(_Message, frozen=True, kw_only=True):
    """A sign of life from the event loop.

    :param lag: how late the loop was at worst since the last one, in seconds.
    :param rss: bytes.
    :param cpu: a share of one core, of the whole process, over the window.
    """

    lag: float = 0.0
    lags: tuple[float, ...] = ()
    rss: int = 0
    pss: int | None = None
    uss: int | None = None
    cpu: float = 0.0
    collected: float = 0.0
    sessions: tuple[Spent, ...] = ()


class Stalled(_Message, frozen=True, kw_only=True):
    """The event loop does not turn. Told from another thread, again each second while it lasts.

    :param seconds: for how long so far.
    :param line: ``file:line`` of the user's code that runs, or of whatever runs.
    :param job_id: the session whose code it is; empty when unknown.
    """

    seconds: float
    line: str = ""
    stack: str = ""
    job_id: str = ""
    over: bool = False


class DrainAsked(_Message, frozen=True, kw_only=True):
    """A program asks that its pool take no more calls, and end once the last has hung up."""


ToNursery: TypeAlias = Load | Fork | Quit
FromNursery: TypeAlias = Loading | Loaded | Forked | Reaped
ToShard: TypeAlias = Launch | End | Move | Retire | Ask | AskRouter | AskTenant | Infer | Inferred
FromShard: TypeAlias = (
    Ready
    | Answer
    | Routed
    | TenantFound
    | Started
    | Fact
    | Checkpoint
    | Ended
    | Beat
    | Stalled
    | Infer
    | Inferred
    | DrainAsked
)

_encoder = msgspec.msgpack.Encoder()
to_nursery: Final = msgspec.msgpack.Decoder(ToNursery)
from_nursery: Final = msgspec.msgpack.Decoder(FromNursery)
to_shard: Final = msgspec.msgpack.Decoder(ToShard)
from_shard: Final = msgspec.msgpack.Decoder(FromShard)


def encode(message: _Message) -> bytes:
    """Return a message as it goes over the socket, its length before it."""
    body = _encoder.encode(message)
    return len(body).to_bytes(_LENGTH, "big") + body


class Frames:
    """Cuts a stream into messages, each preceded by its length: 4 bytes, big-endian."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """Return the messages that are complete now. Raises :class:`ValueError` for one that is too long."""
        self._buffer += data
        found = []
        start, end = 0, len(self._buffer)
        while end - start >= _LENGTH:
            length = int.from_bytes(self._buffer[start : start + _LENGTH], "big")
            if length > MAX_MESSAGE:
                raise ValueError(f"a message of {length} bytes")
            if end - start - _LENGTH < length:
                break
            start += _LENGTH
            found.append(bytes(self._buffer[start : start + length]))
            start += length
        del self._buffer[:start]
        return found
