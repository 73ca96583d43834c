-- wake goes on with what is parked or waits for quota, since something of it fits again. A job that was woken in vain is
-- woken again after ever longer times, a minute at most, until something has become of one of its files.
-- ARGV: 1 by, 2 '1' to wake it in any case
-- Result: {1 done or 0, state}
local state = field('state')
local waits = state == 'waiting' and field('reason') == 'quota'
if not waits and not (runs(state) and redis.call('ZCARD', parked) > 0) then return {0, state} end
local mark = ''
for _, name in ipairs({'copied', 'skipped', 'set_aside', 'failed', 'deleted', 'batches'}) do mark = mark .. field(name) .. '|' end
local tries = field('woken_mark') == mark and tonumber(field('woken')) or 0
if ARGV[2] ~= '1' and tries > 0 then
  local ago = now - tonumber(field('woken_at'))
  -- Less than none: the clock was put back.
  if ago >= 0 and ago < math.min(1000 * 2 ^ tries, 60000) then return {0, state} end
end
if tries == 0 then redis.call('HDEL', job, 'patience') end
redis.call('HSET', job, 'woken', num(math.min(tries + 1, 10)), 'woken_at', num(now), 'woken_mark', mark)
if waits then
  local to = resumed()
  gather()
  move(state, to, '', '', '', ARGV[1])
  advance(ARGV[1])
else
  for _, unit in ipairs(redis.call('ZRANGE', parked, 0, -1)) do make_ready(unit) end
  redis.call('DEL', parked)
end
return {1, field('state')}
