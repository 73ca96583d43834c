-- What every script of a job shares; it is put before each of them.
-- KEYS of every script, all in the slot of {JOB}:
--   1 job     hash  the job's fields and counters
--   2 ready   zset  unit -> order        units that no task has been sent for
--   3 fed     zset  unit -> ms           units that a task was sent for, and when
--   4 lease   zset  unit -> ms           units that a worker holds, and until when
--   5 att     hash  unit -> number       grows with each sending and each claim: the fencing number
--                   unit:claims -> fences of the last claims of a unit that hasn't ended, each "number.mark"
--   6 holder  hash  unit -> worker       who holds the lease
--   7 parked  zset  unit -> bytes        units that nothing can be done for now, and the smallest need of each
--   8 history list  "ms|from|to|reason|by", without the creation
--   9 order   zset  unit -> order        the order of every batch and of the finish, for sending them again
--  10 live    hash  worker/unit -> JSON  what is being done now
-- Times are milliseconds since 1970 UTC on the server's clock.
local job, ready, fed, lease, att, holder, parked, history, order, live =
  KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6], KEYS[7], KEYS[8], KEYS[9], KEYS[10]
local clock = redis.call('TIME')
local now = tonumber(clock[1]) * 1000 + math.floor(tonumber(clock[2]) / 1000)

local function num(n) return string.format('%.0f', n) end
local function field(name) return redis.call('HGET', job, name) or '' end

local function runs(state)
  return state == 'queued' or state == 'scanning' or state == 'transferring' or state == 'finishing'
end

-- owns tells whether a fence is that of the unit now: its number, and of a claim the mark behind it. A Redis that was put
-- back, by a failover or an older file, hands out a number again: only the mark tells the two holders apart.
local function owns(unit, fence)
  local n, mark = string.match(fence, '^(%d+)(%.?.*)$')
  if redis.call('HGET', att, unit) ~= n then return false end
  if mark == '' then return true end -- of a task, or of a claim by an earlier version
  return string.sub(redis.call('HGET', att, unit .. ':claims') or '', -#fence) == fence
end

-- fence_of is the fence of whoever holds the unit now.
local function fence_of(unit)
  local n = redis.call('HGET', att, unit)
  local last = string.match(redis.call('HGET', att, unit .. ':claims') or '', '%S+$') or ''
  return string.match(last, '^%d+') == n and last or n -- without a mark it is a claim by an earlier version
end

-- recorded tells whether the last record of the claim that holds the unit is the one that it believes to be the last. After
-- Redis was put back, records may be missing though the claim still stands.
local function recorded(unit, last) return field('last:' .. unit) == last end

-- move changes the state; the caller has checked that it may.
local function move(from, to, reason, till, err, by)
  redis.call('RPUSH', history, num(now) .. '|' .. from .. '|' .. to .. '|' .. reason .. '|' .. by)
  redis.call('HSET', job, 'state', to, 'reason', reason, 'until', till, 'changed', num(now))
  if err ~= '' or from == 'waiting' then redis.call('HSET', job, 'error', err) end
  if to == 'completed' or to == 'completed_with_warnings' or to == 'failed' or to == 'canceled' then
    redis.call('HSET', job, 'finished', num(now))
  end
end

-- drop takes a unit out of the hands of whoever holds it: they may store nothing more, nor renew the lease. It returns
-- the unit's new number.
local function drop(unit)
  redis.call('ZREM', fed, unit)
  redis.call('ZREM', lease, unit)
  local who = redis.call('HGET', holder, unit)
  if who then
    redis.call('HDEL', holder, unit)
    redis.call('HDEL', live, who .. '/' .. unit)
  end
  -- What the unit had set aside of --max-transfer is free again.
  local open = tonumber(redis.call('HGET', job, 'open:' .. unit) or '0')
  if open > 0 then redis.call('HINCRBY', job, 'transferred', num(-open)) end
  redis.call('HDEL', job, 'open:' .. unit, 'last:' .. unit)
  return num(redis.call('HINCRBY', att, unit, 1))
end

-- make_ready puts a unit among those that may be sent, in its order.
local function make_ready(unit)
  redis.call('ZADD', ready, unit == 'scan' and '-inf' or redis.call('ZSCORE', order, unit) or '0', unit)
end

-- gather makes ready what stands still: parked units, and those whose task was thrown away by whoever took it while the
-- job didn't run.
local function gather()
  for _, unit in ipairs(redis.call('ZRANGE', parked, 0, -1)) do make_ready(unit) end
  redis.call('DEL', parked)
  for _, unit in ipairs(redis.call('ZRANGE', fed, 0, -1)) do
    if not redis.call('ZSCORE', lease, unit) then
      drop(unit)
      make_ready(unit)
    end
  end
end

-- resumed is the state in which a job that stood still goes on.
local function resumed()
  if redis.call('ZSCORE', order, 'finish') then return 'finishing' end
  if field('scan_complete') == '1' then return 'transferring' end
  if field('started') ~= '' then return 'scanning' end
  return 'queued'
end

-- unclaim drops the job's record of the unit that has waited longest for quota.
local function unclaim() redis.call('HDEL', job, 'claim', 'claim_unit') end

-- advance moves the job on when a unit has ended: to its finish when nothing is left, to waiting when only parked
-- units are, unless what keeps them back is soon over ('patience').
local function advance(by)
  local state = field('state')
  if state ~= 'transferring' then return end
  if field('open') == '0' then
    move(state, 'finishing', '', '', '', by)
    redis.call('ZADD', order, '+inf', 'finish')
    make_ready('finish')
  elseif redis.call('ZCARD', ready) == 0 and redis.call('ZCARD', fed) == 0 and redis.call('ZCARD', parked) > 0
    and (tonumber(field('patience')) or 0) <= now then
    redis.call('HDEL', job, 'wait_need')
    move(state, 'waiting', field('park_reason'), field('park_until'), field('park_error'), by)
  end
end
