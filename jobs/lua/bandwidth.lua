-- bandwidth changes the --bwlimit of a job that hasn't ended; '' makes the order's hold again.
-- ARGV: 1 bandwidth
-- Result: {1 done or 0 (the job has ended, or there is none), state}
local state = field('state')
if state == '' or field('finished') ~= '' then return {0, state} end
if ARGV[1] == '' then
  redis.call('HDEL', job, 'bwlimit')
else
  redis.call('HSET', job, 'bwlimit', ARGV[1])
end
return {1, state}
