/** The colours and the type of the style sheet, for what is drawn on a canvas. */

export interface Palette {
  ink: string;
  quiet: string;
  rule: string;
  accent: string;
  accentSoft: string;
  neutral: string;
  neutralSoft: string;
  amber: string;
  red: string;
}

const NAMES: Record<keyof Palette, string> = {
  ink: "--ink",
  quiet: "--ink-3",
  rule: "--rule",
  accent: "--accent",
  accentSoft: "--accent-soft",
  neutral: "--bar",
  neutralSoft: "--bar-soft",
  amber: "--amber",
  red: "--red",
};

let current: Palette | null = null;
const listeners: (() => void)[] = [];

export function palette(): Palette {
  if (current === null) {
    const style = getComputedStyle(document.documentElement);
    current = Object.fromEntries(
      Object.entries(NAMES).map(([key, name]) => [key, style.getPropertyValue(name).trim()]),
    ) as unknown as Palette;
  }
  return current;
}

/** Calls back when the colours or the faces of the page have changed. */
export function onRepaint(listener: () => void): void {
  listeners.push(listener);
}

/** The root's font size in CSS pixels; everything on a canvas is sized from it. */
export function rem(): number {
  return Number.parseFloat(getComputedStyle(document.documentElement).fontSize);
}

export function axisFont(): string {
  // Whole pixels: uPlot scales the number it finds in front of "px" for dense screens.
  return `${Math.round(rem() * 0.8)}px ${getComputedStyle(document.body).fontFamily}`;
}

export function calmMotion(): boolean {
  return matchMedia("(prefers-reduced-motion: reduce)").matches;
}

function repaint(): void {
  current = null;
  for (const listener of listeners) listener();
}

matchMedia("(prefers-color-scheme: dark)").addEventListener("change", repaint);
void document.fonts.ready.then(repaint);
