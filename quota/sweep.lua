-- sweep.lua: closes the account's pools whose lease has ended (what they charged stays used, what they hold is free), and
-- forgets the claims that nobody renews.
--
-- KEYS: see common.lua
-- ARGV: 1 lease in milliseconds
-- Result: number of pools closed

local now = clock()
local list, held = expired(now)
expire(list, held, now, tonumber(ARGV[1]))
local rows = redis.call('HGETALL', CLAIMS)
for i = 1, #rows, 2 do
  if not alive(now, claim(rows[i + 1]).renewed) then redis.call('HDEL', CLAIMS, rows[i]) end
end
return #list
