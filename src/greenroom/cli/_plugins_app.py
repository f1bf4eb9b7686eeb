"""The commands of ``greenroom plugins`` as the command-line library sees them."""

from __future__ import annotations

from typing import Annotated

from cyclopts import App, Parameter

plugins = App(name="plugins", help="List what plugins bring: providers, tools, observers, memories, stores.")


@plugins.default
def list_(
    *,
    kind: str | None = None,
    as_json: Annotated[bool, Parameter(name="--json")] = False,
) -> int:
    """List what plugins bring: providers, tools, observers, memories, stores.

    Parameters
    ----------
    kind
        Only these: stt, llm, tts, vad, turn_detector, realtime, tool, observer, memory, messaging, store, sink,
        scorer or policy.
    as_json
        Print a JSON array.
    """
    from greenroom.cli.plugins import list_command  # noqa: PLC0415

    return list_command(kind, as_json=as_json)


@plugins.command
def show(
    plugin_id: str,
    /,
    *,
    as_json: Annotated[bool, Parameter(name="--json")] = False,
) -> int:
    """Show what is known of one id; the exit status is 1 if nothing with it can be used.

    Parameters
    ----------
    plugin_id
        The id, with or without a model, a language or a voice: offline/flite:slt.
    as_json
        Print a JSON array: an id may name something of several kinds.
    """
    from greenroom.cli.plugins import show_command  # noqa: PLC0415

    return show_command(plugin_id, as_json=as_json)
