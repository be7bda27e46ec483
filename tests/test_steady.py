"""Background work goes on after an error that nobody foresaw."""

from __future__ import annotations

import asyncio

import pytest

from rushlight import steady


async def test_an_error_is_logged_and_the_work_begun_anew(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Until it returns by itself."""
    monkeypatch.setattr(steady, "RETRY_SECONDS", 0.0)
    begun = 0

    async def work() -> None:
        nonlocal begun
        begun += 1
        if begun < 3:
            raise KeyError("nobody thought of this")

    await steady.steadily(work)
    assert begun == 3
    assert len(caplog.records) == 2


async def test_it_can_be_cancelled() -> None:
    """Being asked to end is not an error."""
    task = asyncio.create_task(steady.steadily(asyncio.Event().wait))  # type: ignore[arg-type]
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
