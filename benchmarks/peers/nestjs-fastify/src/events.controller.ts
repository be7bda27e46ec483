import { Body, Controller, HttpCode, Post } from '@nestjs/common';
import { EventStream, type Event } from './event-stream.js';

const SUCCESS = { success: true };

@Controller()
export class EventsController {
  constructor(private readonly stream: EventStream) {}

  @Post(['v1/track', 'v1/t'])
  @HttpCode(200)
  async track(@Body() event: Event): Promise<typeof SUCCESS> {
    await this.stream.append(event);
    return SUCCESS;
  }

  @Post('v1/batch')
  @HttpCode(200)
  async batch(@Body() body: { batch: Event[] }): Promise<typeof SUCCESS> {
    await this.stream.appendAll(body.batch);
    return SUCCESS;
  }

  @Post('events')
  @HttpCode(200)
  async events(@Body() body: Event | Event[]): Promise<typeof SUCCESS> {
    await (Array.isArray(body) ? this.stream.appendAll(body) : this.stream.append(body));
    return SUCCESS;
  }
}
