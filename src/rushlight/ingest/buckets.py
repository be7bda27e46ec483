"""Buckets of tokens: what may be taken a second, with a second's worth at once."""

from __future__ import annotations

import math

BURST_SECONDS = 1.0
# A batch may take a bucket below zero, but no further than what it earns in this time.
MAX_DEBT_SECONDS = 10.0


class Bucket:
    """Tokens that come at a rate, up to a second's worth."""

    __slots__ = ("at", "level", "rate", "size")

    def __init__(self, rate: float, now: float) -> None:
        self.rate = rate
        self.size = self.size_at(rate)
        self.level = self.size
        self.at = now

    @staticmethod
    def size_at(rate: float) -> float:
        """The size at a rate."""
        return max(1.0, rate * BURST_SECONDS)

    def refill(self, now: float) -> float:
        """What there is now."""
        level = self.level + (now - self.at) * self.rate
        self.at = now
        self.level = level = min(level, self.size)
        return level

    def take(self, tokens: float) -> None:
        """Spend, if need be what will come only later."""
        self.level = max(self.level - tokens, -self.rate * MAX_DEBT_SECONDS)

    def change_rate(self, rate: float) -> None:
        """Another rate from now on; what there was stays in proportion."""
        size = self.size_at(rate)
        self.level *= size / self.size
        self.rate, self.size = rate, size


class Quota(Bucket):
    """What one key may send."""

    __slots__ = ()

    @property
    def seconds(self) -> float:
        """Until it may send again."""
        return max(0.0, (1.0 - self.level) / self.rate)

    def headers(self) -> list[tuple[bytes, bytes]]:
        """How it stands, as many clients read it."""
        return [
            (b"x-ratelimit-limit", b"%d" % self.rate),
            (b"x-ratelimit-remaining", b"%d" % max(0, int(self.level))),
            (b"x-ratelimit-reset", b"%d" % math.ceil(self.seconds)),
        ]
