"""Says in a person's words what a value that was given must be."""

from __future__ import annotations

import re

KINDS = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "str": "text",
    "array": "a list",
    "object": "a table of names and values",
}
EXPECTED = re.compile(
    r"Expected `(?P<kind>\w+)(?: \| null)?`(?: (?P<bound>>=|<=|of length <=) (?P<limit>\S+)|, got `.*`)?\Z"
)
UNKNOWN = re.compile(r"Invalid enum value (?P<value>.+)\Z", re.DOTALL)
BOUNDS = {
    ">=": "must be at least {limit}",
    "<=": "must be at most {limit}",
    "of length <=": "must have at most {limit} characters",
}


def in_words(message: str) -> str:
    """What msgspec says of one value, as what follows the value's name: ``must be a whole number``.

    Returns:
        The message itself, when it is of another kind.
    """
    if unknown := UNKNOWN.match(message):
        return f"cannot be {unknown['value']}"
    expected = EXPECTED.match(message)
    if expected is None or expected["kind"] not in KINDS:
        return message
    if expected["bound"]:
        return BOUNDS[expected["bound"]].format(limit=expected["limit"])
    return f"must be {KINDS[expected['kind']]}"
