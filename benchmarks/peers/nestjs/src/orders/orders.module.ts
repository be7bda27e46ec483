/** The order service; `ANALYTICS` chooses what it waits for after the order is saved. */
import { Module, type DynamicModule, type Provider } from '@nestjs/common';
import { MongooseModule } from '@nestjs/mongoose';
import { AnalyticsModule } from '../analytics/analytics.module.js';
import { AnalyticsService } from '../analytics/analytics.service.js';
import { EventBus } from '../events/event-bus.js';
import { EventsModule } from '../events/events.module.js';
import type { Settings } from '../settings.js';
import { AFTER_ORDER, type AfterOrder } from './after-order.js';
import { Order, OrderSchema } from './order.schema.js';
import { OrdersController } from './orders.controller.js';
import { OrdersService } from './orders.service.js';

@Module({})
export class OrdersModule {
  static forRoot(settings: Settings): DynamicModule {
    const { provider, module } = variant(settings);
    return {
      module: OrdersModule,
      imports: [
        MongooseModule.forRoot(settings.mongoUrl),
        MongooseModule.forFeature([{ name: Order.name, schema: OrderSchema }]),
        ...module,
      ],
      controllers: [OrdersController],
      providers: [OrdersService, provider],
    };
  }
}

function variant(settings: Settings): { provider: Provider; module: DynamicModule[] } {
  switch (settings.analytics) {
    case 'none':
      return {
        provider: { provide: AFTER_ORDER, useValue: (async () => undefined) satisfies AfterOrder },
        module: [],
      };
    case 'request':
      return {
        provider: {
          provide: AFTER_ORDER,
          useFactory: (analytics: AnalyticsService): AfterOrder => (event) => analytics.record(event),
          inject: [AnalyticsService],
        },
        module: [AnalyticsModule.inProcess()],
      };
    case 'events':
      return {
        provider: {
          provide: AFTER_ORDER,
          useFactory: (bus: EventBus): AfterOrder => (event) => bus.publish(event),
          inject: [EventBus],
        },
        module: [EventsModule.forRoot(settings.redisUrl)],
      };
  }
}
