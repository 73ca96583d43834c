-- look asks for the lead and tells what there is to do. One process leads; its lead lasts for a while after each look. A lead
-- that lasts longer than any was given before the clock was put back, and is shortened.
-- KEYS: 1 lead (string, mark of the leader), 2 due (zset, ID -> ms), 3 open (zset, ID -> ms when its run's lease ends)
-- ARGV: 1 mark, 2 ms that the lead lasts, 3 schedules at most, 4 ms that a run's lease lasts at most
-- Result: {1 or 0 (another leads), now, ms of the next due schedule or '', number of due ones, IDs of them...,
--         IDs whose run nobody looks after any more...}
local lasts = tonumber(ARGV[2])
local who = redis.call('GET', KEYS[1])
if who and who ~= ARGV[1] then
  if redis.call('PTTL', KEYS[1]) > lasts then redis.call('PEXPIRE', KEYS[1], lasts) end
  return {'0', num(now), '', '0'}
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', lasts)
local due = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', num(now), 'LIMIT', 0, tonumber(ARGV[3]))
local later = redis.call('ZRANGEBYSCORE', KEYS[2], '(' .. num(now), '+inf', 'WITHSCORES', 'LIMIT', 0, 1)
local found = {'1', num(now), later[2] and num(tonumber(later[2])) or '', tostring(#due)}
for _, id in ipairs(due) do found[#found + 1] = id end
local left = redis.call('ZRANGEBYSCORE', KEYS[3], '-inf', num(now), 'LIMIT', 0, tonumber(ARGV[3]))
for _, id in ipairs(left) do found[#found + 1] = id end
left = redis.call('ZRANGEBYSCORE', KEYS[3], '(' .. num(now + tonumber(ARGV[4])), '+inf', 'LIMIT', 0, tonumber(ARGV[3]))
for _, id in ipairs(left) do found[#found + 1] = id end
return found
