import { describe, expect, test } from "vitest";
import { Feed, mergeSeries } from "../src/feed.ts";
import type { Frame } from "../src/wire.ts";
import { at, board, point } from "./board.ts";

function snapshot(version = 1): Frame {
  return { ...board({ version }), snapshot: true };
}

function delta(version: number, change: Partial<Frame> = {}): Frame {
  const completeTo = { money: at(version), behaviour: at(version) };
  return { shop: "default", version, asOf: at(version), completeTo, ...change };
}

describe("order of frames", () => {
  test("a delta with the next version changes only what it carries", () => {
    const feed = new Feed();
    feed.apply(snapshot());
    expect(feed.apply(delta(2, { visitors: 9 }))).toBe("applied");
    expect(feed.board).toMatchObject({ visitors: 9, carts: 1, asOf: at(2), completeTo: { money: at(2) } });
  });

  test("a heartbeat moves the clock and no figure", () => {
    const feed = new Feed();
    feed.apply(snapshot());
    const series = feed.board?.series;
    feed.apply(delta(2));
    expect(feed.board?.asOf).toBe(at(2));
    expect(feed.board?.series).toBe(series);
  });

  test("a skipped version is a gap, and the figures stay as they were", () => {
    const feed = new Feed();
    feed.apply(snapshot());
    expect(feed.apply(delta(3, { visitors: 9 }))).toBe("gap");
    expect(feed.board?.visitors).toBe(3);
  });

  test("after a gap every delta is refused until a snapshot comes", () => {
    const feed = new Feed();
    feed.apply(snapshot());
    feed.apply(delta(3));
    expect(feed.apply(delta(2, { visitors: 9 }))).toBe("gap");
    expect(feed.apply(delta(4))).toBe("gap");
    expect(feed.apply(snapshot(5))).toBe("applied");
    expect(feed.apply(delta(6, { visitors: 9 }))).toBe("applied");
    expect(feed.board?.visitors).toBe(9);
  });

  test("a repeated version is a gap too", () => {
    const feed = new Feed();
    feed.apply(snapshot());
    feed.apply(delta(2));
    expect(feed.apply(delta(2))).toBe("gap");
  });

  test("a delta before any snapshot is a gap", () => {
    expect(new Feed().apply(delta(1))).toBe("gap");
  });

  test("a new connection keeps the old figures in sight and counts afresh", () => {
    const feed = new Feed();
    feed.apply(snapshot());
    feed.restart();
    expect(feed.board).not.toBeNull();
    expect(feed.apply(delta(2))).toBe("gap");
    expect(feed.apply(snapshot(1))).toBe("applied");
  });

  test("a snapshot replaces what it does not repeat", () => {
    const feed = new Feed();
    feed.apply({ ...snapshot(), warnings: ["old"] });
    feed.apply(snapshot(2));
    expect(feed.board?.warnings).toEqual([]);
  });
});

describe("minutes of the series", () => {
  const old = board().series;

  test("changed points replace theirs, new ones join in order", () => {
    const changed = { step: "minute" as const, from: old.from, currencies: { USD: [point(0, 1, "5.00"), point(-60, 3, "31.00")] } };
    const nets = mergeSeries(old, changed).currencies["USD"]?.map((p) => p.net);
    expect(nets).toEqual(["10.00", "31.00", "5.00"]);
  });

  test("points before the new start fall out of every currency", () => {
    const changed = { step: "minute" as const, from: at(-60), currencies: { EUR: [point(0, 1, "7.00")] } };
    const merged = mergeSeries(old, changed);
    expect(merged.currencies["USD"]?.map((p) => p.net)).toEqual(["20.00"]);
    expect(merged.currencies["EUR"]?.map((p) => p.net)).toEqual(["7.00"]);
  });

  test("the same moment written with another offset is the same minute", () => {
    const moved = { ...point(-60, 4, "40.00"), at: "2026-03-01T12:59:00+01:00" };
    const changed = { step: "minute" as const, from: old.from, currencies: { USD: [moved] } };
    expect(mergeSeries(old, changed).currencies["USD"]?.map((p) => p.net)).toEqual(["10.00", "40.00"]);
  });
});
