-- renew keeps a run that is under way, or gives it up: with a lease of 0 another process takes it over at once.
-- KEYS: 1 open (zset), 2 the schedule (hash)
-- ARGV: 1 ID, 2 fence, 3 ms of the lease
-- Result: 1 kept, 0 it is another's by now, or the schedule was removed
if redis.call('HGET', KEYS[2], 'fence') ~= ARGV[2] then return 0 end
redis.call('ZADD', KEYS[1], num(now + tonumber(ARGV[3])), ARGV[1])
return 1
