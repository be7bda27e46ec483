"""What is remembered of texts has bounded room."""

from __future__ import annotations

from rushlight.ingest.context.remembered import MAX_CHARACTERS, remembered


def test_long_texts_are_not_remembered() -> None:
    """The same answer for short and long texts and for none; only the short ones are kept."""
    asked: list[tuple[str | None, int]] = []

    @remembered
    def doubled(text: str | None, times: int) -> str | None:
        asked.append((text, times))
        return text and text * times

    long = "x" * (MAX_CHARACTERS + 1)
    for _ in range(2):
        assert [doubled("a", 2), doubled(None, 2), doubled(long, 2)] == ["aa", None, long * 2]
    assert asked == [("a", 2), (None, 2), (long, 2), (long, 2)]
