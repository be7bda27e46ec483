"""The same report always has the same id and the same partition, whoever computes it and however often."""

from __future__ import annotations

from functools import lru_cache
from hashlib import blake2b
from typing import Literal

KeyClass = Literal["public", "trusted"]

ID_BYTES = 16
# The same visitors and senders come again and again.
REMEMBERED_KEYS = 32_768
REMEMBERED_SENDERS = 1024


def event_id(shop: str, key_class: KeyClass, source: str, message_id: str, index: int = 0) -> str:
    """Id of an event by what its sender's retry repeats: its message id and the place within the message.

    The key class keeps public senders out of the ids of trusted ones.

    Returns:
        32 hexadecimal digits (BLAKE2b, 128 bits).
    """
    digest = _of_sender(shop, key_class, source).copy()
    place = str(index)
    digest.update(f"{len(message_id)}:{message_id}{len(place)}:{place}".encode("utf-8", "surrogatepass"))
    return digest.hexdigest()


def money_id(shop: str, source: str, order_id: str, kind: str, reference: str = "") -> str:
    """Id of a trusted money event by what it is about, so that every road of one report meets.

    Args:
        kind: the event's name.
        reference: the payment's, refund's or shipment's id, or the revision; empty for ``order_created``, of which
            an order has one.

    Returns:
        32 hexadecimal digits.
    """
    return _digest("money", shop, source, order_id, kind, reference)


@lru_cache(REMEMBERED_KEYS)
def partition_of(shop: str, key: str, partitions: int) -> int:
    """The partition in which every event of this key is kept in order; ``0 <= p < partitions``."""
    digest = blake2b(f"{shop}\0{key}".encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big") % partitions


@lru_cache(REMEMBERED_SENDERS)
def _of_sender(shop: str, key_class: KeyClass, source: str) -> blake2b:
    """The digest of what all of a sender's events begin with; to be copied."""
    return blake2b(_joined("event", shop, key_class, source), digest_size=ID_BYTES)


def _digest(*parts: str) -> str:
    return blake2b(_joined(*parts), digest_size=ID_BYTES).hexdigest()


def _joined(*parts: str) -> bytes:
    # Lengths in front: no two lists of parts can run together into the same bytes.
    return "".join([f"{len(part)}:{part}" for part in parts]).encode("utf-8", "surrogatepass")
