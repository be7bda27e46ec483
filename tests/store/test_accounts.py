"""Terminal records are counted in the books of those who acknowledged."""

from __future__ import annotations

from rushlight.store.accounts import account_of


def test_whose_books() -> None:
    """Outboxes are the orders', logs their sources'; what nobody acknowledged stands in no book."""
    assert account_of("o:o-1:1", "orders") == "orders"
    assert account_of("o:o-1:1", "pos") == "orders"
    assert account_of("w:log:1", "web") == "web"
    assert account_of("d:0123", "app") is None
    assert account_of("s:3:17-0", "") is None
