/** The connection: feeds frames in, asks again on a gap, and knows how long it has heard nothing. */

import { type Socket, io } from "socket.io-client";
import { Feed } from "./feed.ts";
import type { Line } from "./freshness.ts";
import type { Board, Frame } from "./wire.ts";

const RESYNC_AGAIN_MS = 2_000;
const TURNED_AWAY_AGAIN_MS = 3_000;

export class Connection {
  /** What the server said when it would not let us in. */
  refusal: string | null = null;
  #feed = new Feed();
  #socket: Socket;
  #lastFrameAt: number | null = null;
  #resyncAt = -Infinity;

  constructor(shop: string, private readonly changed: () => void) {
    const base = new URL(".", document.baseURI);
    this.#socket = io(new URL("/live", base).href, {
      path: new URL("socket.io/", base).pathname,
      auth: { shop },
      transports: ["websocket", "polling"],
      tryAllTransports: true,
      reconnectionDelayMax: 3_000,
    });
    this.#socket.on("connect", () => this.#connected());
    this.#socket.on("disconnect", () => this.#disconnected());
    this.#socket.on("connect_error", (error) => this.#failed(error));
    this.#socket.on("analyticsUpdate", (frame: Frame) => this.#take(frame));
  }

  get board(): Board | null {
    return this.#feed.board;
  }

  /** The state of the line at this moment. */
  get line(): Line {
    const last = this.#lastFrameAt;
    return {
      connected: this.#socket.connected,
      silentSeconds: last === null ? 0 : (performance.now() - last) / 1000,
    };
  }

  #connected(): void {
    this.refusal = null;
    this.changed();
  }

  // At the end of a connection, not at the start of the next: the first snapshot may come before "connect" is told.
  #disconnected(): void {
    this.#feed.restart();
    this.#again();
    this.changed();
  }

  #failed(error: Error): void {
    if (!this.#socket.active) this.refusal = `The server refused: ${error.message}`;
    this.#again();
    this.changed();
  }

  /** A socket that the server itself closed or refused does not try again by itself; any other does. */
  #again(): void {
    if (!this.#socket.active) setTimeout(() => this.#socket.connect(), TURNED_AWAY_AGAIN_MS);
  }

  #take(frame: Frame): void {
    if (this.#feed.apply(frame) === "applied") {
      this.#lastFrameAt = performance.now();
      this.#resyncAt = -Infinity;
      this.changed();
    } else if (performance.now() - this.#resyncAt > RESYNC_AGAIN_MS) {
      this.#resyncAt = performance.now();
      this.#socket.emit("resync");
    }
  }
}
