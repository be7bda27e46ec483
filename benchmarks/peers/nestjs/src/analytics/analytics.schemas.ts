/** What the analytics side keeps: a lifetime value per customer, and every event it has seen. */
import { Prop, Schema, SchemaFactory } from '@nestjs/mongoose';
import { Schema as MongooseSchema } from 'mongoose';
import type { OrderCreatedPayload } from '../events/order-created.event.js';

@Schema({ collection: 'customers', versionKey: false })
export class CustomerValue {
  @Prop({ type: String, required: true }) _id!: string;
  @Prop({ required: true, default: 0 }) orders!: number;
  @Prop({ required: true, default: 0 }) lifetimeValue!: number;
  @Prop() firstOrderAt?: Date;
  @Prop() lastOrderAt?: Date;
}

@Schema({ collection: 'eventstore', versionKey: false })
export class StoredEvent {
  @Prop({ required: true }) aggregateId!: string;
  @Prop({ required: true }) eventName!: string;
  @Prop({ type: MongooseSchema.Types.Mixed, required: true }) payload!: OrderCreatedPayload;
  @Prop({ required: true }) timestamp!: Date;
}

export const CustomerValueSchema = SchemaFactory.createForClass(CustomerValue);
export const StoredEventSchema = SchemaFactory.createForClass(StoredEvent);
StoredEventSchema.index({ aggregateId: 1, timestamp: 1 });
