/** A small board for the tests; every test changes what it is about. */

import type { Board, LedgerCounts, Point } from "../src/wire.ts";

export const NOON = Date.parse("2026-03-01T12:00:00.000Z");

export function at(seconds: number): string {
  return new Date(NOON + seconds * 1000).toISOString();
}

export function point(seconds: number, orders: number, net: string): Point {
  return { at: at(seconds), orders, units: orders, gross: net, discounts: "0.00", refunds: "0.00", net };
}

export function counts(change: Partial<LedgerCounts> = {}): LedgerCounts {
  return { acknowledged: 0, stored: 0, duplicate: 0, parked: 0, dropped: 0, pending: 0, rejected: 0, ...change };
}

export function board(change: Partial<Board> = {}): Board {
  return {
    shop: "default",
    version: 1,
    asOf: at(0),
    completeTo: { money: at(-0.4), behaviour: at(-0.2) },
    timeZone: "UTC",
    today: { from: at(-43200), currencies: {} },
    series: { step: "minute", from: at(-3540), currencies: { USD: [point(-120, 1, "10.00"), point(-60, 2, "20.00")] } },
    funnel: { steps: [] },
    products: [],
    visitors: 3,
    carts: 1,
    orders: [],
    ledger: { balanced: true, asOf: at(-0.1), total: counts({ acknowledged: 5, stored: 5 }), sources: {} },
    rate: { eventsPerSecond: 0 },
    notices: [],
    warnings: [],
    ...change,
  };
}
