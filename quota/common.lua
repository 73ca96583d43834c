-- common.lua: the beginning of every script of the ledger (scripts.go puts it before each of them).
--
-- KEYS, the same for all, of one subject (an account, or a limit of a remote; what is said of bytes is said of calls):
--   1 account  hash: rev plan limit anchor zone removed (settings), period start end until used wasted reserved (state),
--              last (time of the last sign of traffic)
--   2 pools    hash: pool -> "granted charged wasted period", totals in bytes; period is the start of the one period
--              that all its charges fell in, 0 for several
--   3 leases   sorted set: pool by the time at which its reservation ends
--   4 days     hash: "DATE used", "DATE wasted" -> bytes, "DATE busy" -> milliseconds
--   5 claims   hash: claim -> "need since renewed"; need 0 stands for one that was granted or dropped, and when
--   6 events   list: "percent at period used limit"
--   7 closed   hash: closed pool -> "expiry charged", so that its owner can tell a closed pool from one that Redis has
--              forgotten; '#' -> size from which on it is cleaned
-- ARGV, the same for all scripts that count (reserve, charge, touch, close):
--   1 rev  2 day  3 day start  4 day end  5 period  6 period start  7 period end  8 until
-- Times are milliseconds since 1970 by Redis' clock; numbers are integers below 2^53.
-- A script that counts answers {'moved', ...} (see dump), having written nothing, where its caller's settings are old or
-- Redis' clock isn't within the given day, or a new period begins that isn't the given one.

local ACCOUNT, POOLS, LEASES, DAYS, CLAIMS, EVENTS, CLOSED = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6], KEYS[7]
local KEPT_DAYS, KEPT_EVENTS = 400, 100
local CLAIM_LIFE = 60000   -- how long a claim outlives its last renewal
local PAUSE = 30000        -- a longer time without traffic isn't busy time
local CLOSED_BY_OTHERS, CLOSED_BY_OWNER = 3600000, 300000  -- how long a closed pool is remembered

local function int(n) return string.format('%.0f', n) end

local function clock()
  local t = redis.call('TIME')
  return tonumber(t[1]) * 1000 + math.floor(tonumber(t[2]) / 1000)
end

local function pool(id)
  local rec = redis.call('HGET', POOLS, id)
  if not rec then return nil end
  local granted, charged, wasted, period = string.match(rec, '^(%d+) (%d+) (%d+) (%d+)$')
  return { granted = tonumber(granted), charged = tonumber(charged), wasted = tonumber(wasted), period = tonumber(period) }
end

local function save(id, p, expiry)
  local rec = int(p.granted) .. ' ' .. int(p.charged) .. ' ' .. int(p.wasted) .. ' ' .. int(p.period)
  redis.call('HSET', POOLS, id, rec)
  redis.call('ZADD', LEASES, int(expiry), id)
end

local function drop(id)
  redis.call('HDEL', POOLS, id)
  redis.call('ZREM', LEASES, id)
end

-- bury drops a pool and remembers it until expiry. Now and then it forgets the pools whose expiry has come.
local function bury(id, charged, now, life)
  drop(id)
  redis.call('HSET', CLOSED, id, int(now + life) .. ' ' .. int(charged))
  if redis.call('HLEN', CLOSED) < tonumber(redis.call('HGET', CLOSED, '#') or 64) then return end
  local rows, kept = redis.call('HGETALL', CLOSED), 0
  for i = 1, #rows, 2 do
    local expiry = string.match(rows[i + 1], '^(%d+) ')
    if expiry and tonumber(expiry) <= now then redis.call('HDEL', CLOSED, rows[i]) else kept = kept + 1 end
  end
  redis.call('HSET', CLOSED, '#', int(2 * kept + 64))
end

-- expired returns the pools whose lease has ended, but for one, and the bytes that they hold.
local function expired(now, but)
  local list, held = {}, 0
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', LEASES, '-inf', int(now))) do
    if id ~= but then
      local p = pool(id) or { granted = 0, charged = 0 }
      p.id = id
      list[#list + 1] = p
      held = held + p.granted - p.charged
    end
  end
  return list, held
end

-- expire closes those pools: what they charged stays used, what they hold is free. Leases that lie further ahead than
-- any renewal puts them come from a clock that has been put back; they are cut, or a dead pool would hold its bytes
-- until that clock is reached again.
local function expire(list, held, now, lease)
  for _, p in ipairs(list) do bury(p.id, p.charged, now, CLOSED_BY_OTHERS) end
  if held > 0 then redis.call('HINCRBY', ACCOUNT, 'reserved', int(-held)) end
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', LEASES, int(now + 2 * lease), '+inf')) do
    redis.call('ZADD', LEASES, int(now + lease), id)
  end
end

-- alive tells whether a claim was renewed lately; a clock that was put back makes it wait for its next renewal.
local function alive(now, renewed) return math.abs(now - renewed) < CLAIM_LIFE end

-- claim takes a claim's record apart.
local function claim(rec)
  local need, since, renewed = string.match(rec, '^(%d+) (%d+) (%d+)$')
  return { need = tonumber(need), since = tonumber(since), renewed = tonumber(renewed) }
end

-- older is the order of claims.
local function older(x, y)
  if x.since ~= y.since then return x.since < y.since end
  return x.id < y.id
end

-- kept returns how many bytes claims keep back from a claimant: the claims that go before its own (all, where it has
-- none), and all claims of others. A claim counts from the period after its first refusal on, and only where it fits
-- this period beside those before it.
local function kept(a, limit, now, claimant)
  local rows, list = redis.call('HGETALL', CLAIMS), {}
  for i = 1, #rows, 2 do
    local c = claim(rows[i + 1])
    c.id = rows[i]
    if c.need > 0 and c.since < a.start and alive(now, c.renewed) then list[#list + 1] = c end
  end
  table.sort(list, older)
  local before, others, sum = nil, 0, 0
  for _, c in ipairs(list) do
    if c.id == claimant then before = others end
    if sum + c.need <= limit - a.used then
      sum = sum + c.need
      if c.id ~= claimant then others = others + c.need end
    end
  end
  return before or others, others
end

-- tell stores that so many percent of the limit are used, unless that or more was told before of this period and limit
-- (as the last events tell; a period has two for each limit that it had); true where it did. The period must be open.
local function tell(a, limit, now, percent)
  local period = redis.call('HGET', ACCOUNT, 'period')
  for _, event in ipairs(redis.call('LRANGE', EVENTS, -16, -1)) do
    local told, of, by = string.match(event, '^(%d+) %d+ (%S+) %d+ (%d+)$')
    if of == period and by == int(limit) and tonumber(told) >= percent then return false end
  end
  redis.call('RPUSH', EVENTS, int(percent) .. ' ' .. int(now) .. ' ' .. period .. ' ' .. int(a.used) .. ' ' .. int(limit))
  redis.call('LTRIM', EVENTS, -KEPT_EVENTS, -1)
  return true
end

-- dump returns the account as it is stored: {status, now, rev, plan, limit, anchor, zone, period, start, end, until,
-- used, wasted, reserved, removed}, '' for what isn't; reservations whose lease has ended are left out of reserved.
local function dump(status, now)
  local v = redis.call('HMGET', ACCOUNT, 'rev', 'plan', 'limit', 'anchor', 'zone', 'period', 'start', 'end', 'until',
    'used', 'wasted', 'reserved', 'removed')
  local _, held = expired(now)
  local out = { status, int(now) }
  for i = 1, 11 do out[i + 2] = v[i] or '' end
  out[14] = int(tonumber(v[12] or 0) - held)
  out[15] = v[13] or ''
  return out
end

-- view returns the account's state at now, or nil where the caller must look again. It writes nothing: a new period is
-- opened by open, once the script knows that it will write. The highest period stays open while the clock is behind it.
local function view(now)
  local v = redis.call('HMGET', ACCOUNT, 'rev', 'start', 'end', 'used', 'wasted', 'reserved', 'last')
  if (v[1] or '0') ~= ARGV[1] or now < tonumber(ARGV[3]) or now >= tonumber(ARGV[4]) then return nil end
  local a = { start = tonumber(v[2] or 0), fin = tonumber(v[3] or 0), used = tonumber(v[4] or 0),
    wasted = tonumber(v[5] or 0), reserved = tonumber(v[6] or 0), last = tonumber(v[7] or 0) }
  if now < a.fin then return a end
  if now < tonumber(ARGV[6]) or now >= tonumber(ARGV[7]) then return nil end
  a.start = math.max(tonumber(ARGV[6]), a.fin)
  a.fin, a.used, a.wasted, a.opens = tonumber(ARGV[7]), 0, 0, true
  return a
end

local function open(a)
  if not a.opens then return end
  redis.call('HSET', ACCOUNT, 'period', ARGV[5], 'start', int(a.start), 'end', int(a.fin), 'until', ARGV[8],
    'used', '0', 'wasted', '0')
end

-- work books the time since the last sign of traffic as busy, unless it was a pause.
local function work(a, now)
  local busy = now - a.last
  if busy > 0 and busy < PAUSE then redis.call('HINCRBY', DAYS, ARGV[2] .. ' busy', int(busy)) end
end

-- waste books what a pool wasted beyond what it told before. Waste is a part of what is used: bytes of a file that was
-- read in the last period and found useless in this one show in the history of days only.
local function waste(a, p, total)
  local more = total - p.wasted
  if more <= 0 then return end
  p.wasted = total
  local counted = math.min(more, a.used - a.wasted)
  if counted > 0 then
    a.wasted = a.wasted + counted
    redis.call('HINCRBY', ACCOUNT, 'wasted', int(counted))
  end
  redis.call('HINCRBY', DAYS, ARGV[2] .. ' wasted', int(more))
end
