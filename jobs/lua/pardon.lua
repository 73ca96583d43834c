-- pardon is the word of a worker that lost a unit and lives: no death counts against the unit for that. Where nobody has
-- noticed the loss yet, the unit is handed back.
-- KEYS: 11 crashes (hash), see audit
-- ARGV: 1 unit, 2 fence
-- Result: 1 handed back or taken back, 0 there was nothing
if owns(ARGV[1], ARGV[2]) and redis.call('ZSCORE', lease, ARGV[1]) then
  drop(ARGV[1])
  make_ready(ARGV[1])
  return 1
end
local left, found = '', 0
for crash in string.gmatch(redis.call('HGET', KEYS[11], ARGV[1]) or '', '%S+') do
  if string.match(crash, '^[^:]+') == ARGV[2] then
    found = 1
  else
    left = left .. (left == '' and '' or ' ') .. crash
  end
end
if found == 0 then return 0 end
if left == '' then redis.call('HDEL', KEYS[11], ARGV[1]) else redis.call('HSET', KEYS[11], ARGV[1], left) end
return 1
