/** Takes events in: decoded, appended to the stream, answered when Redis has them. Nothing is checked. */
import Fastify from 'fastify';
import type { AddressInfo } from 'node:net';
import { EventStream, type Event } from './event-stream.js';

const BODY_BYTES = 1_048_576;

const redisUrl = process.env.REDIS_URL;
if (!redisUrl) {
  throw new Error('REDIS_URL is not set');
}
const stream = new EventStream(redisUrl);
// Bodies are parsed by JSON.parse alone: looking for `__proto__` in them would be a check.
const app = Fastify({
  logger: false,
  bodyLimit: BODY_BYTES,
  onProtoPoisoning: 'ignore',
  onConstructorPoisoning: 'ignore',
});
// A page's SDK sends its JSON as plain text.
app.removeContentTypeParser('text/plain');
app.addContentTypeParser('text/plain', { parseAs: 'string' }, (_request, body, done) => {
  try {
    done(null, JSON.parse(body as string));
  } catch (error) {
    done(error as Error);
  }
});

const answer = { 200: { type: 'object', properties: { success: { type: 'boolean' } } } };
const options = { schema: { response: answer } };
const SUCCESS = { success: true };

for (const path of ['/v1/track', '/v1/t']) {
  app.post<{ Body: Event }>(path, options, async (request) => {
    await stream.append(request.body);
    return SUCCESS;
  });
}

app.post<{ Body: { batch: Event[] } }>('/v1/batch', options, async (request) => {
  await stream.appendAll(request.body.batch);
  return SUCCESS;
});

app.post<{ Body: Event | Event[] }>('/events', options, async (request) => {
  const body = request.body;
  await (Array.isArray(body) ? stream.appendAll(body) : stream.append(body));
  return SUCCESS;
});

app.addHook('onClose', async () => stream.close());
process.once('SIGTERM', () => void app.close());

await app.listen({ port: Number(process.env.PORT ?? 3000), host: '127.0.0.1' });
const address = app.server.address() as AddressInfo;
process.stdout.write(`${JSON.stringify({ ready: true, port: address.port })}\n`);
