-- exhausted.lua: stores that nothing more fits the period, unless it is stored already.
--
-- KEYS and ARGV 1 to 8: see common.lua
-- ARGV: 9 limit, -1 for none
-- Result: {'ok', '100'} stored, {'ok', '0'} it was
--         {'moved', ...}

local limit = tonumber(ARGV[9])
local now = clock()
local a = view(now)
if not a then return dump('moved', now) end
if limit <= 0 then return { 'ok', '0' } end
open(a)
return { 'ok', tell(a, limit, now, 100) and '100' or '0' }
