/** Publishes each event twice: to whoever listens on its channel now, and to the stream for those who read later. */
import { Inject, Injectable, type OnApplicationShutdown } from '@nestjs/common';
import { Redis } from 'ioredis';
import type { DomainEvent } from './order-created.event.js';

export const REDIS = Symbol('REDIS');
export const STREAM = 'events';
const STREAM_MAX_ENTRIES = 1_000_000;

@Injectable()
export class EventBus implements OnApplicationShutdown {
  constructor(@Inject(REDIS) private readonly redis: Redis) {}

  /** Both commands leave in one write; the promise settles when Redis has answered both. */
  async publish(event: DomainEvent): Promise<void> {
    const body = JSON.stringify(event);
    await Promise.all([
      this.redis.publish(`events:${event.eventName}`, body),
      this.redis.xadd(STREAM, 'MAXLEN', '~', STREAM_MAX_ENTRIES, '*', 'event', body),
    ]);
  }

  onApplicationShutdown(): void {
    this.redis.disconnect();
  }
}
