import { expect, test } from "vitest";

import { type Check, type Tracked, type Verdict, fromOf, laidOut, nameOf, reasonOf, since, summary, whoOf } from "../src/tracking.ts";

const EVENT: Tracked = { id: "w:1", at: "2026-03-01T12:00:00Z", state: "accepted", name: "view_item" };

function checks(...verdicts: Verdict[]): Check[] {
  return verdicts.map((verdict, n) => ({ id: String(n), title: "", verdict, detail: "" }));
}

test("a count says from when on it is complete", () => {
  const told = { present: "2026-03-01T12:05:00Z", timeZone: "Europe/Berlin" };
  expect(since({ ...told, countedSince: "2026-03-01T12:00:00Z" })).toBe("Taken in the last 5 minutes");
  expect(since({ ...told, countedSince: "2026-03-01T12:04:58Z" })).toBe("Taken since 13:04:58");
});

test("the checks are summed up in a sentence", () => {
  expect(summary(checks("bad", "look", "look", "good"))).toBe("1 thing is wrong, 2 are worth a look.");
  expect(summary(checks("bad", "bad"))).toBe("2 things are wrong.");
  expect(summary(checks("look", "good"))).toBe("Nothing is wrong; 1 thing is worth a look.");
  expect(summary(checks("good", "idle"))).toBe("All that can be told so far is right.");
  expect(summary(checks("idle"))).toBe("Nothing can be told yet.");
});

test("an event is told in words, and what is not known is left out", () => {
  expect(nameOf({ ...EVENT, original: "Product Viewed" })).toBe("view_item (sent as Product Viewed)");
  expect(nameOf({ ...EVENT, name: "", state: "rejected" })).toBe("a whole request");
  expect(nameOf({ ...EVENT, name: "", state: "rejected", sample: "{}" })).toBe("an event without a name");
  expect(whoOf({ ...EVENT, visitor: "v1", channel: "Direct", test: true })).toBe("visitor v1, Direct, a test");
  expect(whoOf(EVENT)).toBe("");
  expect(fromOf({ ...EVENT, dialect: "ga4", source: "web", key: "pk_abc" })).toBe("ga4, key pk_abc");
  expect(reasonOf({ ...EVENT, field: "params.currency", reason: "is required" })).toBe("params.currency: is required");
});

test("a sample that was cut stays as it is", () => {
  expect(laidOut('{"a":1}')).toBe('{\n  "a": 1\n}');
  expect(laidOut('{"a":…')).toBe('{"a":…');
});
