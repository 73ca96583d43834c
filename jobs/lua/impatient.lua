-- impatient ends the patience of a job all of whose units are parked, since what kept them back isn't soon over after all.
-- Of a job that waits for quota already it changes what it says: the limits have changed.
-- ARGV: 1 by, 2 until in ms or '', 3 error
-- Result: {1 done or 0 (it neither waits nor is patient), state}
local state = field('state')
if state == 'waiting' and field('reason') == 'quota' then
  redis.call('HSET', job, 'until', ARGV[2], 'error', ARGV[3])
  return {1, state}
end
if not runs(state) or field('patience') == '' or redis.call('ZCARD', parked) == 0 then return {0, state} end
redis.call('HDEL', job, 'patience')
redis.call('HSET', job, 'park_reason', 'quota', 'park_until', ARGV[2], 'park_error', ARGV[3])
advance(ARGV[1])
return {1, field('state')}
