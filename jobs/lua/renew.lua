-- renew extends the lease of a unit and tells what the worker does now.
-- ARGV: 1 unit, 2 fence, 3 lease in ms, 4 worker, 5 live report (JSON), '' for none
-- Result: {1 or 0 (lost), state}
local state = field('state')
if not owns(ARGV[1], ARGV[2]) then return {0, state} end
redis.call('ZADD', lease, num(now + tonumber(ARGV[3])), ARGV[1])
if ARGV[5] ~= '' then 
  -- A report bears the time of this clock, whatever the worker's says.
  local report = string.gsub(ARGV[5], '^{"t":%d+', '{"t":' .. num(now))
  redis.call('HSET', live, ARGV[4] .. '/' .. ARGV[1], report)
end
return {1, state}
