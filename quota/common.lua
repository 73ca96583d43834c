-- common.lua: the beginning of every script of the ledger (scripts.go puts it before each of them).
--
-- KEYS, the same for all, of one account:
--   1 account  hash: rev plan limit anchor zone (settings), period start end until used wasted reserved (state)
--   2 pools    hash: pool -> "granted charged wasted period", totals in bytes; period is the start of the one period
--              that all its charges fell in, 0 for several
--   3 leases   sorted set: pool by the time at which its reservation ends
--   4 days     hash: "DATE used", "DATE wasted" -> bytes
-- ARGV, the same for all scripts that count (reserve, charge, touch, close):
--   1 rev  2 day  3 day start  4 day end  5 period  6 period start  7 period end  8 until
-- Times are milliseconds since 1970 by Redis' clock; numbers are integers below 2^53.
-- A script that counts answers {'moved', ...} (see dump), having written nothing, where its caller's settings are old or
-- Redis' clock isn't within the given day, or a new period begins that isn't the given one.

local ACCOUNT, POOLS, LEASES, DAYS = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local KEPT_DAYS = 400

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

-- expired returns the pools whose lease has ended, but for one, and the bytes that they hold.
local function expired(now, but)
  local ids, held = {}, 0
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', LEASES, '-inf', int(now))) do
    if id ~= but then
      local p = pool(id)
      ids[#ids + 1] = id
      if p then held = held + p.granted - p.charged end
    end
  end
  return ids, held
end

-- expire closes those pools: what they charged stays used, what they hold is free. Leases that lie further ahead than
-- any renewal puts them come from a clock that has been put back; they are cut, or a dead pool would hold its bytes
-- until that clock is reached again.
local function expire(ids, held, now, lease)
  for _, id in ipairs(ids) do drop(id) end
  if held > 0 then redis.call('HINCRBY', ACCOUNT, 'reserved', int(-held)) end
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', LEASES, int(now + 2 * lease), '+inf')) do
    redis.call('ZADD', LEASES, int(now + lease), id)
  end
end

-- dump returns the account as it is stored: {status, now, rev, plan, limit, anchor, zone, period, start, end, until,
-- used, wasted, reserved}, '' for what isn't; reservations whose lease has ended are left out of reserved.
local function dump(status, now)
  local v = redis.call('HMGET', ACCOUNT, 'rev', 'plan', 'limit', 'anchor', 'zone', 'period', 'start', 'end', 'until',
    'used', 'wasted', 'reserved')
  local _, held = expired(now)
  local out = { status, int(now) }
  for i = 1, 11 do out[i + 2] = v[i] or '' end
  out[14] = int(tonumber(v[12] or 0) - held)
  return out
end

-- view returns the account's state at now, or nil where the caller must look again. It writes nothing: a new period is
-- opened by open, once the script knows that it will write. The highest period stays open while the clock is behind it.
local function view(now)
  local v = redis.call('HMGET', ACCOUNT, 'rev', 'start', 'end', 'used', 'wasted', 'reserved')
  if (v[1] or '0') ~= ARGV[1] or now < tonumber(ARGV[3]) or now >= tonumber(ARGV[4]) then return nil end
  local a = { start = tonumber(v[2] or 0), fin = tonumber(v[3] or 0), used = tonumber(v[4] or 0),
    wasted = tonumber(v[5] or 0), reserved = tonumber(v[6] or 0) }
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
