/** Records one order event: its customer's lifetime value, the event store, then the dashboards. */
import { Injectable } from '@nestjs/common';
import { InjectModel } from '@nestjs/mongoose';
import type { Model } from 'mongoose';
import type { DomainEvent } from '../events/order-created.event.js';
import { AnalyticsGateway } from './analytics.gateway.js';
import { CustomerValue, StoredEvent } from './analytics.schemas.js';

@Injectable()
export class AnalyticsService {
  constructor(
    @InjectModel(CustomerValue.name) private readonly customers: Model<CustomerValue>,
    @InjectModel(StoredEvent.name) private readonly events: Model<StoredEvent>,
    private readonly gateway: AnalyticsGateway,
  ) {}

  /** The two writes do not depend on each other and run side by side. */
  async record(event: DomainEvent): Promise<void> {
    const [customer] = await Promise.all([this.raise(event), this.events.create(event)]);
    this.gateway.analyticsUpdate({
      orderId: event.aggregateId,
      customerId: customer._id,
      orders: customer.orders,
      lifetimeValue: (customer.lifetimeValue / 100).toFixed(2),
      currency: event.payload.currency,
      timestamp: event.timestamp,
    });
  }

  private async raise({ payload, timestamp }: DomainEvent): Promise<CustomerValue> {
    const at = new Date(timestamp);
    return this.customers
      .findOneAndUpdate(
        { _id: payload.customerId },
        {
          $inc: { orders: 1, lifetimeValue: payload.total },
          $min: { firstOrderAt: at },
          $max: { lastOrderAt: at },
        },
        { upsert: true, returnDocument: 'after' },
      )
      .lean()
      .orFail();
  }
}
