-- take takes the turn in a lane where nobody has it. Asking again with the same token extends it.
-- KEYS: 1 turn  string  token of who has the turn, for as long as the lease lasts
-- ARGV: 1 token, 2 lease in ms
-- Result: 1, or 0 where somebody else has it
local who = redis.call('GET', KEYS[1])
if who and who ~= ARGV[1] then
  -- A lease that lasts longer than any was given before the server's clock was put back.
  if redis.call('PTTL', KEYS[1]) > tonumber(ARGV[2]) then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
  return 0
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
