-- wrk -s load.lua URL -- LOAD ACCOUNTS QUERY: requests of one kind from accounts chosen at random.
-- A line of the file ACCOUNTS is an email, a user's id, a token and the ids of tasks.
-- QUERY is the query string of lists.

local words = { "annual", "budget", "call", "draft", "email", "form", "garden", "holiday", "invoice",
  "journey", "key", "letter", "meeting", "notes", "order", "plan", "quote", "report", "survey" }
local statuses = { "pending", "in_progress", "completed" }
local priorities = { "low", "medium", "high" }
local accounts, load, query = {}, nil, nil

local function draw(list)
  return list[math.random(#list)]
end

local function text(count)
  local drawn = {}
  for i = 1, count do drawn[i] = draw(words) end
  return table.concat(drawn, " ")
end

local function task()
  local first = math.random(#words)
  return string.format(
    '{"title":"%s","description":"%s","status":"%s","priority":"%s","tags":["%s","%s"],'
      .. '"dueDate":"2027-%02d-%02d"}',
    text(6), text(24), draw(statuses), draw(priorities),
    words[first], words[first % #words + 1], math.random(12), math.random(28))
end

local function api(account, method, path, body)
  local headers = { Authorization = "Bearer " .. account.token }
  if body then headers["Content-Type"] = "application/json" end
  return wrk.format(method, "/api/v1/tasks" .. path, headers, body)
end

local loads = {}

function loads.constant() return wrk.format("GET", "/health/live") end
function loads.select(account)
  return wrk.format("GET", "/select/" .. account.id .. "/" .. draw(account.tasks))
end
function loads.prepared(account)
  return wrk.format("GET", "/prepared/" .. account.id .. "/" .. draw(account.tasks))
end
function loads.health() return wrk.format("GET", "/health") end
function loads.login(account)
  return wrk.format("POST", "/api/v1/auth/login", { ["Content-Type"] = "application/json" },
    '{"email":"' .. account.email .. '","password":"correct horse battery"}')
end
function loads.get(account) return api(account, "GET", "/" .. draw(account.tasks)) end
function loads.list(account) return api(account, "GET", "?" .. query) end
function loads.create(account) return api(account, "POST", "", task()) end
function loads.update(account) return api(account, "PUT", "/" .. draw(account.tasks), task()) end
function loads.batch(account)
  local tasks = {}
  for i = 1, 100 do tasks[i] = task() end
  return api(account, "POST", "/batch", '{"create":[' .. table.concat(tasks, ",") .. "]}")
end
function loads.mixed(account)
  local percent = math.random(100)
  if percent <= 70 then return loads.list(account) end
  if percent <= 85 then return loads.get(account) end
  if percent <= 95 then return loads.create(account) end
  return loads.update(account)
end

function init(args)
  load, query = loads[args[1]], args[3]
  for line in io.lines(args[2]) do
    local fields = {}
    for field in line:gmatch("%S+") do fields[#fields + 1] = field end
    accounts[#accounts + 1] = { email = fields[1], id = fields[2], token = fields[3],
      tasks = { unpack(fields, 4) } }
  end
end

function request()
  return load(draw(accounts))
end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    '\n{"requests": %d, "seconds": %f, "p50": %f, "p99": %f, "errors": %d}\n',
    summary.requests, summary.duration / 1e6,
    latency:percentile(50) / 1e3, latency:percentile(99) / 1e3,
    errors.connect + errors.read + errors.write + errors.status + errors.timeout))
end
