/** The one event of this design: an order was saved. */
export const ORDER_CREATED = 'OrderCreatedEvent';

export interface OrderCreatedPayload {
  orderId: string;
  customerId: string;
  currency: string;
  total: number;
  lines: { productId: string; name: string; quantity: number; amount: number }[];
}

export interface DomainEvent {
  eventName: typeof ORDER_CREATED;
  aggregateId: string;
  payload: OrderCreatedPayload;
  timestamp: string;
}
