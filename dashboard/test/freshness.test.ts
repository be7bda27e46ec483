import { describe, expect, test } from "vitest";
import { type Line, freshness, isLost } from "../src/freshness.ts";
import { currentNotice, isEmpty, statusOf } from "../src/status.ts";
import type { Notice } from "../src/wire.ts";
import { NOON, at, board, counts } from "./board.ts";

const FINE: Line = { connected: true, silentSeconds: 0.9 };

describe("freshness of a tile", () => {
  test("the age lies between two moments of the server's clock", () => {
    const { ageSeconds, stale } = freshness(board(), "money", FINE);
    expect(ageSeconds).toBeCloseTo(0.4);
    expect(stale).toBe(false);
  });

  test("more than three seconds is stale, three are not", () => {
    const late = (seconds: number) => board({ completeTo: { money: at(-seconds), behaviour: at(0) } });
    expect(freshness(late(3), "money", FINE).stale).toBe(false);
    expect(freshness(late(3.1), "money", FINE).stale).toBe(true);
  });

  test("a class that is late makes only its own tiles stale", () => {
    const late = board({ completeTo: { money: at(0), behaviour: at(-7) } });
    const stale = (["money", "behaviour", "both", "ledger"] as const).map((basis) => freshness(late, basis, FINE).stale);
    expect(stale).toEqual([false, true, true, false]);
  });

  test("a lost connection makes everything stale at once, and it goes on ageing", () => {
    const lost: Line = { connected: false, silentSeconds: 0.2 };
    expect(freshness(board(), "money", lost).stale).toBe(true);
    expect(freshness(board(), "money", { ...lost, silentSeconds: 60 }).ageSeconds).toBeCloseTo(60.4);
  });

  test("silence on an open connection is a lost one", () => {
    expect(isLost({ connected: true, silentSeconds: 2 })).toBe(false);
    expect(isLost({ connected: true, silentSeconds: 2.6 })).toBe(true);
  });

  test("a clock that runs ahead is not a negative age", () => {
    expect(freshness(board({ completeTo: { money: at(5), behaviour: at(0) } }), "money", FINE).ageSeconds).toBe(0);
  });
});

describe("the sentence on the state", () => {
  test("all is counted up to the older of both classes", () => {
    const status = statusOf(board({ completeTo: { money: at(-0.5), behaviour: at(-2) } }), FINE, null);
    expect(status).toEqual({ mood: "live", title: "Live", detail: "Everything up to 11:59:58 is counted" });
  });

  test("what is late is named, and what waits is said to be kept", () => {
    const late = board({
      completeTo: { money: at(0), behaviour: at(-7) },
      ledger: { ...board().ledger, total: counts({ acknowledged: 9, stored: 2, pending: 7 }) },
    });
    expect(statusOf(late, FINE, null)).toMatchObject({
      mood: "stale",
      detail: "orders up to date, visits 7.0 s behind; 7 events are kept and waiting",
    });
  });

  test("without a connection it says how old everything is", () => {
    const { mood, detail } = statusOf(board(), { connected: false, silentSeconds: 12 }, null);
    expect(mood).toBe("lost");
    expect(detail).toBe("Every figure here is from 12:00:00, 12 s ago. Trying again.");
  });

  test("a refusal is passed on", () => {
    expect(statusOf(null, FINE, "The server refused: no such shop").detail).toContain("no such shop");
  });
});

describe("the current notice", () => {
  const notice = (kind: Notice["kind"], seconds: number): Notice => ({ at: at(seconds), text: kind, kind });

  test("a fault stays until it is healed, whatever is remarked meanwhile", () => {
    const notices = [notice("info", -1), notice("fault", -60)];
    expect(currentNotice(notices, NOON)?.kind).toBe("fault");
    expect(currentNotice([notice("healed", -1), ...notices], NOON)?.kind).toBe("healed");
  });

  test("good news is news for half a minute", () => {
    const notices = [notice("healed", -31), notice("fault", -60)];
    expect(currentNotice(notices, NOON)).toBeNull();
  });

  test("a fault that nobody ever healed is not shown for ever", () => {
    expect(currentNotice([notice("fault", -601)], NOON)).toBeNull();
  });
});

test("a shop is empty until something was acknowledged", () => {
  const ledger = { ...board().ledger, total: counts({ rejected: 3 }) };
  expect(isEmpty(board({ ledger }))).toBe(true);
  expect(isEmpty(board())).toBe(false);
});
