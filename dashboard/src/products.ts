/** Today's ten products with the most net revenue. */

import { formatCount } from "./count.ts";
import { Rows, make, need, put, show } from "./dom.ts";
import { formatMoney } from "./money.ts";
import type { Board, Product } from "./wire.ts";

export class ProductsTile {
  #currency: string | null = null;
  #rows = new Rows<Product>(
    need(document, "#products"),
    (product) => product.productId,
    () => {
      const name = make("bdi", "name");
      const row = make("tr", "", make("th", "", name, " ", make("bdi", "category")));
      need<HTMLTableCellElement>(row, "th").scope = "row";
      row.append(make("td", "views"), make("td", "adds"), make("td", "units"), make("td", "net"));
      return row;
    },
    (row, product) => this.#fill(row, product),
  );

  render(board: Board, currency: string | null): void {
    this.#currency = currency;
    this.#rows.render(board.products);
    show(need(document, "#products-nothing"), board.products.length === 0);
  }

  #fill(row: HTMLElement, product: Product): void {
    const sold = this.#sold(product);
    const name = need(row, ".name");
    put(name, product.name ?? product.productId);
    if (name.title !== product.productId) name.title = product.productId;
    put(need(row, ".category"), product.category ?? "");
    put(need(row, ".views"), formatCount(product.views));
    put(need(row, ".adds"), formatCount(product.adds));
    put(need(row, ".units"), formatCount(sold?.units ?? 0));
    put(need(row, ".net"), sold === undefined || this.#currency === null ? "–" : formatMoney(sold.net, this.#currency));
  }

  #sold(product: Product): { units: number; net: string } | undefined {
    return this.#currency === null ? undefined : product.currencies[this.#currency];
  }
}
