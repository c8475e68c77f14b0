"""Named scores, and why those that cannot be computed are missing: never a silent NaN."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from specdm.errors import UserError


@dataclass
class Scores:
    """Numbers by name; `reasons` says of each that is NaN why."""

    values: dict[str, float] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)

    def join(self, others: Scores) -> None:
        """Take over those of another one."""
        self.values |= others.values
        self.reasons |= others.reasons

    def add(self, names: Sequence[str], compute: Callable[[], Mapping[str, float]]) -> None:
        """Add what `compute` gives; where it refuses (UserError), the `names` are NaN for its reason."""
        try:
            self.values |= compute()
        except UserError as error:
            self.values |= dict.fromkeys(names, math.nan)
            self.reasons |= dict.fromkeys(names, str(error).rstrip("."))
