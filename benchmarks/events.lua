-- Posts events of shoppers, no two alike: each has an id of its own, and names, visitors and products vary.
-- Arguments after `--`: seed, format (segment, browser or cloudevents), events a request, write key,
-- the same as the credentials of Basic, prefix of the ids.
-- A request is put together from parts made beforehand, so that making it costs next to nothing.
-- Prints one line of JSON when done.

local POOL_EVENTS = 8192
local VISITORS, PRODUCTS = 20000, 500
local TRIALS = 2000
local MARK = "#ID#"

local heads, parts, size, prefix, sent, requests = {}, {}, 1, "", 0, 0
local threads = {}
local at = os.date("!%Y-%m-%dT%H:%M:%S.000Z")

local function product(n)
  return n, string.format("Product number %d", n), n % 90 + 1 + (n * 7 % 100) / 100
end

local function segment(visitor, name)
  local n, title, price = product(math.random(1, PRODUCTS))
  return string.format(
    '{"type":"track","messageId":"%s","anonymousId":"v%d","event":"%s","timestamp":"%s","properties":{'
      .. '"product_id":"p%d","name":"%s","price":%.2f,"currency":"USD","quantity":%d},'
      .. '"context":{"library":{"name":"@segment/analytics-node","version":"2.3.0"}},"integrations":{}}',
    MARK, visitor, name, at, n, title, price, math.random(1, 3))
end

local AGENTS = {
  "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/%d.0.0.0 Safari/537.36",
  "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/%d.1 Safari/605.1.15",
  "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/%d.1"
    .. " Mobile/15E148 Safari/604.1",
  "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/%d.0.0.0 Mobile Safari/537.36",
  "Mozilla/5.0 (X11; Linux x86_64; rv:132.0) Gecko/20100101 Firefox/%d.0",
  "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36"
    .. " Edg/%d.0.0.0",
}
local VERSIONS = 40
local REFERRERS = { "", "https://www.google.com/", "https://shop.example/", "https://l.instagram.com/" }
local QUERIES = { "", "", "", "?utm_source=newsletter&utm_medium=email&utm_campaign=autumn", "?gclid=EAIaIQobChMI" }

-- As a page's SDK sends it: to a short route, as plain text, with the key and the page's circumstances in the body.
local function browser(visitor, name, key)
  local n, title, price = product(math.random(1, PRODUCTS))
  local path, query = "/products/p" .. n, QUERIES[math.random(1, #QUERIES)]
  return string.format(
    '{"timestamp":"%s","integrations":{},"type":"track","event":"%s","properties":{"product_id":"p%d","name":"%s",'
      .. '"price":%.2f,"currency":"USD","quantity":%d},"context":{"page":{"path":"%s","referrer":"%s","search":"%s",'
      .. '"title":"%s","url":"https://shop.example%s%s"},"userAgent":"%s","locale":"en-US","timezone":"Europe/Berlin",'
      .. '"library":{"name":"analytics.js","version":"npm:next-1.81.0"}},"messageId":"%s","userId":null,'
      .. '"anonymousId":"v%d","writeKey":"%s","sentAt":"%s",'
      .. '"_metadata":{"bundled":["Segment.io"],"unbundled":[],"bundledIds":[]}}',
    at, name, n, title, price, math.random(1, 3), path, REFERRERS[math.random(1, #REFERRERS)], query, title, path,
    query, string.format(AGENTS[math.random(1, #AGENTS)], 100 + math.random(1, VERSIONS)), MARK, visitor, key, at)
end

local function cloudevent(visitor, name)
  local n, title, price = product(math.random(1, PRODUCTS))
  return string.format(
    '{"specversion":"1.0","id":"%s","source":"shop/web","type":"%s","time":"%s","data":{"visitorId":"v%d",'
      .. '"currency":"USD","items":[{"productId":"p%d","name":"%s","price":%.2f,"quantity":%d}]}}',
    MARK, name, at, visitor, n, title, price, math.random(1, 3))
end

local SEGMENT_NAMES = { "Product Viewed", "Product Viewed", "Product Viewed", "Product Added", "Product Viewed",
  "Product Removed", "Product Viewed", "Product Clicked", "Product Added", "Size Guide Opened" }

local FORMATS = {
  segment = {
    event = segment, one = "/v1/track", many = "/v1/batch", open = '{"batch":[', close = "]}", names = SEGMENT_NAMES,
  },
  browser = { event = browser, one = "/v1/t", names = SEGMENT_NAMES },
  cloudevents = {
    event = cloudevent, one = "/events", many = "/events", open = "[", close = "]",
    names = { "view_item", "view_item", "view_item", "add_to_cart", "view_item",
      "remove_from_cart", "view_item", "select_item", "add_to_cart", "size_guide_opened" },
  },
}

local function split(text)
  local found, from = {}, 1
  while true do
    local mark = text:find(MARK, from, true)
    found[#found + 1] = text:sub(from, mark and mark - 1 or -1)
    if not mark then return found end
    from = mark + #MARK
  end
end

local function template(format, key)
  local events = {}
  for i = 1, size do
    events[i] = format.event(math.random(1, VISITORS), format.names[math.random(1, #format.names)], key)
  end
  return size == 1 and events[1] or format.open .. table.concat(events, ",") .. format.close
end

local function next_id()
  sent = sent + 1
  return string.format("%s%09d", prefix, sent)
end

local function cost()
  local begun = os.clock()
  for _ = 1, TRIALS do request() end
  return (os.clock() - begun) / TRIALS * 1e9
end

function setup(thread)
  threads[#threads + 1] = thread
end

function init(args)
  math.randomseed(tonumber(args[1]))
  local format = FORMATS[args[2]]
  size, prefix = tonumber(args[3]), args[6]
  local id_length = #prefix + 9
  local headers = { ["Content-Type"] = "text/plain" }
  if args[2] ~= "browser" then
    headers = { ["Content-Type"] = "application/json", ["Authorization"] = "Basic " .. args[5] }
  end
  for i = 1, math.max(1, math.floor(POOL_EVENTS / size)) do
    local body = template(format, args[4])
    -- wrk puts the length of this text into the header: it must be the length with the ids in their places.
    local whole = wrk.format("POST", size == 1 and format.one or format.many, headers,
      (body:gsub(MARK, string.rep("0", id_length))))
    local head = whole:match("^(.-\r\n\r\n)")
    heads[i], parts[i] = head, split(body)
  end
  request_ns = cost() -- global: it is read from outside the thread
end

function request()
  requests = requests + 1
  local i = (requests - 1) % #heads + 1
  local part = parts[i]
  if size == 1 then
    return heads[i] .. part[1] .. next_id() .. part[2]
  end
  local text = { heads[i] }
  for k = 1, size do
    text[2 * k] = part[k]
    text[2 * k + 1] = next_id()
  end
  text[2 * size + 2] = part[size + 1]
  return table.concat(text)
end

function done(summary, latency, _)
  io.write(string.format(
    '{"requests":%d,"durationUs":%d,"p50Us":%d,"p99Us":%d,"maxUs":%d,'
      .. '"badStatus":%d,"connectErrors":%d,"readErrors":%d,"writeErrors":%d,"timeouts":%d,"requestNs":%d}\n',
    summary.requests, summary.duration,
    latency:percentile(50), latency:percentile(99), latency.max,
    summary.errors.status, summary.errors.connect, summary.errors.read, summary.errors.write, summary.errors.timeout,
    threads[1]:get("request_ns")))
end
