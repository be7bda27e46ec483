import { AnalyticsModule } from './analytics.module.js';
import { serve } from '../serve.js';
import { readSettings } from '../settings.js';

const settings = readSettings();
await serve(AnalyticsModule.service(settings), settings.port);
