-- create stores a new job with its scan ready to be sent.
-- ARGV: 1 by; then field, value, ... of the job
-- Result: 1 created, 0 there already
if redis.call('EXISTS', job) == 1 then return 0 end
for i = 2, #ARGV, 2 do redis.call('HSET', job, ARGV[i], ARGV[i + 1]) end
redis.call('HSET', job, 'state', 'queued', 'created', num(now), 'changed', num(now), 'open', '0', 'batches', '0',
  'scan_complete', '0')
redis.call('RPUSH', history, num(now) .. '||queued||' .. ARGV[1])
redis.call('ZADD', order, '-inf', 'scan')
make_ready('scan')
return 1
