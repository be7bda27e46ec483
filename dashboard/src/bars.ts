/** One bar a minute: the running minute is paler, what is not yet complete is hatched, and faults leave a mark. */

import uPlot from "uplot";
import { Canvas, type Shape, amountAxis, timeAxis } from "./canvas.ts";
import { type Mark, flag, hatch } from "./marks.ts";
import { niceCeiling } from "./minutes.ts";
import { calmMotion, palette, rem } from "./palette.ts";

const EASE_MS = 260;
/** A bar that grows by a few pixels needs no more pictures than this. */
const EASE_STEP_MS = 45;
/** A label every ten minutes, or every five in a short window. */
const LABEL_SECONDS = { long: 600, short: 300 };
const SHORT_SECONDS = 1800;

export interface Picture {
  /** Seconds since the epoch, one a minute. */
  starts: number[];
  values: number[];
  marks: Mark[];
  /** From here to `now` the figures are not complete; null when they are. */
  unknownFrom: number | null;
  now: number;
}

export interface BarsOptions {
  tone: "accent" | "neutral";
  /** The axis never ends below this. */
  least: number;
  amount: (value: number) => string;
  minute: (second: number) => string;
  /** The reader points at a minute, or at none. */
  picked: (index: number | null) => void;
}

export class Bars {
  #canvas: Canvas;
  #picture: Picture = { starts: [], values: [], marks: [], unknownFrom: null, now: 0 };
  #shown: number[] = [];
  #from: number[] = [];
  #easeStart: number | null = null;
  #index: number | null = null;

  constructor(host: HTMLElement, private readonly options: BarsOptions) {
    this.#canvas = new Canvas(host, () => this.#shape());
    host.addEventListener("keydown", (event) => this.#key(event));
    host.addEventListener("blur", () => this.#point(null));
  }

  draw(picture: Picture): void {
    const shift = minutesBetween(this.#picture.starts, picture.starts);
    const old = this.#shown;
    this.#from = picture.values.map((value, i) => (old.length === 0 ? value : (old[i + shift] ?? 0)));
    this.#picture = picture;
    const moved = picture.values.some((value, i) => value !== this.#from[i]);
    if (!moved || calmMotion() || document.hidden) {
      this.#easeStart = null;
      this.#paint(1);
      return;
    }
    if (this.#easeStart === null) setTimeout(() => this.#ease(), EASE_STEP_MS);
    this.#easeStart = performance.now();
  }

  #ease(): void {
    if (this.#easeStart === null) return;
    const share = Math.min(1, (performance.now() - this.#easeStart) / EASE_MS);
    this.#paint(1 - (1 - share) ** 3);
    if (share < 1) setTimeout(() => this.#ease(), EASE_STEP_MS);
    else this.#easeStart = null;
  }

  #paint(share: number): void {
    const { starts, values } = this.#picture;
    this.#shown = values.map((value, i) => {
      const from = this.#from[i] ?? value;
      return from + (value - from) * share;
    });
    const last = values.length - 1;
    const done = this.#shown.map((value, i) => (i === last ? null : value));
    const running = this.#shown.map((value, i) => (i === last ? value : null));
    this.#canvas.set([starts, done, running]);
  }

  #range(): [number, number] {
    const top = niceCeiling(Math.max(this.options.least, ...this.#picture.values));
    return [-niceCeiling(-Math.min(0, ...this.#picture.values)), top];
  }

  #shape(): Shape {
    const bar = uPlot.paths.bars!({ size: [0.72, 64], align: 1, gap: 0 });
    // Stale figures lose their colour.
    const accent = () => this.options.tone === "accent" && this.#picture.unknownFrom === null;
    const strong = () => (accent() ? palette().accent : palette().neutral);
    const soft = () => (accent() ? palette().accentSoft : palette().neutralSoft);
    const series = (colour: () => string): uPlot.Series => ({
      paths: bar,
      fill: colour,
      width: 0,
      points: { show: false },
    });
    return {
      padding: [rem() * 0.5, 0, 0, 2],
      cursor: { y: false, points: { show: false }, drag: { x: false, y: false } },
      scales: { x: { range: () => this.#span() }, y: { range: () => this.#range() } },
      axes: [
        timeAxis((min, max) => labelled(min, max), (second) => this.options.minute(second)),
        amountAxis((value) => this.options.amount(value)),
      ],
      series: [{}, series(strong), series(soft)],
      hooks: {
        draw: [(plot) => this.#annotate(plot)],
        setCursor: [(plot) => this.#pointed(plot.cursor.left, plot)],
      },
    };
  }

  #span(): [number, number] {
    const { starts } = this.#picture;
    const first = starts[0] ?? 0;
    return [first, (starts.at(-1) ?? first) + 60];
  }

  #annotate(plot: uPlot): void {
    const { marks, unknownFrom, now } = this.#picture;
    const [first] = this.#span();
    plot.ctx.save();
    if (unknownFrom !== null) hatch(plot, Math.max(first, unknownFrom), now);
    for (const mark of marks) if (mark.at >= first) flag(plot, mark);
    plot.ctx.restore();
  }

  #pointed(left: number | undefined, plot: uPlot): void {
    const second = left === undefined || left < 0 ? null : plot.posToVal(left, "x");
    const index = second === null ? -1 : this.#picture.starts.findLastIndex((start) => start <= second);
    this.#index = index < 0 ? null : index;
    this.options.picked(this.#index);
  }

  #key(event: KeyboardEvent): void {
    const last = this.#picture.starts.length - 1;
    const here = this.#index ?? last + 1;
    const next = { ArrowLeft: here - 1, ArrowRight: here + 1, Home: 0, End: last }[event.key];
    if (next !== undefined) {
      event.preventDefault();
      this.#point(Math.min(last, Math.max(0, next)));
    } else if (event.key === "Escape") {
      this.#point(null);
    }
  }

  #point(index: number | null): void {
    const start = index === null ? undefined : this.#picture.starts[index];
    const left = start === undefined ? -10 : (this.#canvas.plot?.valToPos(start + 30, "x") ?? -10);
    this.#canvas.plot?.setCursor({ left, top: left < 0 ? -10 : 0 });
  }
}

function minutesBetween(old: number[], next: number[]): number {
  return old[0] === undefined || next[0] === undefined ? 0 : Math.round((next[0] - old[0]) / 60);
}

function labelled(min: number, max: number): number[] {
  const every = max - min > SHORT_SECONDS ? LABEL_SECONDS.long : LABEL_SECONDS.short;
  // A label at the very edge would be cut off.
  const first = Math.ceil((min + (max - min) / 30) / every) * every;
  const count = Math.floor((max - first) / every) + 1;
  return Array.from({ length: Math.max(0, count) }, (_, i) => first + i * every);
}
