-- anew forgets the deaths that are counted against a unit, now that the entry is known which they were due to. They
-- count against no other unit either that was in the same hands. One of them stays unexplained: the more entries of a job
-- seem to kill, the less it is likely that they do.
-- KEYS: 11 crashes (hash), see audit
-- ARGV: 1 unit, 2 fence
-- Result: {1 or 0 (lost), state}
local state, crashes = field('state'), KEYS[11]
if not owns(ARGV[1], ARGV[2]) then return {0, state} end
local known, explained, left = {}, -1, {}
for death in string.gmatch(redis.call('HGET', crashes, ARGV[1]) or '', ':(%d+)') do
  if not known[death] then explained = explained + 1 end
  known[death] = true
end
if explained > 0 then redis.call('HINCRBY', crashes, '=', explained) end
local all = redis.call('HGETALL', crashes)
for i = 1, #all, 2 do
  local name, text = all[i], ''
  if string.find(name, '^b%d+$') then
    for fence, death in string.gmatch(all[i + 1], '(%S+):(%d+)') do
      if not known[death] then text = text .. (text == '' and '' or ' ') .. fence .. ':' .. death end
    end
    left[name] = text
  elseif string.sub(name, 1, #ARGV[1] + 1) == ARGV[1] .. '/' then
    redis.call('HDEL', crashes, name)
  end
end
for name, text in pairs(left) do
  if text == '' then redis.call('HDEL', crashes, name) else redis.call('HSET', crashes, name, text) end
end
return {1, state}
