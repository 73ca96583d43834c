-- put stores a schedule, or gives one another definition: its runs stay.
-- KEYS: 1 all (zset of IDs), 2 due (zset, ID -> ms), 3 the schedule (hash)
-- ARGV: 1 ID, 2 definition (JSON), 3 its mark, 4 ms when it is due, '' for never, 5 schedules at most, 6 '1' to replace one
-- Result: 1 stored, 0 there is one, -1 there are too many
local there = redis.call('EXISTS', KEYS[3]) == 1
if there and ARGV[6] ~= '1' then return 0 end
if not there and redis.call('ZCARD', KEYS[1]) >= tonumber(ARGV[5]) then return -1 end
redis.call('ZADD', KEYS[1], 0, ARGV[1])
redis.call('HSET', KEYS[3], 'def', ARGV[2], 'rev', ARGV[3])
if redis.call('HGET', KEYS[3], 'paused') == '1' then
  plan(KEYS[3], KEYS[2], ARGV[1], '')
else
  plan(KEYS[3], KEYS[2], ARGV[1], ARGV[4])
end
return 1
