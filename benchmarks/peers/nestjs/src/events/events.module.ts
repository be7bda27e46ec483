import { Module, type DynamicModule } from '@nestjs/common';
import { Redis } from 'ioredis';
import { EventBus, REDIS } from './event-bus.js';

@Module({})
export class EventsModule {
  static forRoot(redisUrl: string): DynamicModule {
    return {
      module: EventsModule,
      providers: [{ provide: REDIS, useFactory: () => new Redis(redisUrl) }, EventBus],
      exports: [EventBus, REDIS],
    };
  }
}
