/** "Is my tracking right?": what senders send as it arrives, and a list of checks; asked for each second while it is open. */

import { formatCount, plural } from "./count.ts";
import { Rows, make, need, put, show } from "./dom.ts";
import { formatSecond } from "./time.ts";

export const ANCHOR = "#tracking";
const ASK_MS = 1_000;
const ANSWER_MS = 10_000;

export type Verdict = "bad" | "look" | "good" | "idle";

export interface Check {
  id: string;
  title: string;
  verdict: Verdict;
  detail: string;
}

export interface Tracked {
  id: string;
  at: string;
  state: "accepted" | "duplicate" | "rejected";
  name: string;
  original?: string;
  source?: string;
  dialect?: string;
  library?: string;
  key?: string;
  visitor?: string;
  customer?: string;
  channel?: string;
  device?: string;
  bot?: boolean;
  test?: boolean;
  field?: string;
  reason?: string;
  sample?: string;
}

export interface Tracking {
  present: string;
  timeZone: string;
  events: Tracked[];
  names: Record<string, number>;
  countedSince: string;
  checks: Check[];
}

const COUNTED_MS = 300_000;
const SIGNS: Record<Verdict, string> = { bad: "×", look: "!", good: "✓", idle: "–" };
const WORDS: Record<Verdict, string> = { bad: "wrong", look: "worth a look", good: "right", idle: "nothing to tell yet" };
const STATES: Record<Tracked["state"], string> = { accepted: "taken", duplicate: "a repeat", rejected: "turned away" };

export class TrackingPage {
  #page = need(document, ANCHOR);
  #timer: ReturnType<typeof setInterval> | undefined;
  #asking = false;
  #timeZone = "UTC";
  #checks = new Rows<Check>(
    need(document, "#tracking-checks"),
    (check) => check.id,
    () => make("li", "", make("span", "sign"), make("strong"), make("span", "unseen"), make("p")),
    (row, check) => {
      row.dataset["verdict"] = check.verdict;
      put(need(row, ".sign"), SIGNS[check.verdict]);
      put(need(row, "strong"), check.title);
      put(need(row, ".unseen"), `: ${WORDS[check.verdict]}`);
      put(need(row, "p"), check.detail);
    },
  );
  #events = new Rows<Tracked>(
    need(document, "#tracking-events"),
    (event) => event.id,
    () =>
      make(
        "li",
        "",
        make("time"),
        make("bdi", "name"),
        make("span", "state"),
        make("bdi", "who"),
        make("bdi", "from"),
        make("bdi", "reason"),
        make("details", "", make("summary", "", "The event"), make("pre")),
      ),
    (row, event) => {
      row.dataset["state"] = event.state;
      put(need(row, "time"), formatSecond(Date.parse(event.at), this.#timeZone));
      put(need(row, ".name"), nameOf(event));
      put(need(row, ".state"), STATES[event.state]);
      put(need(row, ".who"), whoOf(event));
      put(need(row, ".from"), fromOf(event));
      put(need(row, ".reason"), reasonOf(event));
      show(need(row, "details"), (event.sample ?? "") !== "");
      put(need(row, "pre"), laidOut(event.sample ?? ""));
    },
  );
  #names = new Rows<[string, number]>(
    need(document, "#tracking-names"),
    ([name]) => name,
    () => make("div", "", make("dt", "", make("bdi")), make("dd")),
    (row, [name, n]) => {
      put(need(row, "bdi"), name);
      put(need(row, "dd"), formatCount(n));
    },
  );

  constructor(
    private readonly shop: string,
    private readonly changed: () => void,
  ) {
    addEventListener("hashchange", () => this.#turn(true));
    document.addEventListener("visibilitychange", () => this.#turn(false));
    this.#turn(false);
  }

  /** Whether it stands in the place of the board. */
  get open(): boolean {
    return location.hash === ANCHOR;
  }

  #turn(asked: boolean): void {
    const wasOpen = !this.#page.hidden;
    show(this.#page, this.open);
    show(need(document, "#tracking-open"), !this.open);
    if (this.open !== wasOpen) {
      if (this.open) {
        show(need(document, "#columns"), false);
        show(need(document, "#welcome"), false);
      }
      this.changed();
      if (asked) (this.open ? this.#page : need(document, "#tracking-open")).focus();
    }
    clearInterval(this.#timer);
    this.#timer = undefined;
    if (this.open && document.visibilityState === "visible") {
      this.#timer = setInterval(() => void this.#ask(), ASK_MS);
      void this.#ask();
    }
  }

  async #ask(): Promise<void> {
    if (this.#asking) return;
    this.#asking = true;
    try {
      const url = new URL(`api/v1/tracking?shop=${encodeURIComponent(this.shop)}`, document.baseURI);
      const answer = await fetch(url, { signal: AbortSignal.timeout(ANSWER_MS) });
      if (answer.ok) this.#render((await answer.json()) as Tracking);
      else this.#fail();
    } catch {
      this.#fail();
    } finally {
      this.#asking = false;
    }
  }

  #fail(): void {
    this.#page.dataset["old"] = "";
    put(need(document, "#tracking-sum"), "No answer. What is below is old; trying again.");
  }

  #render(told: Tracking): void {
    delete this.#page.dataset["old"];
    this.#timeZone = told.timeZone;
    put(need(document, "#tracking-sum"), summary(told.checks));
    this.#checks.render(told.checks);
    this.#events.render(told.events);
    show(need(document, "#tracking-nothing"), told.events.length === 0);
    this.#names.render(Object.entries(told.names));
    put(need(document, "#tracking-since"), since(told));
    show(need(document, ".names"), Object.keys(told.names).length > 0);
  }
}

/** From when on events are counted by name: five minutes ago, or later, where more came than is looked at. */
export function since({ present, countedSince, timeZone }: Pick<Tracking, "present" | "countedSince" | "timeZone">): string {
  const from = Date.parse(countedSince);
  if (Date.parse(present) - from >= COUNTED_MS) return "Taken in the last 5 minutes";
  return `Taken since ${formatSecond(from, timeZone)}`;
}

/** The checks in one sentence. */
export function summary(checks: Check[]): string {
  const count = (verdict: Verdict) => checks.filter((check) => check.verdict === verdict).length;
  const [bad, look, good] = [count("bad"), count("look"), count("good")];
  if (bad > 0) {
    const more = look > 0 ? `, ${plural(look, "is", "are")} worth a look` : "";
    return `${plural(bad, "thing is", "things are")} wrong${more}.`;
  }
  if (look > 0) return `Nothing is wrong; ${plural(look, "thing is", "things are")} worth a look.`;
  return good > 0 ? "All that can be told so far is right." : "Nothing can be told yet.";
}

/** The event's name, and the one it was sent under where that is another. */
export function nameOf({ name, original, state, sample }: Tracked): string {
  if (name === "") return state !== "rejected" ? "an event" : sample ? "an event without a name" : "a whole request";
  return original !== undefined && original !== name ? `${name} (sent as ${original})` : name;
}

export function whoOf({ visitor, customer, channel, device, bot, test }: Tracked): string {
  const marks = [bot === true ? "a bot" : "", test === true ? "a test" : ""];
  const parts = [visitor && `visitor ${visitor}`, customer && `customer ${customer}`, channel, device, ...marks];
  return parts.filter((part) => part !== undefined && part !== "").join(", ");
}

export function fromOf({ dialect, library, source, key }: Tracked): string {
  const by = library ?? dialect ?? source ?? "";
  return [by, key === undefined ? "" : `key ${key}`].filter((part) => part !== "").join(", ");
}

export function reasonOf({ field, reason }: Tracked): string {
  return [field, reason].filter((part) => part !== undefined && part !== "").join(": ");
}

/** JSON on several lines; a sample that was cut is no JSON and stays as it is. */
export function laidOut(sample: string): string {
  try {
    return JSON.stringify(JSON.parse(sample), null, 2);
  } catch {
    return sample;
  }
}
