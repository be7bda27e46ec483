/** The way from view to purchase: sessions that reached each step, and the share that went on. */

import { formatCount, formatShare } from "./count.ts";
import { Rows, make, need, put, vary } from "./dom.ts";
import type { Board } from "./wire.ts";

interface Step {
  step: string;
  sessions: number;
  /** Sessions of the step before; null for the first. */
  before: number | null;
  first: number;
  last: boolean;
}

const NAMES = new Map([
  ["view", "Viewed a product"],
  ["cart", "Put in the cart"],
  ["checkout", "Began checkout"],
  ["payment", "Gave payment"],
  ["purchase", "Purchased"],
]);

export class FunnelTile {
  #rows = new Rows<Step>(
    need(document, "#steps"),
    (step) => step.step,
    () =>
      make(
        "li",
        "",
        make("span", "name"),
        make("span", "share"),
        make("span", "sessions"),
        make("span", "bar", make("span", "fill")),
      ),
    (row, step) => {
      put(need(row, ".name"), NAMES.get(step.step) ?? step.step);
      put(need(row, ".share"), wordsOf(step));
      put(need(row, ".sessions"), formatCount(step.sessions));
      const share = step.first > 0 ? Math.min(1, step.sessions / step.first) : 0;
      vary(need(row, ".fill"), "--share", share.toFixed(4));
    },
  );

  render(board: Board): void {
    const steps = board.funnel.steps;
    const first = steps[0]?.sessions ?? 0;
    this.#rows.render(
      steps.map(({ step, sessions }, i) => ({
        step,
        sessions,
        before: steps[i - 1]?.sessions ?? null,
        first,
        last: i === steps.length - 1,
      })),
    );
  }
}

/** The share that came from the step before; for the last step also of all. */
function wordsOf({ sessions, before, first, last }: Step): string {
  if (before === null) return "sessions";
  const all = last ? `, ${formatShare(sessions, first)} of all` : "";
  return `${formatShare(sessions, before)} went on${all}`;
}
