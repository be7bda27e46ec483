/** What happens between saving an order and answering the shopper: the three variants differ in nothing else. */
import type { DomainEvent } from '../events/order-created.event.js';

export const AFTER_ORDER = Symbol('AFTER_ORDER');
export type AfterOrder = (event: DomainEvent) => Promise<void>;
