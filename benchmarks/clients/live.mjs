/**
 * Listens to `analyticsUpdate` and prints, for each frame, when it came and which orders it shows.
 * Arguments: URL of the server, namespace. Ends when its stdin closes. The clock is the machine's monotonic one.
 */
import { io } from 'socket.io-client';

const [url, namespace] = process.argv.slice(2);
const socket = io(`${url}${namespace}`, { reconnection: false });

function print(line) {
  process.stdout.write(`${JSON.stringify(line)}\n`);
}

function ordersToday(today) {
  return today && Object.values(today.currencies).reduce((sum, figures) => sum + figures.orders, 0);
}

socket.on('connect', () => print({ connected: true }));
socket.on('connect_error', (error) => {
  print({ error: String(error) });
  process.exit(1);
});
socket.on('analyticsUpdate', (update) => {
  const at = Number(process.hrtime.bigint());
  const ids = update.orderId ? [update.orderId] : update.orders?.map((order) => order.orderId);
  print({ at, ids: ids ?? [], count: ordersToday(update.today) ?? null });
});
process.stdin.on('end', () => {
  socket.disconnect();
  process.exit(0);
});
process.stdin.resume();
