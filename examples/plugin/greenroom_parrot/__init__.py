"""A plugin: a tool, an observer, and a language model that repeats what it hears."""

import logging
from typing import Any

from greenroom.plugins import Plugin

plugin, logger = Plugin(), logging.getLogger(__name__)


@plugin.tool("parrot/letters")
async def count_letters(word: str) -> str:
    """Tell how many letters a word has."""
    return f"{word} has {len(word)} letters."


@plugin.observer("parrot/log", summary="Logs each call that begins, and each that is over.")
class Log:
    async def on_session_start(self, info: Any, session: Any) -> None:
        logger.info("a call has begun", extra={"llm": session.llm.label, "tenant": info.tenant})

    async def on_session_end(self, info: Any, outcome: Any) -> None:
        logger.info("a call is over", extra={"status": outcome.status.value, "tenant": info.tenant})


@plugin.llm("parrot", requires=["livekit.agents"])
def parrot(model: str = "polly") -> Any:
    """A language model that repeats what it hears; the model is the name of the parrot."""
    from livekit.agents.llm import LLM, ChatChunk, ChoiceDelta, LLMStream  # noqa: PLC0415 - heavy, so not for a list

    class Stream(LLMStream):
        async def _run(self) -> None:
            heard = self.chat_ctx.messages()[-1].text_content
            self._event_ch.send_nowait(ChatChunk(id="1", delta=ChoiceDelta(content=f"{model} says {heard}")))

    class Parrot(LLM[Any]):
        def chat(self, *, chat_ctx: Any, tools: Any = None, conn_options: Any, **_: Any) -> Stream:
            return Stream(self, chat_ctx=chat_ctx, tools=tools or [], conn_options=conn_options)

    return Parrot()
