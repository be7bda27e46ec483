"""The funnel: how many visitor sessions reached each step, by when the session began."""

from __future__ import annotations

import msgspec

from rushlight.projections.behaviour import STEPS
from rushlight.query.span import Span
from rushlight.query.view import View, Wanted


class FunnelStep(msgspec.Struct):
    """Sessions that reached this step or a later one."""

    step: str
    sessions: int


async def funnel(view: View, span: Span) -> list[FunnelStep]:
    """The steps in their order; the range must be in whole quarter-hours."""
    stretches = {stretch.unit: stretch for stretch in span.quarters()}
    reached = [0] * len(STEPS)
    async for key, document in view.documents("behaviour", Wanted.units(["f/"], list(stretches))):
        stretch = stretches[key.removeprefix("f/")]
        for quarter, counts in document.get("q", {}).items():
            if stretch.low <= int(quarter) < stretch.high:
                for step, sessions in counts.items():
                    reached[int(step) - 1] += sessions
    return [FunnelStep(step, sessions) for step, sessions in zip(STEPS, reached, strict=True)]
