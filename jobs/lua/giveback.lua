-- giveback returns a unit that isn't done: to be sent again, or parked until something changes. It may also make the
-- whole job wait.
-- ARGV: 1 unit, 2 fence, 3 worker, 4 'ready' or 'parked', 5 smallest need in bytes, 6 reason, 7 until in ms or '',
--       8 error or '', 9 '1' to make the job wait at once,
--       10 ms that the job goes on with only parked units, since they may fit again soon,
--       11 '1' where the unit was granted what the job had claimed for it
-- Result: {1 or 0 (lost), state}
local state = field('state')
if not owns(ARGV[1], ARGV[2]) then return {0, state} end
drop(ARGV[1])
if ARGV[11] == '1' and field('claim_unit') == ARGV[1] then unclaim() end
if ARGV[4] == 'parked' then
  redis.call('ZADD', parked, ARGV[5], ARGV[1])
  -- The job waits for what needs least, so it is that which says why and until when.
  if redis.call('ZRANGE', parked, 0, 0, 'WITHSCORES')[2] == redis.call('ZSCORE', parked, ARGV[1]) then
    redis.call('HSET', job, 'park_reason', ARGV[6], 'park_until', ARGV[7], 'park_error', ARGV[8])
    if ARGV[10] == '0' then redis.call('HDEL', job, 'patience') end
  end
  if tonumber(ARGV[10]) > 0 then redis.call('HSETNX', job, 'patience', num(now + tonumber(ARGV[10]))) end
  advance(ARGV[3])
else
  make_ready(ARGV[1])
  if ARGV[9] == '1' and runs(state) then
    local till = ARGV[7]
    if ARGV[6] == 'sign_in' and till ~= '' then
      -- A remote that goes on refusing is asked less and less: each refused sign-in may lengthen a lock-out.
      local tries = redis.call('HINCRBY', job, 'refusals', 1)
      till = num(now + math.min(math.max(tonumber(till) - now, 60000) * 4 ^ math.min(tries - 1, 10), 86400000))
    end
    redis.call('HSET', job, 'wait_need', ARGV[5])
    move(state, 'waiting', ARGV[6], till, ARGV[8], ARGV[3])
  end
end
return {1, field('state')}
