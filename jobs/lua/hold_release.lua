-- hold_release ends the hold of a job now: its deletions are next, each proved again before. A job that was paused on hold
-- goes on as well.
-- ARGV: 1 length of the hold in ms, 2 by
-- Result: {1 done, 0 not on hold or -1 a worker is at the deletions, state}
local state = field('state')
local held = state == 'waiting' and field('reason') == 'hold' or state == 'paused' and field('proved') ~= ''
if not held or not redis.call('ZSCORE', order, 'finish') then return {0, state} end
if redis.call('ZSCORE', lease, 'finish') then return {-1, state} end
redis.call('HSET', job, 'proved', num(now - tonumber(ARGV[1])))
gather()
make_ready('finish')
move(state, 'finishing', '', '', '', ARGV[2])
return {1, field('state')}
