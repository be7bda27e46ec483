/** A uPlot that fills its host, follows its size, and is set in the page's colours and type. */

import uPlot from "uplot";
import { axisFont, onRepaint, palette, rem } from "./palette.ts";

export type Shape = Omit<uPlot.Options, "width" | "height" | "legend">;

/** Keeps one plot alive in a host element; `shape` is asked again whenever the type size changes. */
export class Canvas {
  #plot: uPlot | null = null;
  #rem = 0;
  #data: uPlot.AlignedData = [[]];

  constructor(private readonly host: HTMLElement, private readonly shape: () => Shape) {
    new ResizeObserver(() => this.#fit()).observe(host);
    onRepaint(() => this.#plot?.redraw(true, true));
  }

  get plot(): uPlot | null {
    return this.#plot;
  }

  set(data: uPlot.AlignedData): void {
    this.#data = data;
    this.#plot?.setData(data);
  }

  #fit(): void {
    const width = Math.floor(this.host.clientWidth);
    const height = Math.floor(this.host.clientHeight);
    if (width < 40 || height < 30) return;
    if (this.#plot !== null && this.#rem === rem()) {
      this.#plot.setSize({ width, height });
      return;
    }
    this.#plot?.destroy();
    this.#rem = rem();
    this.#plot = new uPlot({ ...this.shape(), width, height, legend: { show: false } }, this.#data, this.host);
  }
}

/** The axis of time along the bottom. */
export function timeAxis(splits: (min: number, max: number) => number[], label: (second: number) => string): uPlot.Axis {
  return {
    stroke: () => palette().quiet,
    font: axisFont(),
    grid: { show: false },
    ticks: { show: true, stroke: () => palette().rule, width: 1, size: 4 },
    gap: 3,
    size: rem() * 1.55,
    splits: (_, __, min, max) => splits(min, max),
    values: (_, seconds) => seconds.map(label),
  };
}

/** The axis of amounts on the right: nought, half and full. */
export function amountAxis(label: (value: number) => string): uPlot.Axis {
  return {
    side: 1,
    stroke: () => palette().quiet,
    font: axisFont(),
    grid: { show: true, stroke: () => palette().rule, width: 1 },
    ticks: { show: false },
    gap: 8,
    size: (plot, values) => widest(plot, values) + rem() * 0.6,
    splits: (_, __, min, max) => (min < 0 ? [min, 0, max] : [0, max / 2, max]),
    values: (_, amounts) => amounts.map(label),
  };
}

function widest(plot: uPlot, values: string[] | null): number {
  plot.ctx.save();
  plot.ctx.font = axisFont();
  const width = Math.max(rem() * 2, ...(values ?? []).map((value) => plot.ctx.measureText(value).width));
  plot.ctx.restore();
  return width;
}
