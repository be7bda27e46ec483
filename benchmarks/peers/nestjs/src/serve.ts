/** Starts a Nest application on loopback and says on one line of stdout where it listens. */
import 'reflect-metadata';
import { ValidationPipe, type Type, type DynamicModule } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import type { AddressInfo } from 'node:net';

export async function serve(module: Type | DynamicModule, port: number): Promise<void> {
  const app = await NestFactory.create(module, { logger: ['error', 'warn'] });
  app.useGlobalPipes(new ValidationPipe({ transform: true, whitelist: true }));
  app.enableShutdownHooks();
  await app.listen(port, '127.0.0.1');
  const address = app.getHttpServer().address() as AddressInfo;
  process.stdout.write(`${JSON.stringify({ ready: true, port: address.port })}\n`);
}
