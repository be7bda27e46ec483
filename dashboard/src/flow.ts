/** What comes in against what is settled, per second, from successive readings of the ledger. */

import type { Ledger, LedgerCounts } from "./wire.ts";

export const FLOW_WINDOW_SECONDS = 180;
/** A rate needs some time under it; shorter steps only show how counters tick. */
const STEP_SECONDS = 1.9;
/** After a longer silence the line breaks: nothing is known about the time between. */
const GAP_SECONDS = 8;

export interface FlowPoint {
  /** Seconds since the epoch, the ledger's clock. */
  at: number;
  /** Acknowledged events per second; null where nothing is known. */
  incoming: number | null;
  /** Events per second that were stored, or ended as duplicate, parked or dropped. */
  settled: number | null;
}

interface Reading {
  at: number;
  incoming: number;
  settled: number;
}

export class Flow {
  points: FlowPoint[] = [];
  #last: Reading | null = null;

  /** Takes a reading; readings closer together than a step are passed over. */
  read(ledger: Ledger): void {
    const next: Reading = {
      at: Date.parse(ledger.asOf) / 1000,
      incoming: ledger.total.acknowledged,
      settled: settledOf(ledger.total),
    };
    const last = this.#last;
    if (last !== null) {
      const seconds = next.at - last.at;
      if (seconds >= 0 && seconds < STEP_SECONDS) return;
      this.#add(last, next, seconds);
    }
    this.#last = next;
  }

  #add(last: Reading, next: Reading, seconds: number): void {
    const restarted = seconds < 0 || next.incoming < last.incoming || next.settled < last.settled;
    if (restarted || seconds > GAP_SECONDS) {
      if (restarted) this.points = [];
      this.points.push({ at: next.at, incoming: null, settled: null });
    } else {
      this.points.push({
        at: next.at,
        incoming: (next.incoming - last.incoming) / seconds,
        settled: (next.settled - last.settled) / seconds,
      });
    }
    this.points = this.points.filter((point) => point.at > next.at - FLOW_WINDOW_SECONDS);
  }
}

export function settledOf(counts: LedgerCounts): number {
  return counts.stored + counts.duplicate + counts.parked + counts.dropped;
}
