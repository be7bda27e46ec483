"""``POST /debug/mp/collect``: what is wrong with a request of the Measurement Protocol, in GA4's own shape.

Nothing is stored. What would be turned away at ``/mp/collect`` is told first, then what GA4 itself would not take: its
limits are warned of here and not enforced there.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from rushlight.errors import Rejected
from rushlight.ingest.dialects.ga4 import Ga4, worded
from rushlight.ingest.ga4_limits import Message, check
from rushlight.ingest.request import Answer, Decoded, Rejection, Report, Request

CODES = {
    "missing": "VALUE_REQUIRED",
    "size": "VALUE_OUT_OF_BOUNDS",
    "too_large": "EXCEEDED_MAX_ENTITIES",
    "too_many_keys": "EXCEEDED_MAX_ENTITIES",
    "too_deep": "EXCEEDED_MAX_ENTITIES",
}
MISSING = CODES["missing"]
NAME_INVALID = "NAME_INVALID"
OF_THE_REQUEST = frozenset({"client_id", "user_id", "events", ""})


class Ga4Debug:
    """The dialect."""

    name = "ga4"

    def __init__(self) -> None:
        self._ga4 = Ga4()

    def key_in(self, request: Request, /) -> str:
        """``api_secret`` of the query."""
        return self._ga4.key_in(request)

    def decode(self, request: Request, /) -> Iterable[Report | Rejection]:
        """Read a request; a body that cannot be read is one event that was turned away."""
        try:
            return self._ga4.decode(request)
        except Rejected as error:
            return [Rejection(-1, error.field, error.reason, error.code)]

    def answer(self, request: Request, decoded: Decoded, /) -> Answer:
        """200 with the messages, none when all is well."""
        refused = [_message(worded(rejection)) for rejection in decoded.rejected]
        told = {(message.field_path, message.validation_code) for message in refused}
        warned = [each for each in check(request) if (each.field_path, each.validation_code) not in told]
        # What is missing is missing once, however many events and rules need it.
        once: dict[tuple[str, str], Message] = {}
        for each in (*refused, *warned):
            missing = each.validation_code == MISSING
            once.setdefault((each.field_path, MISSING if missing else each.description), each)
        return Answer(200, msgspec.json.encode({"validationMessages": [_printable(each) for each in once.values()]}))


def _printable(message: Message) -> Message:
    """Without halves of surrogate pairs, which a name in JSON may have and an answer may not."""
    path, description = (text.encode("utf-8", "replace").decode() for text in (message.field_path, message.description))
    return msgspec.structs.replace(message, field_path=path, description=description)


def _message(rejection: Rejection) -> Message:
    field = rejection.field
    whole = rejection.index < 0 or field in OF_THE_REQUEST - {""}
    path = field if whole else f"events[{rejection.index}].{field}".rstrip(".")
    return Message(
        field_path=path,
        description=f"{path or 'The body'}: {rejection.reason}",
        validation_code=CODES.get(rejection.code, NAME_INVALID if field == "name" else "VALUE_INVALID"),
    )
