-- settle ends a run.
-- KEYS: 1 open (zset), 2 the schedule (hash), 3 its runs (list)
-- ARGV: 1 ID, 2 fence, 3 the run as it ended (JSON), 4 runs kept, 5 '1' where it made jobs
-- Result: 1 ended, 0 it is another's by now, or the schedule was removed
if redis.call('HGET', KEYS[2], 'fence') ~= ARGV[2] then return 0 end
redis.call('HDEL', KEYS[2], 'run', 'fence')
redis.call('ZREM', KEYS[1], ARGV[1])
if ARGV[5] == '1' then redis.call('HSET', KEYS[2], 'last', ARGV[3]) end
push(KEYS[3], ARGV[3], ARGV[4])
return 1
