-- drain asks a worker to take nothing new, or to go on. A worker that isn't there any more is asked nothing.
-- KEYS: as for beat
-- ARGV: 1 name, 2 '1' to take nothing new, '0' to go on
-- Result: 1, or 0 where there is no such worker
if not redis.call('ZSCORE', KEYS[1], ARGV[1]) then return 0 end
if ARGV[2] == '1' then
  redis.call('HSET', KEYS[3], ARGV[1], '1')
else
  redis.call('HDEL', KEYS[3], ARGV[1])
end
return 1
