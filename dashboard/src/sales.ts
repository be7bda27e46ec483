/** Today's headline: net revenue, what it is made of, and the choice of currency where there are several. */

import { formatCount, plural } from "./count.ts";
import { Rows, make, need, put, show, vary } from "./dom.ts";
import { formatMoney, moneyParts } from "./money.ts";
import type { Board, Sales } from "./wire.ts";

/** Currencies of the board, the one with most orders today first. */
export function currenciesOf(board: Board): string[] {
  const today = board.today.currencies;
  const names = new Set([...Object.keys(today), ...Object.keys(board.series.currencies)]);
  return [...names].sort((a, b) => (today[b]?.orders ?? 0) - (today[a]?.orders ?? 0) || a.localeCompare(b));
}

export class SalesTile {
  #net = need(document, "#net");
  #list = need(document, "#currencies");
  #rows: Rows<[string, Sales | undefined]>;
  #chosen: string | null = null;

  constructor(choose: (currency: string) => void) {
    this.#rows = new Rows(
      this.#list,
      ([currency]) => currency,
      () => make("li", "", make("button", "", make("span", "code"), make("span", "sum"), make("span", "orders"))),
      (row, [currency, sales]) => {
        const button = need<HTMLButtonElement>(row, "button");
        button.type = "button";
        button.onclick = () => choose(currency);
        button.setAttribute("aria-pressed", String(currency === this.#chosen));
        put(need(row, ".code"), currency);
        put(need(row, ".sum"), sales === undefined ? "–" : formatMoney(sales.net, currency));
        put(need(row, ".orders"), plural(sales?.orders ?? 0, "order", "orders"));
      },
    );
  }

  render(board: Board, currency: string | null): void {
    this.#chosen = currency;
    const names = currenciesOf(board);
    this.#rows.render(names.map((name) => [name, board.today.currencies[name]]));
    show(this.#list, names.length > 1);
    this.#headline(currency, currency === null ? undefined : board.today.currencies[currency]);
  }

  #headline(currency: string | null, sales: Sales | undefined): void {
    const money = (pick: (sales: Sales) => string) =>
      sales === undefined || currency === null ? "–" : formatMoney(pick(sales), currency);
    const parts =
      sales === undefined || currency === null
        ? { before: "–", fraction: "", after: "" }
        : moneyParts(sales.net, currency);
    const [before, fraction, after] = this.#net.children;
    put(before!, parts.before);
    put(fraction!, parts.fraction);
    put(after!, parts.after);
    vary(this.#net, "--chars", String(Math.max(7, parts.before.length + parts.fraction.length * 0.7 + parts.after.length)));
    put(need(document, "#sales-orders"), formatCount(sales?.orders ?? 0));
    put(need(document, "#sales-units"), formatCount(sales?.units ?? 0));
    put(need(document, "#sales-aov"), money((s) => s.aov));
    put(need(document, "#sales-gross"), money((s) => s.gross));
    put(need(document, "#sales-discounts"), money((s) => s.discounts));
    put(need(document, "#sales-refunds"), money((s) => s.refunds));
    put(need(document, "#sales-extras"), sales === undefined ? "–" : `${money((s) => s.tax)} + ${money((s) => s.shipping)}`);
  }
}
