-- Posts varied orders: one to four lines from a set of products, by a set of customers.
-- Arguments after `--`: seed, customers, products, visitors (0 or 1), idempotency keys (0 or 1).
-- Prints one line of JSON when done.

local POOL = 4096
local requests, bodies, prefix, sent = {}, {}, "", 0

local function body(customers, products, visitors)
  local lines = {}
  for i = 1, math.random(1, 4) do
    local product = math.random(1, products)
    lines[i] = string.format(
      '{"productId":"p%d","name":"Product number %d","quantity":%d,"unitPrice":"%d.%02d"}',
      product, product, math.random(1, 3), product % 90 + 1, product * 7 % 100)
  end
  local customer = math.random(1, customers)
  local visitor = visitors and string.format('"visitorId":"v%d",', customer) or ""
  return string.format('{"customerId":"c%d",%s"currency":"USD","lines":[%s]}',
    customer, visitor, table.concat(lines, ","))
end

function init(args)
  math.randomseed(tonumber(args[1]))
  local headers = { ["Content-Type"] = "application/json" }
  for i = 1, POOL do
    bodies[i] = body(tonumber(args[2]), tonumber(args[3]), args[4] == "1")
    requests[i] = wrk.format("POST", "/orders", headers, bodies[i])
  end
  if args[5] == "1" then
    prefix = "k" .. args[1] .. "-" .. os.time() .. "-"
  end
end

function request()
  sent = sent + 1
  local i = (sent - 1) % POOL + 1
  if prefix == "" then
    return requests[i]
  end
  local headers = { ["Content-Type"] = "application/json", ["Idempotency-Key"] = prefix .. sent }
  return wrk.format("POST", "/orders", headers, bodies[i])
end

function done(summary, latency, _)
  io.write(string.format(
    '{"requests":%d,"durationUs":%d,"p50Us":%d,"p99Us":%d,"maxUs":%d,'
      .. '"badStatus":%d,"connectErrors":%d,"readErrors":%d,"writeErrors":%d,"timeouts":%d}\n',
    summary.requests, summary.duration,
    latency:percentile(50), latency:percentile(99), latency.max,
    summary.errors.status, summary.errors.connect, summary.errors.read, summary.errors.write, summary.errors.timeout))
end
