"""`make soak`: a sale on real servers under random faults, one at a time or two at once, for as long as asked.

After each the senders rest until the board shows what the oracle says, and that is timed; in the end everything is
compared and recounted. The seed, which is printed, decides which faults come, when, and what the shoppers do.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import random
import sys
import tempfile
import time
from collections import Counter, defaultdict
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from tests.faults.checks import short
from tests.faults.faults import Fault, pairs
from tests.faults.shoppers import HEALTHY, Try
from tests.faults.trial import Trial, trial
from tests.faults.world import World

CALM_SECONDS = (2.0, 5.0)
FAULT_SECONDS = (1.0, 6.0)
HEAL_SECONDS = 120.0
BESIDE = " + "


class Kind(msgspec.Struct, rename="camel"):
    """What one kind of fault did.

    Attributes:
        times: how often it came. right_again: the longest time until the board was right after it had healed, seconds.
        orders, failed: first attempts at an order while it lasted, and those that were not answered with success.
        p50_ms, p99_ms: of those that were.
        redis: whether it disturbs Redis only.
    """

    times: int = 0
    right_again: float = 0.0
    orders: int = 0
    failed: int = 0
    p50_ms: float = 0.0
    p99_ms: float = 0.0
    redis: bool = False


class Result(msgspec.Struct, rename="camel", kw_only=True):
    """What a soak found; money in minor units."""

    seed: int
    seconds: float
    at: str
    faults: int
    pairs: int
    kinds: dict[str, Kind]
    healthy: Kind
    redis_only: Kind
    requests: int
    acknowledged: int
    unanswered: int
    events: int
    lost: int
    twice: int
    never_sent: int
    out_of_order: int
    revenue_difference: dict[str, int]
    right_again: float
    audits: int
    most: dict[str, int]
    ledger: dict[str, int]
    balanced: bool
    wrong: list[str]


class Soak:
    """One run."""

    def __init__(self, running: Trial, seed: int) -> None:
        self._running = running
        self._dice = random.Random(seed)
        self._times: Counter[str] = Counter()
        self._slowest: defaultdict[str, float] = defaultdict(float)
        self._redis: dict[str, bool] = {}
        self.faults, self.pairs = 0, 0
        self.wrong: list[str] = []

    async def run(self, seconds: float) -> None:
        """Faults for about so long, or until something is wrong."""
        until = time.monotonic() + seconds
        for chosen in pairs(self._dice):
            if time.monotonic() > until or self.wrong:
                return
            await asyncio.sleep(self._dice.uniform(*CALM_SECONDS))
            await self._one(chosen)

    async def _one(self, chosen: tuple[Fault, ...]) -> None:
        name = BESIDE.join(fault.name for fault in chosen)
        shoppers = self._running.shoppers
        shoppers.during = name
        lasts = min([self._dice.uniform(*FAULT_SECONDS), *(fault.longest for fault in chosen if fault.longest)])
        async with AsyncExitStack() as stack:
            for fault in chosen:
                await stack.enter_async_context(fault.block(self._running.world, self._dice))
            await asyncio.sleep(lasts)
        shoppers.during = HEALTHY
        try:
            took = await self._running.right()
        except TimeoutError as error:
            self.wrong += [f"C after {name} the board was not right again", *str(error).splitlines()]
            took = float("inf")
        shoppers.go_on()
        print(f"{datetime.now(UTC):%H:%M:%S}  {name}: right again after {took:.2f} s", flush=True)
        self.faults += 1
        self.pairs += len(chosen) - 1
        for fault in chosen:
            self._times[fault.name] += 1
            self._redis[fault.name] = fault.redis
            self._slowest[fault.name] = max(self._slowest[fault.name], took)

    def kinds(self) -> dict[str, Kind]:
        """By name; beside a fault of Redis, only others of Redis count for its orders."""
        return {
            name: _kind(self._tries(name), times, self._slowest[name], redis=self._redis[name])
            for name, times in sorted(self._times.items())
        }

    def redis_only(self) -> Kind:
        """Orders while nothing but Redis was disturbed."""
        found = [one for label, tries in self._labels() if all(self._redis[each] for each in label) for one in tries]
        return _kind(found, redis=True)

    def _tries(self, name: str) -> list[Try]:
        wanted = [(label, tries) for label, tries in self._labels() if name in label]
        if self._redis[name]:
            wanted = [(label, tries) for label, tries in wanted if all(self._redis[each] for each in label)]
        return [one for _, tries in wanted for one in tries]

    def _labels(self) -> list[tuple[list[str], list[Try]]]:
        tries = self._running.shoppers.tries
        return [(label.split(BESIDE), found) for label, found in tries.items() if label != HEALTHY]


def _kind(tries: list[Try], times: int = 0, right_again: float = 0.0, *, redis: bool = False) -> Kind:
    good = sorted(one.seconds * 1000 for one in tries if one.good)
    return Kind(
        times=times,
        right_again=round(right_again, 2),
        orders=len(tries),
        failed=len(tries) - len(good),
        p50_ms=round(good[len(good) // 2], 2) if good else 0.0,
        p99_ms=round(good[min(len(good) - 1, len(good) * 99 // 100)], 2) if good else 0.0,
        redis=redis,
    )


async def soak(duration: float, seed: int, base: Path, world: World | None = None, diary: Path | None = None) -> Result:
    """Run it on a world of its own, or on one that is given.

    Args:
        duration: seconds of faults. base: an empty directory.
        world, diary: what runs already, and what was sent to it so far.
    """
    print(f"seed {seed}, {duration:g} s", flush=True)
    own = None if world else World(base / "world")
    here = world or own
    assert here is not None
    began = time.monotonic()
    try:
        async with trial(here, diary or base / "diary", seed=seed, pause=0.2) as running:
            one = Soak(running, seed)
            await one.run(duration)
            wrong = one.wrong or await running.verdict()
            return await _result(one, running, seed, time.monotonic() - began, wrong)
    finally:
        if own is not None:
            own.close()


async def _result(one: Soak, running: Trial, seed: int, seconds: float, wrong: list[str]) -> Result:
    told = running.told()
    ledger = await running.ledger()
    letters = Counter(line[0] for line in wrong)
    kinds = one.kinds()
    return Result(
        seed=seed,
        seconds=round(seconds, 1),
        at=datetime.now(UTC).isoformat(timespec="seconds"),
        faults=one.faults,
        pairs=one.pairs,
        kinds=kinds,
        redis_only=one.redis_only(),
        healthy=_kind(running.shoppers.tries.get(HEALTHY, [])),
        requests=told.sent,
        acknowledged=told.accepted,
        unanswered=told.unknown,
        events=sum(claim.outcome == "accepted" for claim in told.claims.values()),
        lost=letters["D"],
        twice=letters["U"],
        never_sent=letters["N"],
        out_of_order=letters["O"],
        revenue_difference=await running.revenue_difference(),
        right_again=max((kind.right_again for kind in kinds.values()), default=0.0),
        audits=running.audit.looks,
        most=running.audit.most,
        ledger=ledger["total"],
        balanced=ledger["balanced"] and not ledger["total"]["pending"],
        wrong=short(wrong),
    )


def show(result: Result) -> None:
    """For people."""
    print(f"\nseed {result.seed}: {result.faults} rounds, {result.pairs} of them with two faults, {result.seconds:g} s")
    head = f"{'kind of fault':<48} times  right again  orders failed   p50 ms   p99 ms"
    print(head)
    rows = {HEALTHY: result.healthy, "anything of Redis alone": result.redis_only, **result.kinds}
    for name, kind in rows.items():
        print(
            f"{name:<48} {kind.times:>5}  {kind.right_again:>9.2f} s  {kind.orders:>6} {kind.failed:>6}"
            f" {kind.p50_ms:>8.1f} {kind.p99_ms:>8.1f}"
        )
    print(f"requests: {result.requests} sent, {result.acknowledged} acknowledged, {result.unanswered} never answered")
    print(f"events acknowledged: {result.events}; looked at positions and bounds {result.audits} times: {result.most}")
    print(
        f"lost {result.lost}, twice {result.twice}, never sent {result.never_sent}, out of order {result.out_of_order}"
    )
    print(f"revenue difference: {result.revenue_difference}")
    print(f"longest time until the board was right again: {result.right_again:.2f} s")
    print(f"ledger: {result.ledger} balanced: {result.balanced}")
    for line in result.wrong:
        print(line)
    print("nothing lost, nothing twice" if not result.wrong else "WRONG")


def main() -> int:
    """Command line; 1 when anything was wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--duration", type=float, default=1800.0, help="seconds of faults")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path, help="write the result here")
    parser.add_argument("--keep", action="store_true", help="keep the data and logs, and say where")
    options = parser.parse_args()
    base = Path(tempfile.mkdtemp(prefix="rushlight-soak-"))
    result = asyncio.run(soak(options.duration, options.seed, base))
    show(result)
    if options.json:
        options.json.write_bytes(msgspec.json.format(msgspec.json.encode(result), indent=2) + b"\n")
    if options.keep or result.wrong:
        print(f"kept in {base}")
    else:
        with contextlib.suppress(OSError):
            _remove(base)
    return 1 if result.wrong else 0


def _remove(base: Path) -> None:
    import shutil

    shutil.rmtree(base)


if __name__ == "__main__":
    sys.exit(main())
