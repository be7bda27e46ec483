/** The analytics side, either inside the order service's request or as a service of its own that reads the stream. */
import { Module, type DynamicModule } from '@nestjs/common';
import { MongooseModule } from '@nestjs/mongoose';
import { EventsModule } from '../events/events.module.js';
import type { Settings } from '../settings.js';
import { AnalyticsGateway } from './analytics.gateway.js';
import { CustomerValue, CustomerValueSchema, StoredEvent, StoredEventSchema } from './analytics.schemas.js';
import { AnalyticsService } from './analytics.service.js';
import { CONSUMER_ORDER, StreamConsumer } from './stream.consumer.js';

@Module({})
export class AnalyticsModule {
  static inProcess(): DynamicModule {
    return {
      module: AnalyticsModule,
      imports: [
        MongooseModule.forFeature([
          { name: CustomerValue.name, schema: CustomerValueSchema },
          { name: StoredEvent.name, schema: StoredEventSchema },
        ]),
      ],
      providers: [AnalyticsGateway, AnalyticsService],
      exports: [AnalyticsService],
    };
  }

  static service(settings: Settings): DynamicModule {
    const shared = AnalyticsModule.inProcess();
    return {
      ...shared,
      imports: [
        MongooseModule.forRoot(settings.mongoUrl),
        EventsModule.forRoot(settings.redisUrl),
        ...(shared.imports ?? []),
      ],
      providers: [
        ...(shared.providers ?? []),
        { provide: CONSUMER_ORDER, useValue: settings.consumerOrder },
        StreamConsumer,
      ],
    };
  }
}
