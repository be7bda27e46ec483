import { readFileSync } from "node:fs";
import { expect, test } from "vitest";

const [dark = "", light = ""] = readFileSync(new URL("../src/base.css", import.meta.url), "utf8")
  .split("@media (prefers-color-scheme: light)");

function colours(sheet: string): Map<string, string> {
  return new Map([...sheet.matchAll(/(--[\w-]+): (#[0-9a-f]{6});/g)].map(([, name, value]) => [name!, value!]));
}

/** Relative luminance as WCAG defines it. */
function luminance(hex: string): number {
  const [r, g, b] = [1, 3, 5].map((i) => {
    const channel = Number.parseInt(hex.slice(i, i + 2), 16) / 255;
    return channel <= 0.04045 ? channel / 12.92 : ((channel + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * r! + 0.7152 * g! + 0.0722 * b!;
}

function contrast(a: string, b: string): number {
  const [high, low] = [luminance(a), luminance(b)].sort((x, y) => y - x);
  return (high! + 0.05) / (low! + 0.05);
}

const TEXT: [string, string][] = [
  ...["--ink", "--ink-2", "--ink-3", "--dim", "--accent", "--amber", "--red"].map((ink): [string, string] => [ink, "--paper"]),
  ...["--ink", "--ink-2", "--ink-3", "--accent", "--red"].map((ink): [string, string] => [ink, "--raised"]),
  ...["--ink", "--ink-2", "--ink-3", "--dim", "--amber", "--accent"].map((ink): [string, string] => [ink, "--amber-wash"]),
  ...["--ink", "--ink-2", "--red"].map((ink): [string, string] => [ink, "--red-wash"]),
  ...["--ink", "--ink-2", "--accent"].map((ink): [string, string] => [ink, "--green-wash"]),
  ["--on-amber", "--amber-fill"],
];
const SHAPES: [string, string][] = [["--accent", "--paper"], ["--bar", "--paper"], ["--amber", "--paper"], ["--red", "--paper"]];

const schemes = { dark: colours(dark), light: new Map([...colours(dark), ...colours(light)]) };

for (const [scheme, palette] of Object.entries(schemes)) {
  test.each(TEXT)(`${scheme}: %s can be read on %s`, (ink, ground) => {
    expect(contrast(palette.get(ink)!, palette.get(ground)!)).toBeGreaterThanOrEqual(4.5);
  });
  test.each(SHAPES)(`${scheme}: %s can be seen on %s`, (shape, ground) => {
    expect(contrast(palette.get(shape)!, palette.get(ground)!)).toBeGreaterThanOrEqual(3);
  });
}
