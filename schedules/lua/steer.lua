-- steer pauses a schedule or lets it go on. What it missed meanwhile isn't made up for.
-- KEYS: 1 due (zset), 2 the schedule (hash)
-- ARGV: 1 ID, 2 mark of the definition that the next time was reckoned by, 3 '1' to pause, '0' to go on, 4 ms when it is due
-- Result: 1 done, 0 there is none of that definition
if redis.call('HGET', KEYS[2], 'rev') ~= ARGV[2] then return 0 end
if ARGV[3] == '1' then
  redis.call('HSET', KEYS[2], 'paused', '1')
  plan(KEYS[2], KEYS[1], ARGV[1], '')
elseif redis.call('HGET', KEYS[2], 'paused') == '1' then
  redis.call('HDEL', KEYS[2], 'paused')
  plan(KEYS[2], KEYS[1], ARGV[1], ARGV[4])
end
return 1
