-- feed takes the next units out of ready, up to the window, and numbers them.
-- ARGV: 1 window
-- Result: {queue, account, unit, attempt, unit, attempt, ...}; {} when the job isn't running
if not runs(field('state')) then return {} end
local out = {field('queue'), field('account')}
local room = tonumber(ARGV[1]) - redis.call('ZCARD', fed)
-- An order by size or age needs the whole scan first; the scan itself is the first of all units.
if field('ordered') == '1' and field('scan_complete') ~= '1' then
  if not redis.call('ZSCORE', ready, 'scan') then return out end
  room = math.min(room, 1)
end
if room <= 0 then return out end
local units = redis.call('ZRANGE', ready, 0, room - 1)
for _, unit in ipairs(units) do
  redis.call('ZREM', ready, unit)
  redis.call('ZADD', fed, num(now), unit)
  out[#out + 1] = unit
  out[#out + 1] = num(redis.call('HINCRBY', att, unit, 1))
end
return out
