/** Moments as text in the shop's time zone, and ages as text. */

const formats = new Map<string, Intl.DateTimeFormat>();

/** "12:00:03" in the zone. */
export function formatSecond(moment: number, timeZone: string): string {
  return formatOf(timeZone, true).format(moment);
}

/** "12:00" in the zone. */
export function formatMinute(moment: number, timeZone: string): string {
  return formatOf(timeZone, false).format(moment);
}

/** "5 Jan 2026" in the zone. */
export function formatDay(moment: number, timeZone: string): string {
  const zone = zoneName(timeZone);
  return new Intl.DateTimeFormat("en-GB", { timeZone: zone, day: "numeric", month: "short", year: "numeric" }).format(moment);
}

/** 0.4 → "0.4 s", 75 → "1 min 15 s", 3700 → "1 h 01 min". */
export function formatAge(seconds: number): string {
  if (seconds < 9.95) return `${Math.max(0, seconds).toFixed(1)} s`;
  const s = Math.floor(seconds);
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min ${two(s % 60)} s`;
  return `${Math.floor(s / 3600)} h ${two(Math.floor(s / 60) % 60)} min`;
}

function two(n: number): string {
  return String(n).padStart(2, "0");
}

/** A zone the browser does not know is shown in UTC, and `zoneName` says so. */
function formatOf(timeZone: string, seconds: boolean): Intl.DateTimeFormat {
  const key = `${timeZone}|${seconds}`;
  let format = formats.get(key);
  if (format === undefined) {
    format = new Intl.DateTimeFormat("en-GB", {
      timeZone: zoneName(timeZone),
      hour: "2-digit",
      minute: "2-digit",
      hourCycle: "h23",
      ...(seconds ? { second: "2-digit" } : {}),
    });
    formats.set(key, format);
  }
  return format;
}

export function zoneName(timeZone: string): string {
  try {
    new Intl.DateTimeFormat("en-GB", { timeZone });
    return timeZone;
  } catch {
    return "UTC";
  }
}
