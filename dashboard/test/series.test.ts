import { describe, expect, test } from "vitest";
import { Flow } from "../src/flow.ts";
import { lastMinutes, niceCeiling, ordersPerMinute, windowOf } from "../src/minutes.ts";
import type { Ledger } from "../src/wire.ts";
import { NOON, at, board, counts, point } from "./board.ts";

describe("the last sixty minutes", () => {
  test("every minute is there, the running one last, empty ones without a point", () => {
    const minutes = lastMinutes([point(-60, 2, "20.00"), point(0, 1, "5.00")], NOON + 30_000);
    expect(minutes.starts).toHaveLength(60);
    expect(minutes.starts.at(-1)).toBe(NOON / 1000);
    expect(minutes.points.slice(-3).map((p) => p?.net)).toEqual([undefined, "20.00", "5.00"]);
  });

  test("the window moves with the server's clock though nothing is sold", () => {
    const minutes = lastMinutes([point(0, 1, "5.00")], NOON + 3_600_000);
    expect(minutes.points.every((p) => p === undefined)).toBe(true);
  });

  test("orders of several currencies are added", () => {
    const usd = lastMinutes([point(0, 2, "1.00")], NOON);
    const eur = lastMinutes([point(0, 3, "1.00")], NOON);
    expect(ordersPerMinute([usd, eur]).at(-1)).toBe(5);
  });

  test.each([
    [0, 0],
    [-3, 0],
    [1, 1],
    [7, 8],
    [84, 100],
    [1300, 1600],
    [0.3, 0.3],
  ])("an axis for %s ends at %s", (value, ceiling) => {
    expect(niceCeiling(value)).toBeCloseTo(ceiling);
  });
});

describe("how far back the charts look", () => {
  const sales = { units: 0, gross: "0", discounts: "0", refunds: "0", net: "0", tax: "0", shipping: "0", aov: "0" };
  const shop = (today: number, ...points: ReturnType<typeof point>[]) =>
    board({
      today: { from: at(-43200), currencies: { USD: { ...sales, orders: today } } },
      series: { step: "minute", from: at(-3540), currencies: { USD: points } },
    });

  test("a shop that has just opened is shown closer", () => {
    expect(windowOf(shop(3, point(-120, 1, "1"), point(0, 2, "2")))).toBe(15);
    expect(windowOf(shop(3, point(-1200, 1, "1"), point(0, 2, "2")))).toBe(30);
  });

  test("as soon as something of today would be left out it is an hour", () => {
    expect(windowOf(shop(3, point(-1800, 1, "1"), point(0, 2, "2")))).toBe(60);
    expect(windowOf(shop(9, point(-120, 1, "1"), point(0, 2, "2")))).toBe(60);
  });

  test("a day without orders, and the first orders after midnight, have their hour", () => {
    expect(windowOf(shop(0))).toBe(60);
    expect(windowOf(shop(2, point(-600, 5, "5"), point(0, 2, "2")))).toBe(60);
  });
});

describe("taken in against settled", () => {
  const reading = (seconds: number, acknowledged: number, stored: number, duplicate = 0): Ledger => ({
    ...board().ledger,
    asOf: at(seconds),
    total: counts({ acknowledged, stored, duplicate }),
  });

  test("rates are differences over the ledger's own time", () => {
    const flow = new Flow();
    flow.read(reading(0, 100, 100));
    flow.read(reading(2, 160, 100, 20));
    expect(flow.points).toEqual([{ at: NOON / 1000 + 2, incoming: 30, settled: 10 }]);
  });

  test("readings that are too close together wait for the next", () => {
    const flow = new Flow();
    for (const seconds of [0, 0.5, 1, 1.5, 2]) flow.read(reading(seconds, seconds * 10, 0));
    expect(flow.points.map((p) => p.incoming)).toEqual([10]);
  });

  test("after a silence the line breaks instead of guessing", () => {
    const flow = new Flow();
    flow.read(reading(0, 0, 0));
    flow.read(reading(60, 600, 600));
    expect(flow.points.map((p) => p.incoming)).toEqual([null]);
  });

  test("counters that fall mean another ledger, and the picture starts again", () => {
    const flow = new Flow();
    flow.read(reading(0, 100, 100));
    flow.read(reading(2, 120, 120));
    flow.read(reading(4, 5, 5));
    expect(flow.points.map((p) => p.incoming)).toEqual([null]);
  });

  test("what is older than three minutes falls out", () => {
    const flow = new Flow();
    for (let seconds = 0; seconds <= 400; seconds += 2) flow.read(reading(seconds, seconds, seconds));
    expect(flow.points.length).toBe(90);
  });
});
