/** Revenue and orders per minute over the last hour (less while a shop is young), with what was announced and what is not yet complete. */

import { Bars, type Picture } from "./bars.ts";
import { formatCount } from "./count.ts";
import { need, put } from "./dom.ts";
import { type Line, freshness } from "./freshness.ts";
import type { Mark } from "./marks.ts";
import { type Minutes, lastMinutes, ordersPerMinute, windowOf } from "./minutes.ts";
import { formatMoney, formatScale, magnitude } from "./money.ts";
import { formatMinute } from "./time.ts";
import type { Board, Point } from "./wire.ts";

/** A chart's column in words. */
type Words = (index: number) => string;

export class PaceTiles {
  #revenue: Bars;
  #orders: Bars;
  #board: Board | null = null;
  #currency: string | null = null;
  #minutes: Minutes = { starts: [], points: [] };
  #counts: number[] = [];
  #picked: { revenue: number | null; orders: number | null } = { revenue: null, orders: null };

  constructor() {
    const minute = (second: number) => formatMinute(second * 1000, this.#board?.timeZone ?? "UTC");
    this.#revenue = new Bars(need(document, "#revenue"), {
      tone: "accent",
      least: 1,
      amount: (value) => (this.#currency === null ? "" : formatScale(value, this.#currency)),
      minute,
      picked: (index) => this.#pick("revenue", index),
    });
    this.#orders = new Bars(need(document, "#orders"), {
      tone: "neutral",
      least: 2,
      amount: (value) => (Number.isInteger(value) ? formatCount(value) : ""),
      minute,
      picked: (index) => this.#pick("orders", index),
    });
  }

  render(board: Board, currency: string | null, line: Line): void {
    this.#board = board;
    this.#currency = currency;
    const asOf = Date.parse(board.asOf);
    const window = windowOf(board);
    const cut = (points: Point[] | undefined) => lastMinutes(points ?? [], asOf, window);
    this.#minutes = cut(currency === null ? [] : board.series.currencies[currency]);
    this.#counts = ordersPerMinute([this.#minutes, ...others(board, currency).map(cut)]);
    const common = {
      starts: this.#minutes.starts,
      marks: board.notices.map((notice): Mark => ({ at: Date.parse(notice.at) / 1000, kind: notice.kind })),
      ...unknown(board, line),
    };
    this.#revenue.draw({ ...common, values: this.#minutes.points.map((point) => magnitude(point?.net)) });
    this.#orders.draw({ ...common, values: this.#counts });
    this.#read();
  }

  #pick(chart: "revenue" | "orders", index: number | null): void {
    if (this.#picked[chart] === index) return;
    this.#picked[chart] = index;
    this.#read();
  }

  #read(): void {
    const revenue: Words = (i) => this.#amount(this.#minutes.points[i]?.net);
    const orders: Words = (i) => formatCount(this.#counts[i] ?? 0);
    put(need(document, "#revenue-readout"), this.#sentence(this.#picked.revenue, revenue));
    put(need(document, "#orders-readout"), this.#sentence(this.#picked.orders, orders));
    this.#describe("#revenue", "Net revenue per minute", this.#minutes.points.map((p) => magnitude(p?.net)), revenue);
    this.#describe("#orders", "Orders per minute", this.#counts, orders);
  }

  /** The minute pointed at, else the last full one. */
  #sentence(picked: number | null, words: Words): string {
    const index = picked ?? this.#minutes.starts.length - 2;
    const start = this.#minutes.starts[index];
    if (start === undefined || this.#board === null) return "";
    const at = formatMinute(start * 1000, this.#board.timeZone);
    const running = index === this.#minutes.starts.length - 1 ? " so far" : "";
    const said = this.#board.notices
      .filter((notice) => Math.floor(Date.parse(notice.at) / 60_000) * 60 === start)
      .map((notice) => ` · ${notice.text}`);
    return `${at}  ${words(index)}${running}${picked === null ? "" : said.join("")}`;
  }

  #describe(selector: string, title: string, values: number[], words: Words): void {
    const peak = values.indexOf(Math.max(...values));
    const start = this.#minutes.starts[peak];
    if (start === undefined || this.#board === null) return;
    const at = formatMinute(start * 1000, this.#board.timeZone);
    const label = `${title}, last ${values.length} minutes. Highest at ${at}: ${words(peak)}. Arrow keys read single minutes.`;
    const host = need(document, selector);
    if (host.getAttribute("aria-label") !== label) host.setAttribute("aria-label", label);
  }

  #amount(net: string | undefined): string {
    return this.#currency === null ? "–" : formatMoney(net ?? "0", this.#currency);
  }
}

/** The points of the currencies that are not the one shown. */
function others(board: Board, currency: string | null): Point[][] {
  return Object.entries(board.series.currencies)
    .filter(([name]) => name !== currency)
    .map(([, points]) => points);
}

function unknown(board: Board, line: Line): Pick<Picture, "unknownFrom" | "now"> {
  const { completeTo, ageSeconds, stale } = freshness(board, "money", line);
  return { unknownFrom: stale ? completeTo / 1000 : null, now: completeTo / 1000 + ageSeconds };
}
