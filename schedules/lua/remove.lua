-- remove forgets a schedule and its runs. A run that is under way can't be settled any more; its jobs stay.
-- KEYS: 1 all (zset of IDs), 2 due (zset), 3 open (zset), 4 the schedule (hash), 5 its runs (list)
-- ARGV: 1 ID
-- Result: 1 removed, 0 there was none
local there = redis.call('EXISTS', KEYS[4])
redis.call('ZREM', KEYS[1], ARGV[1])
redis.call('ZREM', KEYS[2], ARGV[1])
redis.call('ZREM', KEYS[3], ARGV[1])
redis.call('DEL', KEYS[4], KEYS[5])
return there
