-- claim gives a unit to a worker, under a lease.
-- ARGV: 1 unit, 2 attempt of the task, 3 worker, 4 lease in ms
-- Result: {fence, state}; fence 0 where the task is out of date or the job doesn't run
local state = field('state')
if not runs(state) or (ARGV[1] == 'finish' and state ~= 'finishing') or not owns(ARGV[1], ARGV[2]) or not redis.call('ZSCORE', fed, ARGV[1]) then
  return {'0', state}
end
if ARGV[1] == 'scan' and state == 'queued' then
  move(state, 'scanning', '', '', '', ARGV[3])
  state = 'scanning'
  redis.call('HSETNX', job, 'started', num(now))
end
local fence = num(redis.call('HINCRBY', att, ARGV[1], 1))
redis.call('ZADD', lease, num(now + tonumber(ARGV[4])), ARGV[1])
redis.call('HSET', holder, ARGV[1], ARGV[3])
return {fence, state}
