import { expect, test } from "vitest";

import { leftOutOf } from "../src/leftout.ts";

const NONE = { botEvents: 0, testEvents: 0, testOrders: 0, unmeasuredEvents: 0 };

test("what is in no figure is told only where there is something", () => {
  expect(leftOutOf(undefined)).toBe("");
  expect(leftOutOf(NONE)).toBe("");
  expect(leftOutOf({ ...NONE, botEvents: 1200, testOrders: 1 })).toBe("Not in today's figures: 1,200 events by bots, 1 test order");
  expect(leftOutOf({ ...NONE, testEvents: 2, unmeasuredEvents: 1 })).toBe(
    "Not in today's figures: 2 test events, 1 event without consent (products only)",
  );
});
