-- close.lua: ends a pool: what it holds is free again, and what it charged and didn't read is no longer used.
--
-- KEYS and ARGV 1 to 8: see common.lua
-- ARGV: 9 pool  10 bytes of its charges that may have been read  11 wasted, the pool's total
--       12 day of the pool's last charge  13 day of its charges before that, '' for none
-- Result: {'ok', bytes given back}
--         {'gone'}  there is no such pool: it was closed before, by its owner or by others
--         {'moved', ...}
-- It writes nothing unless it answers 'ok'.
-- Charges of a pool that ran over the end of a period are not given back: it can't be told which period they are of.

local id, read, wasted, day, before = ARGV[9], tonumber(ARGV[10]), tonumber(ARGV[11]), ARGV[12], ARGV[13]

local now = clock()
local a = view(now)
if not a then return dump('moved', now) end

local p = pool(id)
if not p then return { 'gone' } end
local held, back = p.granted - p.charged, 0
if p.period == a.start then back = math.min(math.max(p.charged - read, 0), a.used) end

-- uncount takes bytes off a day, never below zero, and returns what is left of them.
local function uncount(date, bytes)
  if date == '' or bytes <= 0 then return bytes end
  local off = math.min(bytes, tonumber(redis.call('HGET', DAYS, date .. ' used') or 0))
  if off > 0 then redis.call('HINCRBY', DAYS, date .. ' used', int(-off)) end
  return bytes - off
end

open(a)
if held > 0 then redis.call('HINCRBY', ACCOUNT, 'reserved', int(-held)) end
if back > 0 then
  redis.call('HINCRBY', ACCOUNT, 'used', int(-back))
  a.used = a.used - back
  uncount(before, uncount(day, back))
  -- Waste of a file of the last period may have been booked against bytes that are given back now.
  if a.wasted > a.used then redis.call('HSET', ACCOUNT, 'wasted', int(a.used)) end
  a.wasted = math.min(a.wasted, a.used)
end
waste(a, p, wasted)
drop(id)
return { 'ok', int(back) }
