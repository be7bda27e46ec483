import { Body, Controller, Get, Post } from '@nestjs/common';
import { CreateOrderDto } from './create-order.dto.js';
import { OrdersService } from './orders.service.js';

interface OrderAnswer {
  orderId: string;
  customerId: string;
  currency: string;
  total: string;
  status: string;
}

@Controller()
export class OrdersController {
  constructor(private readonly orders: OrdersService) {}

  @Post('orders')
  async create(@Body() body: CreateOrderDto): Promise<OrderAnswer> {
    const order = await this.orders.create(body);
    return {
      orderId: order._id,
      customerId: order.customerId,
      currency: order.currency,
      total: (order.total / 100).toFixed(2),
      status: order.status,
    };
  }

  @Get('health')
  health(): { status: string } {
    return { status: 'ok' };
  }
}
