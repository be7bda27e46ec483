import { serve } from '../serve.js';
import { readSettings } from '../settings.js';
import { OrdersModule } from './orders.module.js';

const settings = readSettings();
await serve(OrdersModule.forRoot(settings), settings.port);
