-- adopt gives the job to a queue: that of one foreground process, or the pool's. Tasks sent to another queue are void.
-- ARGV: 1 queue, 2 owner or '', 3 ms that the owner may be silent, 4 owner that is known to be dead, or ''
-- Result: {1 done or 0 (another living process owns it), state}
local state = field('state')
local owner = field('owner')
if owner ~= '' and owner ~= ARGV[2] and owner ~= ARGV[4] and tonumber(field('owner_until')) > now then
  return {0, state}
end
if field('queue') ~= ARGV[1] then
  for _, unit in ipairs(redis.call('ZRANGE', fed, 0, -1)) do
    drop(unit)
    make_ready(unit)
  end
end
redis.call('HSET', job, 'queue', ARGV[1], 'owner', ARGV[2], 'owner_until', num(now + tonumber(ARGV[3])))
return {1, state}
