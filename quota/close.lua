-- close.lua: ends a pool: what it holds is free again, and what it charged and didn't read is no longer used. Where Redis
-- knows of fewer charges than were read, since it was restarted with an older append-only file, the rest is booked.
--
-- KEYS and ARGV 1 to 8: see common.lua
-- ARGV: 9 pool  10 bytes of its charges that may have been read  11 wasted, the pool's total
--       12 day of the pool's last charge  13 day of its charges before that, '' for none
--       14 '1' where its lease can't have ended, so that it isn't gone unless others closed it
-- Result: {'ok', bytes given back, bytes booked}
--         {'gone', '0', bytes booked}  there is no such pool: it was closed before, by its owner or by others, or forgotten
--         {'moved', ...}
-- It writes nothing unless it answers 'ok', or 'gone' with bytes booked.
-- Charges of a pool that ran over the end of a period are not given back: it can't be told which period they are of.

local id, read, wasted, day, before = ARGV[9], tonumber(ARGV[10]), tonumber(ARGV[11]), ARGV[12], ARGV[13]

local now = clock()
local a = view(now)
if not a then return dump('moved', now) end

-- book counts bytes that were read and that Redis doesn't know of.
local function book(bytes)
  open(a)
  a.used = a.used + bytes
  redis.call('HINCRBY', ACCOUNT, 'used', int(bytes))
  redis.call('HINCRBY', DAYS, ARGV[2] .. ' used', int(bytes))
end

local p = pool(id)
if not p then
  local known = string.match(redis.call('HGET', CLOSED, id) or '', ' (%d+)$')
  known = tonumber(known or (ARGV[14] == '1' and 0 or read))
  if read <= known then return { 'gone', '0', '0' } end
  book(read - known)
  bury(id, read, now, CLOSED_BY_OTHERS)
  return { 'gone', '0', int(read - known) }
end
local held, back, more = p.granted - p.charged, 0, math.max(read - p.charged, 0)
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
if more > 0 then book(more) end
-- What those two days don't hold (a file was read for three) stays used, or the days would add up to more.
back = back - uncount(before, uncount(day, back))
if back > 0 then
  redis.call('HINCRBY', ACCOUNT, 'used', int(-back))
  a.used = a.used - back
  -- Waste of a file of the last period may have been booked against bytes that are given back now.
  if a.wasted > a.used then redis.call('HSET', ACCOUNT, 'wasted', int(a.used)) end
  a.wasted = math.min(a.wasted, a.used)
end
waste(a, p, wasted)
bury(id, math.max(read, p.charged), now, CLOSED_BY_OWNER)
return { 'ok', int(back), int(more) }
