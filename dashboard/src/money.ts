/** Money as text: formatted from the decimal string itself, so no amount ever passes through a float. */

import type { Money } from "./wire.ts";

/** The largest part of an amount, then the decimals, so that the decimals can be set smaller. */
export interface MoneyParts {
  before: string;
  fraction: string;
  after: string;
}

const formats = new Map<string, Intl.NumberFormat | null>();

/** "1234.50" in USD → "$1,234.50"; the digits are those of the string, whatever the browser thinks of the currency. */
export function formatMoney(amount: Money, currency: string, locale?: string): string {
  const { before, fraction, after } = moneyParts(amount, currency, locale);
  return before + fraction + after;
}

export function moneyParts(amount: Money, currency: string, locale?: string): MoneyParts {
  const digits = amount.split(".")[1]?.length ?? 0;
  const format = formatOf(currency, digits, locale);
  if (format === null) return { before: amount, fraction: "", after: ` ${currency}` };
  const parts = format.formatToParts(amount as Intl.StringNumericLiteral);
  const decimal = parts.findIndex((part) => part.type === "decimal");
  const join = (some: Intl.NumberFormatPart[]) => some.map((part) => part.value).join("");
  if (decimal < 0) return { before: join(parts), fraction: "", after: "" };
  return {
    before: join(parts.slice(0, decimal)),
    fraction: join(parts.slice(decimal, decimal + 2)),
    after: join(parts.slice(decimal + 2)),
  };
}

/** A round figure for an axis: 12500 in USD → "$12.5K". Only for scales, never for an amount. */
export function formatScale(value: number, currency: string, locale?: string): string {
  const key = `${locale ?? ""}|${currency}|scale`;
  const format = cached(key, () => ({
    style: "currency",
    currency,
    notation: "compact",
    minimumFractionDigits: 0,
    maximumFractionDigits: 2,
  }), locale);
  return format === null ? String(value) : format.format(value);
}

/** The amount as a number, for lengths of bars only. */
export function magnitude(amount: Money | undefined): number {
  return amount === undefined ? 0 : Number(amount);
}

function formatOf(currency: string, digits: number, locale?: string): Intl.NumberFormat | null {
  return cached(`${locale ?? ""}|${currency}|${digits}`, () => ({
    style: "currency",
    currency,
    minimumFractionDigits: digits,
    maximumFractionDigits: digits,
  }), locale);
}

/** Null where the browser refuses the currency's code. */
function cached(key: string, options: () => Intl.NumberFormatOptions, locale?: string): Intl.NumberFormat | null {
  let format = formats.get(key);
  if (format === undefined) {
    try {
      format = new Intl.NumberFormat(locale, options());
    } catch {
      format = null;
    }
    formats.set(key, format);
  }
  return format;
}
