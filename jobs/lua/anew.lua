-- anew forgets the deaths that are counted against a unit and its entries.
-- KEYS: 11 crashes (hash), see audit
-- ARGV: 1 unit, 2 fence
-- Result: {1 or 0 (lost), state}
local state = field('state')
if not owns(ARGV[1], ARGV[2]) then return {0, state} end
for _, name in ipairs(redis.call('HKEYS', KEYS[11])) do
  if name == ARGV[1] or string.sub(name, 1, #ARGV[1] + 1) == ARGV[1] .. '/' then redis.call('HDEL', KEYS[11], name) end
end
return {1, state}
