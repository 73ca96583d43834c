-- owe tells how many of the tasks that weren't sent are to be sent now; they are owed no longer.
-- ARGV: 1 how many at most
-- Result: how many
local n = math.min(tonumber(redis.call('GET', owed) or '0'), tonumber(ARGV[1]))
if n <= 0 then return 0 end
redis.call('DECRBY', owed, n)
return n
