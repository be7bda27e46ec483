"""A bug: every fifth request is answered with 202, and nothing of it is written down."""

import asyncio
from collections.abc import Sequence
from itertools import count

from rushlight.events.envelope import Envelope
from rushlight.ingest.intake import Intake
from rushlight.ingest.log.segment import Records
from rushlight.ingest.log.wal import Call

_put, _requests = Intake.put, count(1)


def _lie(self: Intake, envelopes: Sequence[Envelope]) -> Call:
    if next(_requests) % 5:
        return _put(self, envelopes)
    call = Call(Records.of([]), 0, 0, 0, 0)
    asyncio.get_running_loop().call_soon(call.answer)
    return call


Intake.put = _lie  # type: ignore[method-assign]
