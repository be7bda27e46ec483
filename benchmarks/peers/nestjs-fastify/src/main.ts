/** Takes events in: decoded, appended to the stream, answered when Redis has them. Nothing is checked. */
import 'reflect-metadata';
import { NestFactory } from '@nestjs/core';
import { FastifyAdapter, type NestFastifyApplication } from '@nestjs/platform-fastify';
import type { AddressInfo } from 'node:net';
import { EventsModule } from './events.module.js';

const BODY_BYTES = 1_048_576;

const redisUrl = process.env.REDIS_URL;
if (!redisUrl) {
  throw new Error('REDIS_URL is not set');
}
// Bodies are parsed by JSON.parse alone: looking for `__proto__` in them would be a check.
const adapter = new FastifyAdapter({
  logger: false,
  bodyLimit: BODY_BYTES,
  onProtoPoisoning: 'ignore',
  onConstructorPoisoning: 'ignore',
});
const app = await NestFactory.create<NestFastifyApplication>(EventsModule.forRoot(redisUrl), adapter, {
  logger: ['error', 'warn'],
});
// A page's SDK sends its JSON as plain text.
app.useBodyParser('text/plain', { bodyLimit: BODY_BYTES }, (_request, body, done) => {
  try {
    done(null, JSON.parse(body.toString()));
  } catch (error) {
    done(error as Error);
  }
});
app.enableShutdownHooks();
await app.listen(Number(process.env.PORT ?? 3000), '127.0.0.1');
const address = app.getHttpServer().address() as AddressInfo;
process.stdout.write(`${JSON.stringify({ ready: true, port: address.port })}\n`);
