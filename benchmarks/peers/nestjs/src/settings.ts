/** What a process of the peer reads from its environment, once, at its front door. */
const ANALYTICS_VARIANTS = ['none', 'request', 'events'] as const;
const CONSUMER_ORDERS = ['concurrent', 'ordered'] as const;

export type AnalyticsVariant = (typeof ANALYTICS_VARIANTS)[number];
export type ConsumerOrder = (typeof CONSUMER_ORDERS)[number];

export interface Settings {
  readonly mongoUrl: string;
  readonly redisUrl: string;
  readonly port: number;
  readonly analytics: AnalyticsVariant;
  readonly consumerOrder: ConsumerOrder;
}

export function readSettings(environment: NodeJS.ProcessEnv = process.env): Settings {
  return {
    mongoUrl: required(environment, 'MONGO_URL'),
    redisUrl: required(environment, 'REDIS_URL'),
    port: Number(environment.PORT ?? 3000),
    analytics: oneOf(environment, 'ANALYTICS', ANALYTICS_VARIANTS, 'events'),
    consumerOrder: oneOf(environment, 'CONSUMER_ORDER', CONSUMER_ORDERS, 'concurrent'),
  };
}

function required(environment: NodeJS.ProcessEnv, name: string): string {
  const value = environment[name];
  if (!value) {
    throw new Error(`${name} is not set`);
  }
  return value;
}

function oneOf<T extends string>(
  environment: NodeJS.ProcessEnv,
  name: string,
  allowed: readonly T[],
  fallback: T,
): T {
  const value = environment[name] ?? fallback;
  const found = allowed.find((each) => each === value);
  if (!found) {
    throw new Error(`${name} is "${value}": use one of ${allowed.join(', ')}`);
  }
  return found;
}
