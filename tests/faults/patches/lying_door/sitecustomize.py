"""A bug: every fifth request is answered with 202, and nothing of it is written down."""

from collections.abc import Sequence
from itertools import count

from rushlight.events.envelope import Envelope
from rushlight.ingest.intake import Intake

_accept, _requests = Intake.accept, count(1)


async def _lie(self: Intake, envelopes: Sequence[Envelope]) -> None:
    if next(_requests) % 5:
        await _accept(self, envelopes)


Intake.accept = _lie  # type: ignore[method-assign]
