"""What calls of a pool cost so far, for the policy that ends those that are too dear."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

_KIND: Final = "_usage"


def cost_so_far(usage: Mapping[str, Any]) -> float:
    """Return what LiveKit's usage by ``provider/model`` cost, in USD, as far as the packaged prices know.

    The prices are read when they are first asked for: most pools have no limit of costs.
    """
    from greenroom.sessions import Usage, cost_of, load_prices  # noqa: PLC0415

    used = []
    for name, counters in usage.items():
        provider, _, model = name.partition("/")
        amounts = {
            counter: float(amount)
            for counter, amount in counters.items()
            if isinstance(amount, int | float) and not isinstance(amount, bool)
        }
        kind = str(counters.get("type", "")).removesuffix(_KIND)
        used.append(Usage(kind=kind, provider=provider, model=model, amounts=amounts))
    return cost_of(used, load_prices()).known
