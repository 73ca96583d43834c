-- hold_keep calls the deletions of a job on hold off: its order deletes nothing from now on, and the job goes on to its end.
-- Who held the finish before may store nothing more. A job that was paused on hold goes on as well.
-- ARGV: 1 the order without deletions, 2 by
-- Result: {1 done, 0 not on hold or -1 a worker is at the deletions, state}
local state = field('state')
local held = state == 'waiting' and field('reason') == 'hold' or state == 'paused' and field('proved') ~= ''
if not held or not redis.call('ZSCORE', order, 'finish') then return {0, state} end
if redis.call('ZSCORE', lease, 'finish') then return {-1, state} end
redis.call('HSET', job, 'order', ARGV[1], 'hold_called_off', '1')
drop('finish')
make_ready('finish')
move(state, 'finishing', '', '', '', ARGV[2])
return {1, field('state')}
