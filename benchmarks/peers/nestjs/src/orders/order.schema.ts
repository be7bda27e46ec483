/** An order as this design saves it: one document, its lines embedded, money in minor units. */
import { Prop, Schema, SchemaFactory } from '@nestjs/mongoose';
import type { HydratedDocument } from 'mongoose';

@Schema({ _id: false })
export class OrderLine {
  @Prop({ required: true }) productId!: string;
  @Prop({ required: true }) name!: string;
  @Prop({ required: true }) quantity!: number;
  @Prop({ required: true }) unitPrice!: number;
  @Prop({ required: true }) amount!: number;
}

const OrderLineSchema = SchemaFactory.createForClass(OrderLine);

@Schema({ collection: 'orders', timestamps: true, versionKey: false })
export class Order {
  @Prop({ type: String, required: true }) _id!: string;
  @Prop({ required: true }) customerId!: string;
  @Prop({ required: true }) currency!: string;
  @Prop({ type: [OrderLineSchema], required: true }) lines!: OrderLine[];
  @Prop({ required: true }) total!: number;
  @Prop({ required: true, default: 'created' }) status!: string;
}

export type OrderDocument = HydratedDocument<Order>;
export const OrderSchema = SchemaFactory.createForClass(Order);
