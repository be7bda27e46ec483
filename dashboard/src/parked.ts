/** What could not be processed: how much, whose, since when and why; there only while there is any. */

import { formatCount, plural } from "./count.ts";
import { Rows, make, need, put, show } from "./dom.ts";
import { formatAge } from "./time.ts";
import type { Board, Parked } from "./wire.ts";

export class ParkedTile {
  #tile = need(document, "#parked");
  #asOf = 0;
  #rows = new Rows<Parked["aggregates"][number]>(
    need(document, "#parked-list"),
    (each) => each.aggregateId,
    () => make("li", "", make("bdi", "id"), make("span", "what"), make("bdi", "reason")),
    (row, each) => {
      const id = need(row, ".id");
      put(id, each.aggregateId);
      if (id.title !== each.aggregateId) id.title = each.aggregateId;
      const age = formatAge((this.#asOf - Date.parse(each.since)) / 1000);
      put(need(row, ".what"), `${plural(each.events, "event", "events")}, for ${age}`);
      const reason = need(row, ".reason");
      put(reason, each.reason);
      if (reason.title !== each.reason) reason.title = each.reason;
    },
  );

  render(board: Board): void {
    const parked = board.parked ?? null;
    show(this.#tile, parked !== null);
    if (parked === null) return;
    this.#asOf = Date.parse(board.asOf);
    put(need(document, "#parked-count"), countOf(parked));
    this.#rows.render(parked.aggregates);
    const hidden = parked.total - parked.aggregates.length;
    const rest = need(document, "#parked-rest");
    put(rest, hidden > 0 && !parked.more ? `and ${formatCount(hidden)} more: rushlight parked list` : "rushlight parked list says more");
  }
}

/** How much is set aside, in words. */
export function countOf({ events, more, total, unreadable }: Parked): string {
  const parts = [];
  if (more) parts.push(`More than ${formatCount(events)} events`);
  else if (events > 0) parts.push(`${plural(events, "event", "events")} of ${plural(total, "order or visitor", "orders or visitors")}`);
  if (unreadable > 0) parts.push(`${plural(unreadable, "record", "records")} that cannot be read`);
  return parts.join(", ");
}
