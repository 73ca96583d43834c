-- subscribe makes targets known. A new one hears of what happens from now on, one that is known goes on where it was;
-- those that nobody has named for long are forgotten.
-- KEYS: 1 meta (hash, see add), 2 targets (hash): name ':at' -> seq of the last news that is done with; ':sent' -> ms of the
--       last message; ':failing' -> ms since when messages fail; ':claim' -> "mark|ms" who sends, and until when; ':seen' -> ms
-- ARGV: 1 ms after which a target is forgotten; then names
-- Result: number of new targets
local meta, targets = KEYS[1], KEYS[2]
local clock = redis.call('TIME')
local now = tonumber(clock[1]) * 1000 + math.floor(tonumber(clock[2]) / 1000)
local function num(n) return string.format('%.0f', n) end
local seq, new = redis.call('HGET', meta, 'seq') or '0', 0
redis.call('HSETNX', meta, 'since', num(now))
redis.call('HSET', meta, 'seen', num(now))
for i = 2, #ARGV do
  new = new + redis.call('HSETNX', targets, ARGV[i] .. ':at', seq)
  redis.call('HSET', targets, ARGV[i] .. ':seen', num(now))
end
local all = redis.call('HGETALL', targets)
for i = 1, #all, 2 do
  local name = string.match(all[i], '^(.*):seen$')
  if name and tonumber(all[i + 1]) < now - tonumber(ARGV[1]) then
    redis.call('HDEL', targets, name .. ':at', name .. ':sent', name .. ':failing', name .. ':claim', name .. ':seen')
  end
end
return new
