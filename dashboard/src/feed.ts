/** Applies frames in order: a snapshot replaces everything, a delta counts only when it is the very next one. */

import type { Board, Frame, Point, Series } from "./wire.ts";

export type Outcome = "applied" | "gap";

export class Feed {
  board: Board | null = null;
  /** The version on this connection; null until its first snapshot, and again after a gap. */
  #version: number | null = null;

  /** A new connection counts from its own snapshot; the old figures stay in sight until then. */
  restart(): void {
    this.#version = null;
  }

  /** Takes one frame. After a "gap" every delta is refused until a snapshot comes. */
  apply(frame: Frame): Outcome {
    if (frame.snapshot === true) {
      this.board = frame as Board;
    } else if (this.board !== null && this.#version !== null && frame.version === this.#version + 1) {
      this.board = merge(this.board, frame);
    } else {
      this.#version = null;
      return "gap";
    }
    this.#version = frame.version;
    return "applied";
  }
}

/** The board after a delta: changed keys replace, minutes of the series merge by their moment. */
export function merge(board: Board, delta: Frame): Board {
  const next: Board = { ...board, ...delta };
  if (delta.series !== undefined) {
    next.series = mergeSeries(board.series, delta.series);
  }
  return next;
}

/** Newer points win; points before the delta's `from` fall out of every currency. */
export function mergeSeries(old: Series, delta: Series): Series {
  const names = new Set([...Object.keys(old.currencies), ...Object.keys(delta.currencies)]);
  const from = Date.parse(delta.from);
  const currencies = Object.fromEntries(
    [...names].map((name) => [name, mergePoints(old.currencies[name] ?? [], delta.currencies[name] ?? [], from)]),
  );
  return { step: delta.step, from: delta.from, currencies };
}

function mergePoints(old: Point[], changed: Point[], from: number): Point[] {
  const byMoment = new Map<number, Point>();
  for (const point of [...old, ...changed]) {
    const moment = Date.parse(point.at);
    if (moment >= from) byMoment.set(moment, point);
  }
  return [...byMoment.entries()].sort(([a], [b]) => a - b).map(([, point]) => point);
}
