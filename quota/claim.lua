-- claim.lua: keeps or renews a claim. Of more than 64 the oldest are kept: each call keeps reserve.lua's work small, and
-- the others are kept as soon as older ones are granted.
--
-- KEYS: see common.lua
-- ARGV: 1 claim  2 need  3 since
-- Result: 1
-- One that was granted or dropped within the last minute isn't kept: whoever renews it hasn't heard yet.

local MOST = 64
local now = clock()
local had = redis.call('HGET', CLAIMS, ARGV[1])
if had then
  local c = claim(had)
  if c.need == 0 and c.since >= tonumber(ARGV[3]) and alive(now, c.renewed) then return 1 end
end
local rows, list = redis.call('HGETALL', CLAIMS), {}
for i = 1, #rows, 2 do
  local c = claim(rows[i + 1])
  c.id = rows[i]
  if c.id == ARGV[1] or not alive(now, c.renewed) then
    redis.call('HDEL', CLAIMS, c.id)
  elseif c.need > 0 then
    list[#list + 1] = c
  end
end
list[#list + 1] = { id = ARGV[1], since = tonumber(ARGV[3]) }
table.sort(list, older)
redis.call('HSET', CLAIMS, ARGV[1], ARGV[2] .. ' ' .. ARGV[3] .. ' ' .. int(now))
for i = MOST + 1, #list do redis.call('HDEL', CLAIMS, list[i].id) end
return 1
