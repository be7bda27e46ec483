/** The latest orders as they come in. */

import { plural } from "./count.ts";
import { Rows, make, need, put, show } from "./dom.ts";
import { formatMoney } from "./money.ts";
import { formatDay, formatSecond } from "./time.ts";
import type { Board, Order } from "./wire.ts";

export class LatestTile {
  #timeZone = "UTC";
  #today = 0;
  #rows = new Rows<Order>(
    need(document, "#latest"),
    (order) => order.orderId,
    () =>
      make(
        "li",
        "",
        make("time"),
        make("bdi", "id"),
        make("span", "what"),
        make("span", "status"),
        make("span", "total"),
      ),
    (row, order) => {
      const at = Date.parse(order.at);
      put(need(row, "time"), (at < this.#today ? formatDay : formatSecond)(at, this.#timeZone));
      const id = need(row, ".id");
      put(id, order.orderId);
      if (id.title !== order.orderId) id.title = order.orderId;
      put(need(row, ".what"), [plural(order.items, "item", "items"), order.country].filter(Boolean).join(", "));
      put(need(row, ".status"), order.status === "created" ? "placed" : order.status);
      put(need(row, ".total"), formatMoney(order.total, order.currency));
      if (row.dataset["status"] !== order.status) row.dataset["status"] = order.status;
    },
  );

  render(board: Board): void {
    this.#timeZone = board.timeZone;
    this.#today = Date.parse(board.today.from);
    this.#rows.render(board.orders);
    show(need(document, "#latest-nothing"), board.orders.length === 0);
  }
}
