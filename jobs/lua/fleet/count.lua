-- count adds to what all processes together have done so far. A call that is sent again, since its answer was lost, counts
-- nothing.
-- KEYS, in one slot: 1 totals  hash    name -> number; 'last' is when an outcome was recorded last, ms since 1970 UTC
--                    2 told    string  the number of the process's last call
-- ARGV: 1 number of this call, 2 ms for which it is remembered; then name, change, ...
-- Result: 1, or 0 where this call was counted before
if redis.call('GET', KEYS[2]) == ARGV[1] then return 0 end
local clock = redis.call('TIME')
for i = 3, #ARGV, 2 do
  redis.call('HINCRBY', KEYS[1], ARGV[i], ARGV[i + 1])
  if string.sub(ARGV[i], 1, 6) == 'files:' then
    redis.call('HSET', KEYS[1], 'last', string.format('%.0f', tonumber(clock[1]) * 1000 + math.floor(tonumber(clock[2]) / 1000)))
  end
end
redis.call('SET', KEYS[2], ARGV[1], 'PX', ARGV[2])
return 1
