/** Counts and shares as text, in the reader's language. */

const whole = new Intl.NumberFormat();
const tenth = new Intl.NumberFormat(undefined, { minimumFractionDigits: 1, maximumFractionDigits: 1 });
const share = new Intl.NumberFormat(undefined, { style: "percent", minimumFractionDigits: 1, maximumFractionDigits: 1 });

export function formatCount(n: number): string {
  return whole.format(n);
}

/** A rate: one decimal below ten, none above. */
export function formatRate(perSecond: number): string {
  return perSecond < 10 && perSecond >= 0.05 ? tenth.format(perSecond) : whole.format(Math.round(perSecond));
}

/** part / all as "12.3%"; a dash where there is nothing to divide by. */
export function formatShare(part: number, all: number): string {
  return all > 0 ? share.format(part / all) : "–";
}

/** "1 item", "3 items". */
export function plural(n: number, one: string, many: string): string {
  return `${formatCount(n)} ${n === 1 ? one : many}`;
}
