import { describe, expect, test } from "vitest";
import { formatRate, formatShare, plural } from "../src/count.ts";
import { formatMoney, formatScale, moneyParts } from "../src/money.ts";
import { formatAge, formatDay, formatMinute, formatSecond, zoneName } from "../src/time.ts";
import { NOON } from "./board.ts";

describe("money", () => {
  test.each([
    ["1234.50", "USD", "$1,234.50"],
    ["0.00", "USD", "$0.00"],
    ["-0.50", "USD", "-$0.50"],
    ["26400", "JPY", "¥26,400"],
    ["1.234", "KWD", "KWD\u00a01.234"],
    ["9007199254740993.07", "USD", "$9,007,199,254,740,993.07"],
    ["123456789012345678901234.99", "EUR", "€123,456,789,012,345,678,901,234.99"],
  ])("%s %s is written %s, to the last digit", (amount, currency, text) => {
    expect(formatMoney(amount, currency, "en-US")).toBe(text);
  });

  test("the digits are those of the string, not the browser's idea of the currency", () => {
    expect(formatMoney("10.00", "JPY", "en-US")).toBe("¥10.00");
    expect(formatMoney("10", "USD", "en-US")).toBe("$10");
  });

  test("the sign of the currency follows the reader's language", () => {
    expect(moneyParts("1234.50", "EUR", "de-DE")).toEqual({ before: "1.234", fraction: ",50", after: "\u00a0€" });
  });

  test("a code that is no currency is shown as it is", () => {
    expect(formatMoney("12.00", "POINTS", "en-US")).toBe("12.00 POINTS");
  });

  test("scales are short", () => {
    expect(formatScale(12500, "USD", "en-US")).toBe("$12.5K");
    expect(formatScale(0, "JPY", "en-US")).toBe("¥0");
  });
});

describe("counts", () => {
  test("a share of nothing is a dash", () => {
    expect(formatShare(1, 0)).toBe("–");
    expect(formatShare(1, 8)).toBe("12.5%");
  });

  test("rates are precise where they are small", () => {
    expect([0, 0.01, 0.44, 12.6].map(formatRate)).toEqual(["0", "0", "0.4", "13"]);
  });

  test("one is singular", () => {
    expect([plural(1, "item", "items"), plural(0, "item", "items")]).toEqual(["1 item", "0 items"]);
  });
});

describe("time", () => {
  test("moments are shown in the shop's zone", () => {
    expect(formatSecond(NOON + 3_000, "UTC")).toBe("12:00:03");
    expect(formatMinute(NOON, "Asia/Kolkata")).toBe("17:30");
    expect(formatDay(Date.parse("2026-01-05T23:00:00Z"), "Europe/Berlin")).toBe("6 Jan 2026");
    expect(formatSecond(NOON + 12 * 3_600_000, "UTC")).toBe("00:00:00");
  });

  test("an unknown zone falls back to UTC and is named so", () => {
    expect(zoneName("Mars/Olympus")).toBe("UTC");
    expect(formatMinute(NOON, "Mars/Olympus")).toBe("12:00");
  });

  test.each([
    [0.42, "0.4 s"],
    [-1, "0.0 s"],
    [9.97, "9 s"],
    [75, "1 min 15 s"],
    [3660, "1 h 01 min"],
  ])("%s seconds read %s", (seconds, text) => {
    expect(formatAge(seconds)).toBe(text);
  });
});
