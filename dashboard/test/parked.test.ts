import { expect, test } from "vitest";

import { countOf } from "../src/parked.ts";

const NONE = { events: 0, more: false, total: 0, aggregates: [], unreadable: 0 };

test("what is set aside is told in words", () => {
  expect(countOf({ ...NONE, events: 1, total: 1 })).toBe("1 event of 1 order or visitor");
  expect(countOf({ ...NONE, events: 1200, total: 2, unreadable: 1 })).toBe(
    "1,200 events of 2 orders or visitors, 1 record that cannot be read",
  );
  expect(countOf({ ...NONE, unreadable: 2 })).toBe("2 records that cannot be read");
  expect(countOf({ ...NONE, events: 20_000, more: true, total: 9 })).toBe("More than 20,000 events");
});
