"""What an HTTP operation takes, answers and asks of its caller, said beside its handler.

Each noun declares its own; ``control`` makes the scope checks and the OpenAPI document from them, so neither can
say anything else than the other.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Literal, TypeAlias, TypeVar

import msgspec

_Handler = TypeVar("_Handler", bound=Callable[..., Any])

Scope: TypeAlias = Literal["read", "operate", "admin"]
SCOPES: Final[tuple[Scope, ...]] = ("read", "operate", "admin")
_ATTRIBUTE: Final = "__greenroom_operation__"


class Operation(msgspec.Struct, frozen=True, kw_only=True):
    """One operation.

    :param summary: a sentence.
    :param scope: what its caller must hold.
    :param takes: the shape of the JSON body; ``None`` without one.
    :param query: a struct with the parameters of the query.
    :param answers: the shape of the JSON answer; ``None`` when the answer is no JSON.
    :param media_type: of the answer.
    :param status: of the answer.
    :param others: further statuses without a body of their own, and why.
    :param problems: the statuses of refusals, beside those that every operation has.
    """

    summary: str
    scope: Scope = "read"
    takes: Any = None
    query: Any = None
    answers: Any = None
    media_type: str = "application/json"
    status: int = 200
    others: dict[int, str] = {}
    problems: tuple[int, ...] = ()


def operation(declared: Operation) -> Callable[[_Handler], _Handler]:
    """Declare what a handler does."""

    def mark(handler: _Handler) -> _Handler:
        setattr(handler, _ATTRIBUTE, declared)
        return handler

    return mark


def operation_of(handler: object) -> Operation | None:
    """Return what was declared of a handler, bound methods included."""
    found = getattr(handler, _ATTRIBUTE, None)
    return found if isinstance(found, Operation) else None


def covers(held: str, needed: Scope) -> bool:
    """Tell whether who holds one scope may do what asks for another: each includes those before it."""
    return held in SCOPES and SCOPES.index(held) >= SCOPES.index(needed)
