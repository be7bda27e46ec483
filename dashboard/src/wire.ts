/** The shape of `analyticsUpdate`: a snapshot holds every figure, a delta only those that changed. */

/** A decimal string with the currency's own digits, such as "12.00"; never a float. */
export type Money = string;

/** A moment of the server's clock, ISO 8601 with offset. */
export type Instant = string;

export interface Sales {
  orders: number;
  units: number;
  gross: Money;
  discounts: Money;
  refunds: Money;
  net: Money;
  tax: Money;
  shipping: Money;
  aov: Money;
}

export interface Point {
  at: Instant;
  orders: number;
  units: number;
  gross: Money;
  discounts: Money;
  refunds: Money;
  net: Money;
}

export type ByCurrency<T> = Record<string, T>;

export interface Series {
  step: "minute";
  from: Instant;
  currencies: ByCurrency<Point[]>;
}

export interface FunnelStep {
  step: string;
  sessions: number;
}

export interface Product {
  productId: string;
  name: string | null;
  category: string | null;
  views: number;
  adds: number;
  currencies: ByCurrency<{ units: number; net: Money }>;
}

export interface Order {
  orderId: string;
  at: Instant;
  currency: string;
  total: Money;
  items: number;
  country: string | null;
  customerId: string | null;
  status: string;
}

export interface LedgerCounts {
  acknowledged: number;
  stored: number;
  duplicate: number;
  parked: number;
  dropped: number;
  pending: number;
  rejected: number;
}

export interface Ledger {
  balanced: boolean;
  asOf: Instant;
  total: LedgerCounts;
  sources: Record<string, LedgerCounts>;
  unreachable?: string[];
  rejectedBy?: Record<string, number>;
}

/** What is in no figure today; of the unmeasured, who did not agree to be measured, products are counted. */
export interface LeftOut {
  botEvents: number;
  testEvents: number;
  testOrders: number;
  unmeasuredEvents: number;
}

export interface Notice {
  at: Instant;
  text: string;
  kind: "info" | "fault" | "healed";
}

/** Events that could not be processed, the oldest aggregates, and records that nobody could read. */
export interface Parked {
  events: number;
  /** There are more than these, which were not counted. */
  more: boolean;
  total: number;
  aggregates: { aggregateId: string; events: number; since: Instant; reason: string }[];
  unreadable: number;
}

export interface CompleteTo {
  money: Instant;
  behaviour: Instant;
}

/** What every frame carries. */
export interface Head {
  shop: string;
  version: number;
  asOf: Instant;
  completeTo: CompleteTo;
}

/** The figures of the board; a delta carries some of them. */
export interface Figures {
  timeZone: string;
  today: { from: Instant; currencies: ByCurrency<Sales> };
  series: Series;
  funnel: { steps: FunnelStep[] };
  products: Product[];
  visitors: number;
  carts: number;
  leftOut?: LeftOut;
  orders: Order[];
  ledger: Ledger;
  rate: { eventsPerSecond: number };
  notices: Notice[];
  warnings: string[];
  parked?: Parked | null;
}

export type Board = Head & Figures;
export type Frame = Head & Partial<Figures> & { snapshot?: boolean };
