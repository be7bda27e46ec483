/** What is in no figure: machines, tests, and visitors who did not agree to be measured. */

import { plural } from "./count.ts";
import type { LeftOut } from "./wire.ts";

/** One sentence, or nothing where nothing was left out. */
export function leftOutOf(leftOut: LeftOut | undefined): string {
  if (leftOut === undefined) return "";
  const { botEvents, testEvents, testOrders, unmeasuredEvents } = leftOut;
  const parts = [
    botEvents > 0 ? `${plural(botEvents, "event", "events")} by bots` : "",
    testOrders > 0 ? plural(testOrders, "test order", "test orders") : "",
    testEvents > 0 ? plural(testEvents, "test event", "test events") : "",
    unmeasuredEvents > 0 ? `${plural(unmeasuredEvents, "event", "events")} without consent (products only)` : "",
  ].filter((part) => part !== "");
  return parts.length > 0 ? `Not in today's figures: ${parts.join(", ")}` : "";
}
