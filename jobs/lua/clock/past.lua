-- past lists members of a set of times whose time has come on the server's clock, the earliest first.
-- KEYS: 1 zset  member -> ms since 1970 UTC, and more
-- ARGV: 1 how many at most, 2 what was added to the times that are asked for, 3 ms from now beyond which no time was ever
--       set: what lies there was set before the clock was put back, and has come as well; 0 for none, 4 size of a range
-- Result: {member, ...}
local t = redis.call('TIME')
local now = tonumber(t[1]) * 1000 + math.floor(tonumber(t[2]) / 1000)
local most, base, far = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local function num(n) return string.format('%.0f', n) end
local found = redis.call('ZRANGEBYSCORE', KEYS[1], num(base), num(now + base), 'LIMIT', 0, most)
if far > 0 and #found < most then
  local late = redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. num(now + base + far), '(' .. num(base + tonumber(ARGV[4])), 'LIMIT', 0,
    most - #found)
  for _, member in ipairs(late) do found[#found + 1] = member end
end
return found
