/** How fresh a figure is: measured between two moments of the server's clock, and ageing while frames are missing. */

import type { Board } from "./wire.ts";

/** Figures older than this say that they are stale. */
export const STALE_AFTER_SECONDS = 3;

/** The ledger counts what write-ahead logs say of themselves, at rest every two seconds. */
export const LEDGER_STALE_AFTER_SECONDS = 6;

/** Frames come at least once a second; silence beyond this means the line is dead, whatever the socket believes. */
export const SILENT_AFTER_SECONDS = 2.5;

/** What a tile is made of: money, behaviour, both, or the ledger. */
export type Basis = "money" | "behaviour" | "both" | "ledger";

/** The line to the server, measured on this browser's steady clock. */
export interface Line {
  connected: boolean;
  /** Seconds since the last frame arrived. */
  silentSeconds: number;
}

export interface Freshness {
  /** The moment up to which the figure is complete, ms since the epoch, server time. */
  completeTo: number;
  ageSeconds: number;
  stale: boolean;
}

export function freshness(board: Board, basis: Basis, line: Line): Freshness {
  const completeTo = completeToOf(board, basis);
  const lag = Math.max(0, Date.parse(board.asOf) - completeTo) / 1000;
  const ageSeconds = isLost(line) ? lag + line.silentSeconds : lag;
  const patience = basis === "ledger" ? LEDGER_STALE_AFTER_SECONDS : STALE_AFTER_SECONDS;
  return { completeTo, ageSeconds, stale: isLost(line) || ageSeconds > patience };
}

/** Whether nothing can be said about the present. */
export function isLost(line: Line): boolean {
  return !line.connected || line.silentSeconds > SILENT_AFTER_SECONDS;
}

function completeToOf(board: Board, basis: Basis): number {
  const money = Date.parse(board.completeTo.money);
  const behaviour = Date.parse(board.completeTo.behaviour);
  switch (basis) {
    case "money":
      return money;
    case "behaviour":
      return behaviour;
    case "both":
      return Math.min(money, behaviour);
    case "ledger":
      return Date.parse(board.ledger.asOf);
  }
}
