/** The freshness of every tile: up to when it is complete, how old that is, and an alarm when it is too old. */

import { make, need, put, show } from "./dom.ts";
import { type Basis, type Line, freshness } from "./freshness.ts";
import { formatAge, formatSecond } from "./time.ts";
import type { Board } from "./wire.ts";

interface Stamp {
  tile: HTMLElement;
  basis: Basis;
  badge: HTMLElement;
  moment: HTMLElement;
  age: HTMLElement;
}

export class Stamps {
  #stamps: Stamp[];

  constructor(root: ParentNode) {
    this.#stamps = [...root.querySelectorAll<HTMLElement>(".tile[data-basis]")].map(stampOf);
  }

  render(board: Board, line: Line): void {
    for (const stamp of this.#stamps) {
      const { completeTo, ageSeconds, stale } = freshness(board, stamp.basis, line);
      stamp.tile.classList.toggle("stale", stale);
      show(stamp.badge, stale);
      show(stamp.age, !stale);
      put(stamp.badge, `stale ${formatAge(ageSeconds)}`);
      put(stamp.moment, formatSecond(completeTo, board.timeZone));
      put(stamp.age, ` · ${formatAge(ageSeconds)}`);
    }
  }
}

function stampOf(tile: HTMLElement): Stamp {
  const basis = tile.dataset["basis"] as Basis;
  const badge = make("b", "badge");
  const words = make("span", "words", basis === "ledger" ? "counted at " : "complete to ");
  const moment = make("time");
  const age = make("span", "age");
  need(tile, "header").append(make("p", "fresh", badge, " ", words, moment, age));
  return { tile, basis, badge, moment, age };
}
