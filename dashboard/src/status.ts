/** The one sentence at the top: what the board knows about itself right now. */

import { plural } from "./count.ts";
import { type Line, freshness, isLost } from "./freshness.ts";
import { formatAge, formatSecond } from "./time.ts";
import type { Board, Notice } from "./wire.ts";

/** How long good news and remarks stay in the strip; a fault stays until it is healed, or is too old to be true. */
export const REMARK_SECONDS = 30;
export const FAULT_SECONDS = 600;

export type Mood = "connecting" | "live" | "stale" | "lost";

export interface Status {
  mood: Mood;
  /** Changes only when the mood does: this is what a screen reader hears. */
  title: string;
  /** The same with moments and ages, for the eye. */
  detail: string;
}

export function statusOf(board: Board | null, line: Line, refusal: string | null): Status {
  if (board === null) return beforeFirstFrame(refusal);
  if (isLost(line)) {
    const since = `Every figure here is from ${formatSecond(Date.parse(board.asOf), board.timeZone)}, ${formatAge(line.silentSeconds)} ago`;
    return { mood: "lost", title: "No connection", detail: `${since}. ${refusal ?? "Trying again"}.` };
  }
  const money = freshness(board, "money", line);
  const behaviour = freshness(board, "behaviour", line);
  const oldest = Math.min(money.completeTo, behaviour.completeTo);
  if (!money.stale && !behaviour.stale) {
    return { mood: "live", title: "Live", detail: `Everything up to ${formatSecond(oldest, board.timeZone)} is counted` };
  }
  const late = [
    money.stale ? `orders ${formatAge(money.ageSeconds)} behind` : "orders up to date",
    behaviour.stale ? `visits ${formatAge(behaviour.ageSeconds)} behind` : "visits up to date",
  ];
  return { mood: "stale", title: "Figures are stale", detail: late.join(", ") + waiting(board) };
}

/** What is acknowledged and not yet counted is kept: say so while it matters. */
function waiting(board: Board): string {
  const { pending } = board.ledger.total;
  return pending > 0 ? `; ${plural(pending, "event is", "events are")} kept and waiting` : "";
}

function beforeFirstFrame(refusal: string | null): Status {
  return refusal === null
    ? { mood: "connecting", title: "Connecting", detail: "Waiting for the first figures" }
    : { mood: "lost", title: "No connection", detail: refusal };
}

/** The notice that still matters: an open fault first, else the latest one while it is news. */
export function currentNotice(notices: Notice[], asOf: number): Notice | null {
  const age = (notice: Notice) => (asOf - Date.parse(notice.at)) / 1000;
  const turning = notices.find((notice) => notice.kind !== "info");
  if (turning?.kind === "fault" && age(turning) <= FAULT_SECONDS) return turning;
  const latest = notices[0];
  return latest !== undefined && latest.kind !== "fault" && age(latest) <= REMARK_SECONDS ? latest : null;
}

/** Whether this shop has never heard of anything. */
export function isEmpty(board: Board): boolean {
  return board.ledger.total.acknowledged === 0 && board.orders.length === 0;
}

