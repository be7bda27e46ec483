-- Posts events of shoppers, no two alike: each has an id, a time, a visitor and a product of its own, drawn anew; names
-- and, of pages, browsers and campaigns vary from one prepared request to the next. Some products are seen more than others.
-- Arguments after `--`: seed, format (segment, browser or cloudevents), events a request, write key,
-- the same as the credentials of Basic, prefix of the ids.
-- A request is put together from parts made beforehand, so that making it costs next to nothing.
-- Prints one line of JSON when done.

local POOL_EVENTS = 8192
local VISITORS, PRODUCTS, TIMES = 100000, 10000, 1000
local TRIALS = 2000
local second = os.date("!%Y-%m-%dT%H:%M:%S")

local visitors, products, pages, times = {}, {}, {}, {}
local texts, fills = {}, {}
local size, prefix, sent, requests, draws = 1, "", 0, 0, false
local threads = {}
-- Of the event that is being written.
local id, visitor, product = "", "", 1

local function draw()
  sent = sent + 1
  id = string.format("%s%09d", prefix, sent)
  visitor = visitors[math.random(1, VISITORS)]
  local popular = math.random()
  product = math.floor(PRODUCTS * popular * popular) + 1
end

-- What goes where these marks stand, always as long; the first of an event is NEW.
local FILL = {
  ["#NEW#"] = function() draw() return id end,
  ["#ID#"] = function() return id end,
  ["#VISITOR#"] = function() return visitor end,
  ["#PRODUCT#"] = function() return products[product] end,
  ["#PAGE#"] = function() return pages[product] end,
  ["#TIME#"] = function() return times[sent % TIMES + 1] end,
}

-- As a server's SDK sends it; carts have an id.
local function segment(name)
  local cart = (name == "Product Added" or name == "Product Removed") and '"cart_id":"#ID#",' or ""
  return string.format(
    '{"type":"track","messageId":"#NEW#","anonymousId":"v#VISITOR#","event":"%s","timestamp":"#TIME#","properties":{%s'
      .. '#PRODUCT#,"currency":"USD","quantity":%d},'
      .. '"context":{"library":{"name":"@segment/analytics-node","version":"2.3.0"}},"integrations":{}}',
    name, cart, math.random(1, 3))
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

-- As a page's SDK sends it (a request is one event, and draws it): to a short route, as plain text, with the key and the page's circumstances in the body.
local function browser(name, key)
  local query = QUERIES[math.random(1, #QUERIES)]
  local agent = string.format(AGENTS[math.random(1, #AGENTS)], 100 + math.random(1, VERSIONS))
  return string.format(
    '{"timestamp":"#TIME#","integrations":{},"type":"track","event":"%s","properties":{#PRODUCT#,"currency":"USD",'
      .. '"quantity":%d},"context":{"page":{"path":"/products/#PAGE#","referrer":"%s","search":"%s",'
      .. '"title":"Shop: #PAGE#","url":"https://shop.example/products/#PAGE#%s"},"userAgent":"%s","locale":"en-US",'
      .. '"timezone":"Europe/Berlin","library":{"name":"analytics.js","version":"npm:next-1.81.0"}},"messageId":"#ID#",'
      .. '"userId":null,"anonymousId":"v#VISITOR#","writeKey":"%s","sentAt":"#TIME#",'
      .. '"_metadata":{"bundled":["Segment.io"],"unbundled":[],"bundledIds":[]}}',
    name, math.random(1, 3), REFERRERS[math.random(1, #REFERRERS)], query, query, agent, key), {
    ["Content-Type"] = "text/plain", ["User-Agent"] = agent, ["Accept"] = "*/*",
    ["Accept-Encoding"] = "gzip, deflate, br, zstd", ["Accept-Language"] = "en-US,en;q=0.9",
    ["Origin"] = "https://shop.example", ["Referer"] = "https://shop.example/",
    ["Sec-Fetch-Dest"] = "empty", ["Sec-Fetch-Mode"] = "cors", ["Sec-Fetch-Site"] = "cross-site",
  }
end

local function cloudevent(name)
  return string.format(
    '{"specversion":"1.0","id":"#NEW#","source":"shop/web","type":"%s","time":"#TIME#","data":{"visitorId":"v#VISITOR#",'
      .. '"currency":"USD","items":[{#PRODUCT#,"quantity":%d}]}}',
    name, math.random(1, 3))
end

local SEGMENT_NAMES = { "Product Viewed", "Product Viewed", "Product Viewed", "Product Added", "Product Viewed",
  "Product Removed", "Product Viewed", "Product Clicked", "Product Added", "Size Guide Opened" }

local FORMATS = {
  segment = {
    event = segment, one = "/v1/track", many = "/v1/batch", open = '{"batch":[', close = "]}", names = SEGMENT_NAMES,
  },
  browser = { event = browser, one = "/v1/t", names = SEGMENT_NAMES, draws = true },
  cloudevents = {
    event = cloudevent, one = "/events", many = "/events", open = "[", close = "]",
    names = { "view_item", "view_item", "view_item", "add_to_cart", "view_item",
      "remove_from_cart", "view_item", "select_item", "add_to_cart", "size_guide_opened" },
  },
}

-- The pieces of a text, each second one a mark.
local function split(text)
  local found, from = {}, 1
  while true do
    local first, last = text:find("#%u+#", from)
    found[#found + 1] = text:sub(from, first and first - 1 or -1)
    if not first then return found end
    found[#found + 1] = text:sub(first, last)
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

local function cost()
  local begun = os.clock()
  for _ = 1, TRIALS do request() end
  return (os.clock() - begun) / TRIALS * 1e9
end

function setup(thread)
  threads[#threads + 1] = thread
end

local function prepare(format)
  local names = format == FORMATS.cloudevents and { "productId", "price" } or { "product_id", "price" }
  for n = 1, VISITORS do visitors[n] = string.format("%06d", n - 1) end
  for n = 1, TIMES do times[n] = string.format("%s.%03dZ", second, n - 1) end
  for n = 1, PRODUCTS do
    local cents = n * 7919 % 90000 + 10000
    pages[n] = string.format("p%05d", n - 1)
    products[n] = string.format('"%s":"%s","name":"Product number %05d","%s":%d.%02d',
      names[1], pages[n], n - 1, names[2], math.floor(cents / 100), cents % 100)
  end
end

function init(args)
  math.randomseed(tonumber(args[1]))
  local format = FORMATS[args[2]]
  size, prefix, draws = tonumber(args[3]), args[6], format.draws
  prepare(format)
  draw()
  local usual = { ["Content-Type"] = "application/json", ["Authorization"] = "Basic " .. args[5] }
  for i = 1, math.max(1, math.floor(POOL_EVENTS / size)) do
    local body, headers = template(format, args[4])
    -- wrk puts the length of this text into the header: it must be the length with everything in its place.
    local filled = body:gsub("#%u+#", function(mark) return FILL[mark]() end)
    local whole = wrk.format("POST", size == 1 and format.one or format.many, headers or usual, filled)
    texts[i], fills[i] = split(whole:match("^(.-\r\n\r\n)") .. body), {}
    for k = 2, #texts[i], 2 do fills[i][k / 2] = FILL[texts[i][k]] end
  end
  request_ns = cost() -- global: it is read from outside the thread
end

function request()
  requests = requests + 1
  local i = (requests - 1) % #texts + 1
  local text, fill = texts[i], fills[i]
  if draws then draw() end
  for k = 1, #fill do text[2 * k] = fill[k]() end
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
