-- What every script of a lane's ring shares; it is put before each of them.
-- The ring says whose turn it is in a lane: first among the accounts that have something to claim, then among the
-- account's jobs. Each has a virtual time, which grows with what was done for it; the smallest is next. One that comes
-- anew starts at the time of the last turn, or at its own where that is later: having been idle gains nothing, and
-- neither does leaving and coming back. A time is in units of 1 KiB of work.
-- KEYS of every script, all in the slot of {fair:LANE}; those of an account are made from the first:
--   1 accounts      zset  account -> time    accounts with jobs in the ring
--   2 rest          zset  account -> time    those out of it whose time is ahead of the lane's
--   3 clock         hash  '*' and account -> time of the last turn; '#' numbers the entries of jobs
--   4 turn          hash  job -> number      grows each time something is sent for the job
--     owed          string                 tasks that weren't sent, since there were plenty in the queue
--     jobs:ACCOUNT  zset  job -> time        the account's jobs in the ring
--     rest:ACCOUNT  zset  job -> time        those out of it whose time is ahead of the account's
local accounts, rest, clock, turn = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local base = string.sub(accounts, 1, -9)
local owed = base .. 'owed'

local function num(n) return string.format('%.0f', n) end
local function jobs_of(account) return base .. 'jobs:' .. account end
local function rest_of(account) return base .. 'rest:' .. account end
local function time_of(set, member) return tonumber(redis.call('ZSCORE', set, member) or nil) end
local function last(field) return tonumber(redis.call('HGET', clock, field) or '0') end

-- enter puts a member into a ring that it isn't in.
local function enter(ring, out, field, member)
  if redis.call('ZSCORE', ring, member) then return end
  redis.call('ZADD', ring, num(math.max(time_of(out, member) or 0, last(field))), member)
  redis.call('ZREM', out, member)
end

-- keep remembers the time of a member out of the ring, if it will matter.
local function keep(out, field, member, time)
  if time > last(field) then
    redis.call('ZADD', out, num(time), member)
  else
    redis.call('ZREM', out, member)
  end
end

-- add lets a member's time grow, in the ring or out of it; start is what it was with the turn that is charged. Where cost
-- is less than none, since a turn came to less than was expected, the time doesn't fall behind the last turn's.
local function add(ring, out, field, member, start, cost)
  local time = time_of(ring, member)
  if time then
    redis.call('ZADD', ring, num(math.max(time + cost, math.min(time, last(field)))), member)
  else
    keep(out, field, member, (time_of(out, member) or start) + cost)
  end
end

-- leave takes a member out of a ring.
local function leave(ring, out, field, member)
  local time = time_of(ring, member)
  if not time then return end
  redis.call('ZREM', ring, member)
  keep(out, field, member, time)
end

-- pass notes the time of a turn; what is out of the ring and behind it has nothing to remember.
local function pass(out, field, time)
  if time > last(field) then redis.call('HSET', clock, field, num(time)) end
  redis.call('ZREMRANGEBYSCORE', out, '-inf', num(last(field)))
end
