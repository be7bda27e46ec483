/** Today's ten products with the most net revenue. */

import { formatCount } from "./count.ts";
import { Rows, make, need, put, show, vary } from "./dom.ts";
import { formatMoney, magnitude } from "./money.ts";
import type { Board, Product } from "./wire.ts";

export class ProductsTile {
  #body = need(document, "#products");
  #currency: string | null = null;
  #best = 0;
  #rows = new Rows<Product>(
    this.#body,
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
    this.#best = Math.max(0, ...board.products.map((product) => magnitude(this.#sold(product)?.net)));
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
    const share = this.#best > 0 ? Math.max(0, magnitude(sold?.net) / this.#best) : 0;
    vary(row, "--share", share.toFixed(4));
  }

  #sold(product: Product): { units: number; net: string } | undefined {
    return this.#currency === null ? undefined : product.currencies[this.#currency];
  }
}
