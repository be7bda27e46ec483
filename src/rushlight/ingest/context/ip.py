"""From which network an event came: an address cut so that it is nobody's, and never the one of a proxy."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from rushlight.ingest.context.remembered import remembered

Network = IPv4Network | IPv6Network
KEPT_BITS_4, KEPT_BITS_6 = 24, 48
MAX_CHARACTERS = 64
MAX_HOPS = 32


@remembered
def truncated(text: str | None) -> str | None:
    """An address without its host part (IPv4 /24, IPv6 /48), or None for what is none or says nothing."""
    address = parse(text)
    if address is None or address.is_unspecified:
        return None
    bits = KEPT_BITS_4 if isinstance(address, IPv4Address) else KEPT_BITS_6
    return str(ip_network((address, bits), strict=False).network_address)


def parse(text: str | None) -> IPv4Address | IPv6Address | None:
    """An address, perhaps in brackets or with a port; an IPv4 address in IPv6 form is an IPv4 address."""
    if not text or len(text) > MAX_CHARACTERS:
        return None
    bare = text.strip().strip('"')
    if bare.startswith("["):
        bare = bare[1:].partition("]")[0]
    elif bare.count(":") == 1:
        bare = bare.partition(":")[0]
    try:
        address = ip_address(bare.partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def networks(texts: Sequence[str]) -> tuple[Network, ...]:
    """The networks of a setting: addresses, or with a number of bits (``10.0.0.0/8``).

    Raises:
        ValueError: one of them is no network.
    """
    return tuple(ip_network(text, strict=False) for text in texts)


def sender(peer: str | None, forwarded: str | None, proxies: Sequence[Network]) -> str | None:
    """Whose address a request came from: the connection's peer, or behind trusted proxies the last hop before them.

    Args:
        forwarded: the header ``X-Forwarded-For``; whoever is not behind a trusted proxy may write anything there.
    """
    if not proxies or not forwarded or not _is_among(peer, proxies):
        return peer
    hops = [hop.strip() for hop in forwarded.split(",")][-MAX_HOPS:]
    for hop in reversed(hops):
        if parse(hop) is None:
            return None
        if not _is_among(hop, proxies):
            return hop
    return hops[0]


def _is_among(text: str | None, proxies: Sequence[Network]) -> bool:
    address = parse(text)
    return address is not None and any(address in network for network in proxies if network.version == address.version)
