/** What is drawn over the bars: time that is not counted yet, and moments when something was announced. */

import uPlot from "uplot";
import { palette } from "./palette.ts";

export interface Mark {
  at: number;
  kind: "info" | "fault" | "healed";
}

/** Diagonal amber lines over the time that is not yet counted. */
export function hatch(plot: uPlot, from: number, to: number): void {
  const { ctx, bbox } = plot;
  const left = plot.valToPos(from, "x", true);
  const width = Math.max(plot.valToPos(to, "x", true) - left, uPlot.pxRatio * 4);
  ctx.save();
  ctx.beginPath();
  ctx.rect(left, bbox.top, width, bbox.height);
  ctx.clip();
  ctx.strokeStyle = palette().amber;
  ctx.lineWidth = uPlot.pxRatio * 1.25;
  ctx.beginPath();
  const step = uPlot.pxRatio * 6;
  for (let x = left - bbox.height; x < left + width; x += step) {
    ctx.moveTo(x, bbox.top + bbox.height);
    ctx.lineTo(x + bbox.height, bbox.top);
  }
  ctx.stroke();
  ctx.restore();
}

/** A thin line with a small pennant where something was announced. */
export function flag(plot: uPlot, mark: Mark): void {
  const { ctx, bbox } = plot;
  const x = Math.round(plot.valToPos(mark.at, "x", true));
  const colours = palette();
  ctx.fillStyle = mark.kind === "fault" ? colours.red : mark.kind === "healed" ? colours.accent : colours.quiet;
  ctx.fillRect(x, bbox.top, uPlot.pxRatio, bbox.height);
  ctx.beginPath();
  ctx.arc(x + uPlot.pxRatio / 2, bbox.top, uPlot.pxRatio * 3, 0, 2 * Math.PI);
  ctx.fill();
}
