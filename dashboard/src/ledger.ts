/** The ledger: every acknowledged event in exactly one column, the verdict, and what comes in against what is settled. */

import { formatCount, formatRate, plural } from "./count.ts";
import { make, need, put, show } from "./dom.ts";
import { FlowChart } from "./flowchart.ts";
import { settledOf } from "./flow.ts";
import type { Board, Ledger, LedgerCounts } from "./wire.ts";

const LINES: [keyof LedgerCounts, string][] = [
  ["acknowledged", "Acknowledged"],
  ["stored", "Stored"],
  ["duplicate", "Duplicate"],
  ["parked", "Parked"],
  ["dropped", "Dropped"],
  ["pending", "Pending"],
  ["rejected", "Rejected, beside it"],
];

export class LedgerTile {
  #table = need(document, "#account");
  #button = need<HTMLButtonElement>(document, "#by-source");
  #chart = new FlowChart(need(document, "#flow"));
  #columns: string[] = [];
  #cells = new Map<string, HTMLElement>();
  #open = false;
  #ledger: Ledger | null = null;

  constructor() {
    this.#button.addEventListener("click", () => {
      this.#open = !this.#open;
      this.#button.setAttribute("aria-expanded", String(this.#open));
      put(this.#button, this.#open ? "Total only" : "By source");
      this.#sheet();
    });
  }

  render(board: Board): void {
    if (this.#ledger === board.ledger) return;
    this.#ledger = board.ledger;
    this.#verdict(board.ledger);
    this.#sheet();
    this.#remarks(board.ledger);
    const rates = this.#chart.draw(board);
    put(need(document, "#flow-in"), rates === null ? "–" : `${formatRate(rates.incoming)}/s`);
    put(need(document, "#flow-out"), rates === null ? "–" : `${formatRate(rates.settled)}/s`);
  }

  #verdict(ledger: Ledger): void {
    const verdict = need(document, "#verdict");
    verdict.dataset["verdict"] = ledger.balanced ? "balanced" : "unbalanced";
    put(need(verdict, ".sign"), ledger.balanced ? "✓" : "≠");
    put(need(verdict, "strong"), ledger.balanced ? "Balanced" : "Not balanced");
    put(need(verdict, ".rest"), restOf(ledger));
  }

  #sheet(): void {
    if (this.#ledger === null) return;
    const sources = this.#open ? Object.keys(this.#ledger.sources).sort() : [];
    if (this.#table.childElementCount === 0 || sources.join("\n") !== this.#columns.join("\n")) this.#build(sources);
    for (const [key] of LINES) {
      this.#fill(`${key} 0`, key, this.#ledger.total);
      sources.forEach((source, i) => this.#fill(`${key} ${i + 1}`, key, this.#ledger!.sources[source]!));
    }
    show(this.#button, Object.keys(this.#ledger.sources).length > 0);
  }

  #fill(cell: string, key: keyof LedgerCounts, counts: LedgerCounts): void {
    const node = this.#cells.get(cell);
    if (node === undefined) return;
    put(node, formatCount(counts[key]));
    node.classList.toggle("nought", counts[key] === 0);
  }

  #build(sources: string[]): void {
    this.#columns = sources;
    this.#cells.clear();
    const head = make("tr", "", make("td"), scoped("col", "Total"), ...sources.map((source) => scoped("col", source)));
    const rows = LINES.map(([key, name]) => {
      const row = make("tr", key, scoped("row", name));
      for (let column = 0; column <= sources.length; column++) {
        const cell = make("td");
        this.#cells.set(`${key} ${column}`, cell);
        row.append(cell);
      }
      return row;
    });
    const thead = make("thead", "", head);
    thead.hidden = sources.length === 0;
    this.#table.replaceChildren(thead, make("tbody", "", ...rows));
  }

  #remarks(ledger: Ledger): void {
    const unreachable = ledger.unreachable ?? [];
    const reasons = Object.entries(ledger.rejectedBy ?? {}).filter(([, n]) => n > 0);
    const remarks = [
      ...unreachable.map((log) => `Log ${log} does not answer; its last figures are used`),
      ...(reasons.length > 0 ? [`Rejected: ${reasons.map(([why, n]) => `${formatCount(n)} ${why}`).join(", ")}`] : []),
    ];
    const list = need(document, "#ledger-remarks");
    list.replaceChildren(...remarks.map((remark) => make("li", "", remark)));
    show(list, remarks.length > 0);
  }
}

/** The verdict in a few words: what is on its way, or by how much the books differ. */
export function restOf({ balanced, total }: Ledger): string {
  const difference = total.acknowledged - settledOf(total) - total.pending;
  if (!balanced) return `${plural(Math.abs(difference), "event", "events")} ${difference > 0 ? "missing" : "too many"}`;
  if (total.parked > 0) return `${formatCount(total.parked)} parked`;
  return total.pending > 0 ? `${formatCount(total.pending)} on the way` : "nothing on the way";
}

function scoped(scope: "row" | "col", text: string): HTMLTableCellElement {
  const cell = make("th", "", make("bdi", "", text));
  cell.scope = scope;
  return cell;
}
