-- Posts events of shoppers, no two alike: each has an id of its own and any of many visitors; names, products and,
-- of pages, headers vary from one prepared request to the next.
-- Arguments after `--`: seed, format (segment, browser or cloudevents), events a request, write key,
-- the same as the credentials of Basic, prefix of the ids.
-- A request is put together from parts made beforehand, so that making it costs next to nothing.
-- Prints one line of JSON when done.

local POOL_EVENTS = 8192
local VISITORS, PRODUCTS = 100000, 500
local TRIALS = 2000
-- Where, in what is made beforehand, an id and a visitor go: always in this order.
local ID, VISITOR = "#ID#", "#VISITOR#"
local ID_DIGITS, VISITOR_DIGITS = 9, 6

local visitors, texts, size, prefix, sent, requests = {}, {}, 1, "", 0, 0
local threads = {}
local at = os.date("!%Y-%m-%dT%H:%M:%S.000Z")

local function product(n)
  return n, string.format("Product number %d", n), n % 90 + 1 + (n * 7 % 100) / 100
end

local function segment(name)
  local n, title, price = product(math.random(1, PRODUCTS))
  return string.format(
    '{"type":"track","messageId":"%s","anonymousId":"v%s","event":"%s","timestamp":"%s","properties":{'
      .. '"product_id":"p%d","name":"%s","price":%.2f,"currency":"USD","quantity":%d},'
      .. '"context":{"library":{"name":"@segment/analytics-node","version":"2.3.0"}},"integrations":{}}',
    ID, VISITOR, name, at, n, title, price, math.random(1, 3))
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
local function browser(name, key)
  local n, title, price = product(math.random(1, PRODUCTS))
  local path, query = "/products/p" .. n, QUERIES[math.random(1, #QUERIES)]
  local agent = string.format(AGENTS[math.random(1, #AGENTS)], 100 + math.random(1, VERSIONS))
  return string.format(
    '{"timestamp":"%s","integrations":{},"type":"track","event":"%s","properties":{"product_id":"p%d","name":"%s",'
      .. '"price":%.2f,"currency":"USD","quantity":%d},"context":{"page":{"path":"%s","referrer":"%s","search":"%s",'
      .. '"title":"%s","url":"https://shop.example%s%s"},"userAgent":"%s","locale":"en-US","timezone":"Europe/Berlin",'
      .. '"library":{"name":"analytics.js","version":"npm:next-1.81.0"}},"messageId":"%s","userId":null,'
      .. '"anonymousId":"v%s","writeKey":"%s","sentAt":"%s",'
      .. '"_metadata":{"bundled":["Segment.io"],"unbundled":[],"bundledIds":[]}}',
    at, name, n, title, price, math.random(1, 3), path, REFERRERS[math.random(1, #REFERRERS)], query, title, path,
    query, agent, ID, VISITOR, key, at), {
    ["Content-Type"] = "text/plain", ["User-Agent"] = agent, ["Accept"] = "*/*",
    ["Accept-Encoding"] = "gzip, deflate, br, zstd", ["Accept-Language"] = "en-US,en;q=0.9",
    ["Origin"] = "https://shop.example", ["Referer"] = "https://shop.example" .. path,
    ["Sec-Fetch-Dest"] = "empty", ["Sec-Fetch-Mode"] = "cors", ["Sec-Fetch-Site"] = "cross-site",
  }
end

local function cloudevent(name)
  local n, title, price = product(math.random(1, PRODUCTS))
  return string.format(
    '{"specversion":"1.0","id":"%s","source":"shop/web","type":"%s","time":"%s","data":{"visitorId":"v%s",'
      .. '"currency":"USD","items":[{"productId":"p%d","name":"%s","price":%.2f,"quantity":%d}]}}',
    ID, name, at, VISITOR, n, title, price, math.random(1, 3))
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

-- The pieces of a text, with empty places where its marks were.
local function split(text)
  local found, from = {}, 1
  while true do
    local first, last = text:find("#%u+#", from)
    found[#found + 1] = text:sub(from, first and first - 1 or -1)
    if not first then return found end
    found[#found + 1] = ""
    from = last + 1
  end
end

-- A body with marks in it, and its headers where they are its own.
local function template(format, key)
  local events, headers = {}, nil
  for i = 1, size do
    events[i], headers = format.event(format.names[math.random(1, #format.names)], key)
  end
  return size == 1 and events[1] or format.open .. table.concat(events, ",") .. format.close, headers
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
  local id, visitor = string.rep("0", #prefix + ID_DIGITS), string.rep("0", VISITOR_DIGITS)
  local usual = { ["Content-Type"] = "application/json", ["Authorization"] = "Basic " .. args[5] }
  for i = 1, VISITORS do
    visitors[i] = string.format("%06d", i - 1)
  end
  for i = 1, math.max(1, math.floor(POOL_EVENTS / size)) do
    local body, headers = template(format, args[4])
    -- wrk puts the length of this text into the header: it must be the length with everything in its place.
    local filled = body:gsub(ID, id):gsub(VISITOR, visitor)
    local whole = wrk.format("POST", size == 1 and format.one or format.many, headers or usual, filled)
    texts[i] = split(whole:match("^(.-\r\n\r\n)") .. body)
  end
  request_ns = cost() -- global: it is read from outside the thread
end

function request()
  requests = requests + 1
  local text = texts[(requests - 1) % #texts + 1]
  for k = 2, 4 * size, 4 do
    text[k] = next_id()
    text[k + 2] = visitors[math.random(1, VISITORS)]
  end
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
