-- add notes news once. Where nobody has subscribed nothing is kept.
-- KEYS: 1 log (zset "seq|ms|JSON" -> seq), 2 ids (zset id -> ms), 3 meta (hash: seq; since, seen: ms of the first and the
--       last subscription), 4 targets (hash, see subscribe)
-- ARGV: 1 ID, 2 JSON, 3 ms when it happened, 4 news kept at most, 5 IDs kept at most, 6 ms that news, IDs and unused
--       subscriptions are kept
-- Result: 1 noted, 0 known already, from before the first subscription, or nobody listens
local log, ids, meta, targets = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local clock = redis.call('TIME')
local now = tonumber(clock[1]) * 1000 + math.floor(tonumber(clock[2]) / 1000)
local function num(n) return string.format('%.0f', n) end
local since = tonumber(redis.call('HGET', meta, 'since') or '')
if not since then return 0 end
local old = now - tonumber(ARGV[6])
if tonumber(redis.call('HGET', meta, 'seen') or '0') < old then
  redis.call('DEL', log, targets)
  redis.call('HDEL', meta, 'since', 'seen')
  return 0
end
local known = tonumber(redis.call('ZSCORE', ids, ARGV[1]) or '')
if tonumber(ARGV[3]) < since or known and known > old then return 0 end
local seq = redis.call('HINCRBY', meta, 'seq', 1)
redis.call('ZADD', log, num(seq), num(seq) .. '|' .. num(now) .. '|' .. ARGV[2])
redis.call('ZADD', ids, num(now), ARGV[1])
redis.call('ZREMRANGEBYRANK', log, 0, -tonumber(ARGV[4]) - 1)
for _, entry in ipairs(redis.call('ZRANGE', log, 0, 19)) do
  if tonumber(string.match(entry, '^%d+|(%d+)|')) >= old then break end
  redis.call('ZREM', log, entry)
end
redis.call('ZREMRANGEBYSCORE', ids, '-inf', num(old))
redis.call('ZREMRANGEBYRANK', ids, 0, -tonumber(ARGV[5]) - 1)
return 1
