/** The live board: frames come in through the connection, the page is drawn at most once per screen refresh. */

import "@fontsource-variable/hanken-grotesk/index.css";
import "uplot/dist/uPlot.min.css";
import "./base.css";
import "./frame.css";
import "./tile.css";
import "./sales.css";
import "./funnel.css";
import "./chart.css";
import "./products.css";
import "./ledger.css";
import "./parked.css";
import "./latest.css";
import "./tracking.css";
import "./welcome.css";

import { formatCount, plural } from "./count.ts";
import { need, put, show } from "./dom.ts";
import { FunnelTile } from "./funnel.ts";
import { LatestTile } from "./latest.ts";
import { LedgerTile } from "./ledger.ts";
import { leftOutOf } from "./leftout.ts";
import { Connection } from "./line.ts";
import { formatMoney } from "./money.ts";
import { PaceTiles } from "./pace.ts";
import { ParkedTile } from "./parked.ts";
import { ProductsTile } from "./products.ts";
import { SalesTile, currenciesOf } from "./sales.ts";
import { Stamps } from "./stamps.ts";
import { isEmpty, statusOf } from "./status.ts";
import { Strip } from "./strip.ts";
import { TrackingPage } from "./tracking.ts";
import type { Board } from "./wire.ts";

/** Ages and the clock move on while nothing arrives. */
const TICK_MS = 250;

const strip = new Strip();
const stamps = new Stamps(document);
const sales = new SalesTile(choose);
const pace = new PaceTiles();
const funnel = new FunnelTile();
const products = new ProductsTile();
const ledger = new LedgerTile();
const parked = new ParkedTile();
const latest = new LatestTile();
const shop = new URLSearchParams(location.search).get("shop") ?? "default";
const connection = new Connection(shop, schedule);
const tracking = new TrackingPage(shop, () => {
  drawn = null;
  schedule();
});

let chosen: string | null = null;
let drawn: Board | null = null;
let scheduled = false;

function choose(currency: string): void {
  chosen = currency;
  drawn = null;
  schedule();
}

function schedule(): void {
  if (scheduled) return;
  scheduled = true;
  requestAnimationFrame(() => {
    scheduled = false;
    draw();
  });
}

function draw(): void {
  const { board, line } = connection;
  const status = statusOf(board, line, connection.refusal);
  if (board === null) {
    strip.renderStatus(status);
    return;
  }
  strip.render(board, status, Date.parse(board.asOf) + line.silentSeconds * 1000);
  stamps.render(board, line);
  const currencies = currenciesOf(board);
  const currency = chosen !== null && currencies.includes(chosen) ? chosen : (currencies[0] ?? null);
  // What is unknown grows while nothing arrives.
  if (drawn !== board || status.mood === "lost") pace.render(board, currency, line);
  if (drawn !== board) drawFigures(board, currency);
  drawn = board;
  document.title = titleOf(board, currency, status.mood === "lost");
}

/** What changes with a frame only. */
function drawFigures(board: Board, currency: string | null): void {
  const empty = isEmpty(board);
  show(need(document, "#welcome"), empty && !tracking.open);
  show(need(document, "#columns"), !empty && !tracking.open);
  const rejected = board.ledger.total.rejected;
  show(need(document, "#welcome-rejected"), rejected > 0);
  put(need(document, "#welcome-rejected"), `${plural(rejected, "message was", "messages were")} rejected; GET /api/v1/ledger says why.`);
  sales.render(board, currency);
  put(need(document, "#visitors"), formatCount(board.visitors));
  put(need(document, "#carts"), formatCount(board.carts));
  const leftOut = leftOutOf(board.leftOut);
  show(need(document, "#left-out"), leftOut !== "");
  put(need(document, "#left-out"), leftOut);
  funnel.render(board);
  products.render(board, currency);
  ledger.render(board);
  parked.render(board);
  latest.render(board);
}

function titleOf(board: Board, currency: string | null, lost: boolean): string {
  if (lost) return "No connection · Rushlight";
  const today = currency === null ? undefined : board.today.currencies[currency];
  return today === undefined || currency === null ? "Rushlight" : `${formatMoney(today.net, currency)} · Rushlight`;
}

setInterval(schedule, TICK_MS);
schedule();
