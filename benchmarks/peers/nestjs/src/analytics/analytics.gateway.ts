/** Tells every connected dashboard about one order and its customer's new lifetime value. */
import { WebSocketGateway, WebSocketServer } from '@nestjs/websockets';
import type { Server } from 'socket.io';

export interface AnalyticsUpdate {
  orderId: string;
  customerId: string;
  orders: number;
  lifetimeValue: string;
  currency: string;
  timestamp: string;
}

@WebSocketGateway({ cors: true })
export class AnalyticsGateway {
  @WebSocketServer() private readonly server!: Server;

  analyticsUpdate(update: AnalyticsUpdate): void {
    this.server.emit('analyticsUpdate', update);
  }
}
