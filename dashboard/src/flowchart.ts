/** Three minutes of what was taken in (line) and what was settled (area), per second. */

import { Canvas, type Shape, amountAxis, timeAxis } from "./canvas.ts";
import { formatCount } from "./count.ts";
import { FLOW_WINDOW_SECONDS, Flow } from "./flow.ts";
import { niceCeiling } from "./minutes.ts";
import { palette, rem } from "./palette.ts";
import { formatMinute } from "./time.ts";
import type { Board } from "./wire.ts";

export class FlowChart {
  #flow = new Flow();
  #canvas: Canvas;
  #now = 0;
  #timeZone = "UTC";

  constructor(host: HTMLElement) {
    this.#canvas = new Canvas(host, () => this.#shape());
  }

  /** Draws, and gives the latest rates; null while none is known. */
  draw(board: Board): { incoming: number; settled: number } | null {
    this.#flow.read(board.ledger);
    this.#now = Date.parse(board.ledger.asOf) / 1000;
    this.#timeZone = board.timeZone;
    const points = this.#flow.points;
    this.#canvas.set([
      points.map((point) => point.at),
      points.map((point) => point.settled),
      points.map((point) => point.incoming),
    ]);
    const last = points.at(-1);
    if (last === undefined || last.incoming === null || last.settled === null) return null;
    return { incoming: last.incoming, settled: last.settled };
  }

  #shape(): Shape {
    return {
      padding: [rem() * 0.5, 0, 0, 0],
      cursor: { show: false },
      scales: {
        x: { range: () => [this.#now - FLOW_WINDOW_SECONDS, this.#now] },
        y: { range: (_, __, max) => [0, niceCeiling(Math.max(10, max ?? 0))] },
      },
      axes: [
        timeAxis(wholeMinutes, (second) => formatMinute(second * 1000, this.#timeZone)),
        amountAxis((value) => (Number.isInteger(value) ? formatCount(value) : "")),
      ],
      series: [
        {},
        { stroke: () => palette().accent, fill: () => palette().accentSoft, width: 1, points: { show: false } },
        { stroke: () => palette().ink, width: 1.5, points: { show: false } },
      ],
    };
  }
}

function wholeMinutes(min: number, max: number): number[] {
  // A label at the very edge would be cut off.
  const first = Math.ceil((min + 12) / 60);
  return Array.from({ length: Math.max(0, Math.floor(max / 60) - first + 1) }, (_, i) => (first + i) * 60);
}
