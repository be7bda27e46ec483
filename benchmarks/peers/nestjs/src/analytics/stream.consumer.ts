/**
 * Reads the stream through a consumer group and acknowledges a batch when all of it is recorded.
 * A batch is recorded side by side, or one event after another in the stream's order: the first keeps up with
 * more orders and takes more of the machine from them, the second keeps a customer's events in order.
 */
import {
  Inject,
  Injectable,
  Logger,
  type OnApplicationBootstrap,
  type OnApplicationShutdown,
} from '@nestjs/common';
import { Redis } from 'ioredis';
import { REDIS, STREAM } from '../events/event-bus.js';
import type { DomainEvent } from '../events/order-created.event.js';
import type { ConsumerOrder } from '../settings.js';
import { AnalyticsService } from './analytics.service.js';

export const CONSUMER_ORDER = Symbol('CONSUMER_ORDER');
const GROUP = 'analytics';
const CONSUMER = 'analytics-1';
const BATCH_ENTRIES = 100;
const BLOCK_MILLISECONDS = 1000;
const RETRY_MILLISECONDS = 1000;

type Entry = [id: string, fields: string[]];
type Reply = [stream: string, entries: Entry[]][] | null;

@Injectable()
export class StreamConsumer implements OnApplicationBootstrap, OnApplicationShutdown {
  private readonly logger = new Logger(StreamConsumer.name);
  private running = true;

  constructor(
    @Inject(REDIS) private readonly redis: Redis,
    @Inject(CONSUMER_ORDER) private readonly order: ConsumerOrder,
    private readonly analytics: AnalyticsService,
  ) {}

  async onApplicationBootstrap(): Promise<void> {
    await this.createGroup();
    void this.run();
  }

  onApplicationShutdown(): void {
    this.running = false;
    this.redis.disconnect();
  }

  private async createGroup(): Promise<void> {
    try {
      await this.redis.xgroup('CREATE', STREAM, GROUP, '0', 'MKSTREAM');
    } catch (error) {
      if (!String(error).includes('BUSYGROUP')) {
        throw error;
      }
    }
  }

  private async run(): Promise<void> {
    while (this.running) {
      try {
        await this.consume(await this.read());
      } catch (error) {
        if (this.running) {
          this.logger.error(`reading the stream failed: ${String(error)}`);
          await new Promise((resolve) => setTimeout(resolve, RETRY_MILLISECONDS));
        }
      }
    }
  }

  private async read(): Promise<Entry[]> {
    const reply = (await this.redis.xreadgroup(
      'GROUP', GROUP, CONSUMER,
      'COUNT', BATCH_ENTRIES,
      'BLOCK', BLOCK_MILLISECONDS,
      'STREAMS', STREAM, '>',
    )) as Reply;
    return reply?.[0]?.[1] ?? [];
  }

  private async consume(entries: Entry[]): Promise<void> {
    if (entries.length === 0) {
      return;
    }
    const events = entries.map(([, [, body]]) => JSON.parse(body) as DomainEvent);
    if (this.order === 'concurrent') {
      await Promise.all(events.map((event) => this.analytics.record(event)));
    } else {
      for (const event of events) {
        await this.analytics.record(event);
      }
    }
    await this.redis.xack(STREAM, GROUP, ...entries.map(([id]) => id));
  }
}
