/** The few things the board does to the page; text goes in as text, never as markup. */

/** The element that index.html promises. */
export function need<T extends Element = HTMLElement>(root: ParentNode, selector: string): T {
  const found = root.querySelector<T>(selector);
  if (found === null) throw new Error(`index.html has no ${selector}`);
  return found;
}

/** A new element with a class and children; strings become text nodes. */
export function make<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  className = "",
  ...children: (Node | string)[]
): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  if (className !== "") element.className = className;
  element.append(...children);
  return element;
}

/** Sets text, touching the page only when it differs. */
export function put(node: Element, text: string): void {
  if (node.textContent !== text) node.textContent = text;
}

/** Shows or hides. */
export function show(node: HTMLElement, visible: boolean): void {
  if (node.hidden === visible) node.hidden = !visible;
}

/** A custom property through the CSSOM, which a strict style policy allows. */
export function vary(node: HTMLElement, name: string, value: string): void {
  if (node.style.getPropertyValue(name) !== value) node.style.setProperty(name, value);
}

/** A list whose rows keep their element as long as their key stays. */
export class Rows<T> {
  #rows = new Map<string, HTMLElement>();
  #filled = false;

  constructor(
    private readonly parent: HTMLElement,
    private readonly keyOf: (item: T) => string,
    private readonly build: () => HTMLElement,
    private readonly fill: (row: HTMLElement, item: T) => void,
  ) {}

  /** Rows that come later than the first filling carry the class "arrived". */
  render(items: T[]): void {
    const kept = new Map<string, HTMLElement>();
    for (const item of items) {
      const key = this.keyOf(item);
      let row = kept.get(key) ?? this.#rows.get(key);
      if (row === undefined) {
        row = this.build();
        if (this.#filled) row.classList.add("arrived");
      }
      this.fill(row, item);
      kept.set(key, row);
    }
    this.#arrange(kept);
    this.#filled = true;
  }

  #arrange(kept: Map<string, HTMLElement>): void {
    for (const [key, row] of this.#rows) if (!kept.has(key)) row.remove();
    let next = this.parent.firstElementChild;
    for (const row of kept.values()) {
      if (row === next) next = next.nextElementSibling;
      else this.parent.insertBefore(row, next);
    }
    this.#rows = kept;
  }
}
