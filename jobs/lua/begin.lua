-- begin notes that work on an entry begins, in a batch that a worker has died with before. What was begun and has no
-- outcome when the worker dies is suspected of having killed it.
-- KEYS: 11 crashes (hash), see audit; unit '/' index -> "fence:how fence:how"
-- ARGV: 1 unit, 2 fence, 3 index, 4 how: p among others, t among others after it was suspected, a alone in its process
-- Result: {1 or 0 (lost), state}
local state = field('state')
if not owns(ARGV[1], ARGV[2]) then return {0, state} end
local name, all = ARGV[1] .. '/' .. ARGV[3], ''
for mark in string.gmatch(redis.call('HGET', KEYS[11], name) or '', '%S+') do
  if string.match(mark, '^[^:]+') ~= ARGV[2] then all = all .. mark .. ' ' end
end
redis.call('HSET', KEYS[11], name, all .. ARGV[2] .. ':' .. ARGV[4])
return {1, state}
