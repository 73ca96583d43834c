-- claim gives the news that a target hasn't heard of to one sender, who holds them until it settles or its claim ends.
-- KEYS: 1 log (zset, see add), 2 targets (hash, see subscribe)
-- ARGV: 1 target, 2 mark of the sender, 3 ms that the claim lasts, 4 least ms between two messages, 5 least age of the
--       oldest news in ms, 6 news at most, 7 a sender that is known to be dead, or ''
-- Urgent news don't wait for the time between two messages, and take with them what is there.
-- Result: {ms to wait before asking again; -1 for nothing there, seq done with, ms of failing, mark of another sender who
--         holds a claim or '', entries...}; without entries nothing is claimed
local log, targets = KEYS[1], KEYS[2]
local clock = redis.call('TIME')
local now = tonumber(clock[1]) * 1000 + math.floor(tonumber(clock[2]) / 1000)
local function num(n) return string.format('%.0f', n) end
local function field(name) return redis.call('HGET', targets, ARGV[1] .. ':' .. name) end
local at = field('at')
if not at then return {'-1', '0', '0', ''} end
local failing = tonumber(field('failing') or '')
local found = redis.call('ZRANGEBYSCORE', log, '(' .. at, '+inf', 'LIMIT', 0, tonumber(ARGV[6]))
if #found == 0 then return {'-1', at, '0', ''} end
local wait = 0
local mark, till = string.match(field('claim') or '', '^(.*)|(%d+)$')
local other = ''
if mark and mark ~= ARGV[2] and mark ~= ARGV[7] then
  local left = tonumber(till) - now
  if left > 0 and left <= tonumber(ARGV[3]) then wait, other = left, mark end -- more is left where the clock was put back
end
local urgent = false
for _, entry in ipairs(found) do urgent = urgent or string.find(entry, '"urgent":true', 1, true) ~= nil end
local sent = tonumber(field('sent') or '')
if sent and not urgent and sent <= now then wait = math.max(wait, sent + tonumber(ARGV[4]) - now) end
local oldest = tonumber(string.match(found[1], '^%d+|(%d+)|'))
if oldest <= now then wait = math.max(wait, oldest + tonumber(ARGV[5]) - now) end
if wait > 0 then return {num(wait), at, '0', other} end
redis.call('HSET', targets, ARGV[1] .. ':claim', ARGV[2] .. '|' .. num(now + tonumber(ARGV[3])))
return {'0', at, failing and num(math.max(now - failing, 0)) or '0', '', unpack(found)}
