-- create stores a new job with its scan ready to be sent. What is nothing isn't stored: a hundred thousand jobs may wait
-- here. The history begins with the fields created and by.
-- KEYS: 11... the parts of its plan, which are there for a while; from now on they stay
-- ARGV: 1 by, 2 ms that an owner may be silent, 0 for no owner; then field, value, ... of the job
-- Result: 1 created, 0 there already, -1 where a part of the plan is missing
if redis.call('EXISTS', job) == 1 then return 0 end
for i = 11, #KEYS do
  if redis.call('EXISTS', KEYS[i]) == 0 then return -1 end
end
for i = 11, #KEYS do redis.call('PERSIST', KEYS[i]) end
redis.call('HSET', job, 'state', 'queued', 'created', num(now), 'by', ARGV[1], 'open', '0', 'batches', '0', unpack(ARGV, 3))
if ARGV[2] ~= '0' then redis.call('HSET', job, 'owner_until', num(now + tonumber(ARGV[2]))) end
make_ready('scan')
return 1
