-- sweep.lua: closes the account's pools whose lease has ended; what they charged stays used, what they hold is free.
--
-- KEYS: see common.lua
-- ARGV: 1 lease in milliseconds
-- Result: number of pools closed

local now = clock()
local ids, held = expired(now)
expire(ids, held, now, tonumber(ARGV[1]))
return #ids
