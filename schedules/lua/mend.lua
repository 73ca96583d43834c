-- mend notes another time when a schedule is due: the clock was put back by far, or the zone's rules have changed.
-- KEYS: 1 lead, 2 due (zset), 3 the schedule (hash)
-- ARGV: 1 ID, 2 mark of the leader, 3 mark of the definition, 4 ms when it was due, 5 ms when it is due
-- Result: 1 done, 0 somebody was faster
if redis.call('GET', KEYS[1]) ~= ARGV[2] then return 0 end
if redis.call('HGET', KEYS[3], 'rev') ~= ARGV[3] or redis.call('HGET', KEYS[3], 'paused') == '1' then return 0 end
if (redis.call('HGET', KEYS[3], 'next') or '') ~= ARGV[4] then return 0 end
plan(KEYS[3], KEYS[2], ARGV[1], ARGV[5])
return 1
