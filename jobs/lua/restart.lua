-- restart lets an ended job run again: what reopen made ready, and the scan where it had gaps.
-- KEYS: 11 crashes (hash), see audit: what was counted is forgotten
-- ARGV: 1 states that it is allowed from, 2 by, 3 '1' to scan again; to do nothing but purge also 4 the order that says so,
--       5 the order that it takes the place of
-- Result: {1 done or 0 not allowed, state}
local state = field('state')
if not string.find(ARGV[1], '|' .. state .. '|', 1, true) then return {0, state} end
if ARGV[4] and field('order') ~= ARGV[5] then return {0, state} end
redis.call('DEL', KEYS[11])
redis.call('ZREM', order, 'finish')
redis.call('ZREM', ready, 'finish')
redis.call('HSET', job, 'finished', '', 'error', '')
if ARGV[4] then
  redis.call('HSET', job, 'order', ARGV[4])
else
  redis.call('HDEL', job, 'proved') -- what is copied now is held for its own time
end
redis.call('HDEL', job, 'storage_after_trash', 'storage_after') -- measured again at the new end
gather()
redis.call('ZREM', ready, 'finish')
local to = 'transferring'
if ARGV[3] == '1' then
  redis.call('HSET', job, 'scan_complete', '0')
  make_ready('scan')
  to = 'scanning'
end
move(state, to, '', '', '', ARGV[2])
redis.call('HSET', job, 'error', '')
advance(ARGV[2])
return {1, field('state')}
