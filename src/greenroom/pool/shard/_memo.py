"""With what to go on elsewhere: a session's conversation, told after each item and put back before a start."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import msgspec
from livekit.agents.llm import ChatContext

from greenroom.pool._model import Memo

if TYPE_CHECKING:
    from livekit.agents.llm import ChatItem
    from livekit.agents.voice import Agent, AgentSession

DEBOUNCE: Final = 0.1
#: The last items of a conversation may still change: a reply is cut where it was interrupted.
_UNSETTLED: Final = 8
_JUST_BEFORE: Final = 1e-3


class Recorder:
    """Follows one session's conversation.

    :param tell: gets a memo, at most once in ``DEBOUNCE`` seconds.
    """

    def __init__(self, session: AgentSession[Any], tell: Callable[[Memo], None]) -> None:
        self._session = session
        self._tell = tell
        self._settled: dict[str, msgspec.Raw] = {}
        self._due: asyncio.TimerHandle | None = None
        self._last = 0.0
        self._agent = ""

    def changed(self) -> None:
        """Note that something was said or done; a memo follows, at once unless one has just been told."""
        if self._due is None:
            # What comes next may hold up the loop for good, or be the end of the process.
            loop = asyncio.get_running_loop()
            self._due = loop.call_at(max(loop.time(), self._last + DEBOUNCE), self._told)

    def memo(self) -> Memo:
        """Return what there is by now."""
        items = [item for item in self._session.history.items if _worth_keeping(item)]
        chat = msgspec.json.encode({"items": [*self._encoded(items)]})
        agent = getattr(self._session, "current_agent", None) if self._session_runs() else None
        self._agent = class_name(agent) if agent is not None else self._agent
        return Memo(chat=chat, agent=self._agent, at=time.time())

    def close(self) -> None:
        """Tell nothing any more."""
        if self._due is not None:
            self._due.cancel()
        self._settled.clear()

    def _session_runs(self) -> bool:
        try:
            return self._session.current_agent is not None
        except RuntimeError:
            return False

    def _told(self) -> None:
        self._due = None
        self._last = asyncio.get_running_loop().time()
        if any(_worth_keeping(item) for item in self._session.history.items):
            self._tell(self.memo())

    def _encoded(self, items: list[ChatItem]) -> list[msgspec.Raw]:
        firm = len(items) - _UNSETTLED
        encoded = []
        for place, item in enumerate(items):
            found = self._settled.get(item.id)
            if found is None:
                # Metrics would be counted twice, pictures are too much, and agents state their own tools.
                (plain,) = ChatContext([item]).to_dict(exclude_timestamp=False, exclude_metrics=True)["items"]
                found = msgspec.Raw(msgspec.json.encode(plain))
                if place < firm:
                    self._settled[item.id] = found
            encoded.append(found)
        return encoded


def class_name(agent: object) -> str:
    """Return the class of an agent as ``module:qualname``."""
    return f"{type(agent).__module__}:{type(agent).__qualname__}"


def _worth_keeping(item: ChatItem) -> bool:
    # A session states at its start which agent begins and with what tools; the next start does so again.
    return item.type != "agent_config_update" and not (item.type == "agent_handoff" and item.old_agent_id is None)


async def restore(memo: Memo, session: AgentSession[Any], agent: Agent) -> int:
    """Put a conversation back into a session that has not started, and its first agent; return how many items.

    The model sees it after what the program itself gave the agent to begin with. Calls of tools that the agent does
    not have stay in the history and are kept from the model, as upstream does when agents hand over.
    """
    if not memo.chat:
        return 0
    kept = ChatContext.from_dict(msgspec.json.decode(memo.chat))
    if not kept.items:
        return 0
    session.history.merge(kept)
    known = {item.id for item in kept.items}
    begun = kept.items[0].created_at - _JUST_BEFORE
    given = [
        item.model_copy(update={"created_at": min(item.created_at, begun)})
        for item in agent.chat_ctx.items
        if item.id not in known
    ]
    heard = kept.copy(exclude_handoff=True, exclude_config_update=True)
    await agent.update_chat_ctx(ChatContext([*given, *heard.items]))
    return len(kept.items)
