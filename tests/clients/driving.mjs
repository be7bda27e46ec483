// Sends a story through one of the Node SDKs, unmodified: node driving.mjs SDK URL KEY STORY
import { readFileSync } from 'node:fs'

const [sdk, url, key, story] = process.argv.slice(2)
const steps = JSON.parse(readFileSync(story, 'utf-8'))
let failed = 0

function call(analytics, step, done) {
  const { type, timestamp, ...message } = step
  analytics[type]({ ...message, timestamp: new Date(timestamp) }, done)
}

async function segment() {
  const { Analytics } = await import('@segment/analytics-node')
  const analytics = new Analytics({ writeKey: key, host: url, flushAt: 5, flushInterval: 50, maxRetries: 10 })
  analytics.on('error', (error) => {
    failed += 1
    console.error(error)
  })
  for (const step of steps) call(analytics, step)
  await analytics.closeAndFlush({ timeout: 190_000 })
}

async function rudder() {
  const { default: Analytics } = await import('@rudderstack/rudder-sdk-node')
  const analytics = new Analytics(key, {
    dataPlaneUrl: url,
    flushAt: 5,
    flushInterval: 50,
    retryCount: 10,
    logLevel: 'none',
  })
  const told = steps.map((step) => new Promise((resolve) => call(analytics, step, resolve)))
  await analytics.flush()
  for (const error of await Promise.all(told)) {
    if (error) failed += 1
  }
}

await { segment, rudder }[sdk]()
process.exit(failed ? 1 : 0)
