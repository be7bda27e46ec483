/** Saves an order (majority write) and then waits for what its variant does with the event. */
import { Inject, Injectable } from '@nestjs/common';
import { InjectModel } from '@nestjs/mongoose';
import type { Model } from 'mongoose';
import { randomUUID } from 'node:crypto';
import { ORDER_CREATED, type DomainEvent } from '../events/order-created.event.js';
import { AFTER_ORDER, type AfterOrder } from './after-order.js';
import type { CreateOrderDto } from './create-order.dto.js';
import { Order, type OrderDocument } from './order.schema.js';

@Injectable()
export class OrdersService {
  constructor(
    @InjectModel(Order.name) private readonly orders: Model<Order>,
    @Inject(AFTER_ORDER) private readonly afterOrder: AfterOrder,
  ) {}

  async create(body: CreateOrderDto): Promise<OrderDocument> {
    const lines = body.lines.map((line) => {
      const unitPrice = Math.round(Number(line.unitPrice) * 100);
      return {
        productId: line.productId,
        name: line.name,
        quantity: line.quantity,
        unitPrice,
        amount: unitPrice * line.quantity,
      };
    });
    const order = await this.orders.create({
      _id: body.orderId ?? randomUUID(),
      customerId: body.customerId,
      currency: body.currency,
      lines,
      total: lines.reduce((sum, line) => sum + line.amount, 0),
    });
    await this.afterOrder(orderCreated(order, lines));
    return order;
  }
}

function orderCreated(order: OrderDocument, lines: DomainEvent['payload']['lines']): DomainEvent {
  return {
    eventName: ORDER_CREATED,
    aggregateId: order._id,
    payload: {
      orderId: order._id,
      customerId: order.customerId,
      currency: order.currency,
      total: order.total,
      lines,
    },
    timestamp: new Date().toISOString(),
  };
}
