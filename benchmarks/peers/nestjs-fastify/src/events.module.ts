import { Module, type DynamicModule } from '@nestjs/common';
import { EventStream } from './event-stream.js';
import { EventsController } from './events.controller.js';

@Module({})
export class EventsModule {
  static forRoot(redisUrl: string): DynamicModule {
    return {
      module: EventsModule,
      controllers: [EventsController],
      providers: [{ provide: EventStream, useFactory: () => new EventStream(redisUrl) }],
    };
  }
}
