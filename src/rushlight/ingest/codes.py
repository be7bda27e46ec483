"""The words by which something is refused at the door, in answers, in the ledger and in what was turned away."""

from __future__ import annotations

CODES = {
    "missing": "a field that is needed is not there",
    "unknown_field": "a field that an order's report does not have: a misspelt one must not be overlooked",
    "invalid": "a value of another kind than the field's",
    "type": "a name that no event can have, or something else than an object",
    "id": "an id that is empty or too long",
    "time": "no time, or one that cannot be",
    "text": "control characters where something is to be shown",
    "number": "a number beyond 64 bits",
    "amount": "no amount of this currency, or one that does not add up",
    "currency": "no ISO 4217 currency with a minor unit",
    "quantity": "no whole number of pieces",
    "discount": "a discount above what it is taken from",
    "money_needs_secret_key": "an order's money under a public key",
    "specversion": "another version of CloudEvents",
    "media_type": "a format that is not understood",
    "json": "no JSON, or none that can be kept (NaN, broken text)",
    "gzip": "gzip that is cut off or broken",
    "size": "an event that is too large",
    "too_large": "a request that is too large, or of too many events",
    "too_deep": "objects within objects within objects",
    "too_many_keys": "too many fields",
    "key": "a write key that is not known, or a field's name that is too long",
    "origin": "a page that this key may not be used from",
    "secret_in_browser": "a secret key in a page",
    "method": "another method than POST",
    "slow": "a body that did not come in time",
    "quota": "the key's own limit",
    "overload": "more than is taken now",
    "unavailable": "no room now",
    "internal": "our mistake, of which the log has the rest",
}


def explained() -> str:
    """All of them in one sentence."""
    return "; ".join(f"`{code}`: {meaning}" for code, meaning in CODES.items())
