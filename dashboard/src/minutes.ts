/** The last minutes as columns for a chart: every minute present, zero where nothing happened. */

import type { Board, Point } from "./wire.ts";

export const WINDOW_MINUTES = 60;
/** A young shop is shown closer, as long as nothing it sold today is left out. */
const CLOSER_MINUTES = [15, 30];
const MINUTE_MS = 60_000;
const ROUND = [1, 1.2, 1.6, 2, 3, 4, 6, 8, 10];

export interface Minutes {
  /** Start of each minute, seconds since the epoch, ascending; the last one is still running. */
  starts: number[];
  /** The point of each minute, where it has one. */
  points: (Point | undefined)[];
}

/** The shortest window that still holds every order of today, else the full one. */
export function windowOf(board: Board): number {
  const today = Object.values(board.today.currencies).reduce((sum, sales) => sum + sales.orders, 0);
  const points = Object.values(board.series.currencies).flat();
  const minute = Math.floor(Date.parse(board.asOf) / MINUTE_MS);
  const within = (window: number) =>
    points.filter((point) => Math.floor(Date.parse(point.at) / MINUTE_MS) > minute - window);
  const orders = (some: Point[]) => some.reduce((sum, point) => sum + point.orders, 0);
  const holds = (window: number) => orders(within(window)) === today && within(window).length === points.length;
  return today === 0 ? WINDOW_MINUTES : (CLOSER_MINUTES.find(holds) ?? WINDOW_MINUTES);
}

/** Cuts the window that ends with the minute of `asOf`. */
export function lastMinutes(points: Point[], asOf: number, window = WINDOW_MINUTES): Minutes {
  const byStart = new Map(points.map((point) => [Math.floor(Date.parse(point.at) / MINUTE_MS), point]));
  const last = Math.floor(asOf / MINUTE_MS);
  const starts: number[] = [];
  const found: (Point | undefined)[] = [];
  for (let minute = last - window + 1; minute <= last; minute++) {
    starts.push(minute * 60);
    found.push(byStart.get(minute));
  }
  return { starts, points: found };
}

/** Orders are counts, so minutes of several currencies may be added; amounts may not. */
export function ordersPerMinute(all: Minutes[]): number[] {
  const length = all[0]?.starts.length ?? 0;
  return Array.from({ length }, (_, i) => all.reduce((sum, minutes) => sum + (minutes.points[i]?.orders ?? 0), 0));
}

/** The smallest round figure that holds the value, itself easy to halve; 0 for nothing. */
export function niceCeiling(value: number): number {
  if (!(value > 0)) return 0;
  const power = 10 ** Math.floor(Math.log10(value));
  const step = ROUND.find((s) => s * power >= value * (1 - 1e-9)) ?? 10;
  return step * power;
}
