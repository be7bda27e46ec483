/** The top of the page: shop and clock, the sentence on the state, the current notice, the log, and warnings. */

import { formatCount, formatRate } from "./count.ts";
import { Rows, make, need, put, show } from "./dom.ts";
import { type Status, currentNotice } from "./status.ts";
import { formatSecond, zoneName } from "./time.ts";
import type { Board, Notice } from "./wire.ts";

export class Strip {
  #strip = need(document, "#strip");
  #notice = need(document, "#notice");
  #log = need<HTMLDetailsElement>(document, "#log");
  #timeZone = "UTC";
  #said = "";
  #entries = new Rows<Notice>(
    need(this.#log, "ol"),
    (notice) => `${notice.at} ${notice.text}`,
    () => make("li", "", make("time"), make("bdi")),
    (row, notice) => {
      row.dataset["kind"] = notice.kind;
      put(need(row, "time"), formatSecond(Date.parse(notice.at), this.#timeZone));
      put(need(row, "bdi"), notice.text);
    },
  );
  #warnings = new Rows<string>(
    need(document, "#warnings"),
    (warning) => warning,
    () => make("li"),
    (row, warning) => put(row, warning),
  );

  constructor() {
    this.#log.addEventListener("keydown", (event) => {
      if (event.key === "Escape") this.#log.open = false;
    });
    document.addEventListener("click", (event) => {
      if (!this.#log.contains(event.target as Node)) this.#log.open = false;
    });
  }

  /** The state alone: all there is before the first frame. */
  renderStatus(status: Status, notice: Notice | null = null): void {
    this.#strip.dataset["mood"] = status.mood;
    put(need(document, "#state-title"), status.title);
    put(need(document, "#state-detail"), status.detail);
    const spoken = notice === null ? status.title : `${status.title}. ${notice.text}`;
    if (spoken !== this.#said) {
      this.#said = spoken;
      put(need(document, "#announce"), spoken);
    }
  }

  render(board: Board, status: Status, now: number): void {
    this.#timeZone = board.timeZone;
    const notice = currentNotice(board.notices, now);
    this.renderStatus(status, notice);
    put(need(document, "#shop"), board.shop === "default" ? "" : board.shop);
    put(need(document, "#rate"), status.mood === "lost" ? "–" : formatRate(board.rate.eventsPerSecond));
    put(need(document, "#clock"), formatSecond(now, board.timeZone));
    put(need(document, "#zone"), zoneName(board.timeZone));
    this.#renderNotice(notice);
    this.#renderBooks(board, status.mood === "lost");
    this.#entries.render(board.notices);
    show(this.#log, board.notices.length > 0);
    this.#warnings.render(board.warnings);
    show(need(document, "#warnings"), board.warnings.length > 0);
  }

  #renderNotice(notice: Notice | null): void {
    show(this.#notice, notice !== null);
    this.#strip.dataset["notice"] = notice?.kind ?? "none";
    if (notice === null) return;
    put(need(this.#notice, "time"), formatSecond(Date.parse(notice.at), this.#timeZone));
    put(need(this.#notice, "span"), notice.text);
  }

  #renderBooks(board: Board, lost: boolean): void {
    const { balanced, total } = board.ledger;
    const books = need(document, "#books");
    show(books, true);
    books.dataset["verdict"] = lost ? "unknown" : balanced ? "balanced" : "unbalanced";
    put(books, `${lost ? "Last ledger" : "Ledger"} ${balanced ? "✓ balanced" : "≠ not balanced"}, ${formatCount(total.pending)} pending`);
  }
}
