-- permit leases one process the right to move so many files at once under one set of limits: those of the remotes and of
-- the account that the files belong to. What all processes hold of a limit never comes to more than it, but for files
-- that were under way when it was lowered. The fair share of a process is found by giving one file after the other to
-- all that want more, until they have enough or a limit is reached; the odd ones go round.
-- KEYS: 1 limits  hash  subject -> files at once, '0' for no limit, as set by command
--       2 held    hash  holder|subject,subject -> "files|wanted|until|call", until in ms since 1970 UTC
-- ARGV: 1 holder, 2 subjects in their order, with ',' between them,
--       3 files that it keeps whatever the answer: those under way, and those it may begin before the answer comes,
--       4 files that it would move at once, 5 lease in ms, 6 number of this call, which grows, 7 ms after which odd ones move on,
--       8... subject and limit, by turns, where no command has set one
-- Result: {files, fair share, the least of the limits}; all are -1 where nothing is limited, -2 where a later call was here
local clock = redis.call('TIME')
local now = tonumber(clock[1]) * 1000 + math.floor(tonumber(clock[2]) / 1000)
local function num(n) return string.format('%.0f', n) end
local me = ARGV[1] .. '|' .. ARGV[2]
local keep, want, call = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[6])

local limits, set = {}, redis.call('HGETALL', KEYS[1])
for i = 8, #ARGV - 1, 2 do limits[ARGV[i]] = tonumber(ARGV[i + 1]) end
for i = 1, #set - 1, 2 do limits[set[i]] = tonumber(set[i + 1]) end

-- limited are the subjects of a set that have a limit.
local function limited(subjects)
  local all = {}
  for s in string.gmatch(subjects, '[^,]+') do
    if (limits[s] or 0) > 0 then all[#all + 1] = s end
  end
  return all
end

local mine = limited(ARGV[2])
local all, late, gone = {}, false, {}
local raw = redis.call('HGETALL', KEYS[2])
for i = 1, #raw - 1, 2 do
  local name, files, wanted, till, number = raw[i], string.match(raw[i + 1], '^(%d+)|(%d+)|(%d+)|(%d+)$')
  if name == me then
    late = number and tonumber(number) >= call and tonumber(till) > now
  elseif not till or tonumber(till) <= now then
    gone[#gone + 1] = name
  else
    local of = limited(string.sub(name, string.find(name, '|', 1, true) + 1))
    if #of > 0 then all[#all + 1] = {name = name, of = of, files = tonumber(files), want = tonumber(wanted), share = 0} end
  end
end
if late then return {-2, -2, -2} end

for _, name in ipairs(gone) do redis.call('HDEL', KEYS[2], name) end
if #mine == 0 then
  redis.call('HDEL', KEYS[2], me)
  return {-1, -1, -1}
end

-- What the others leave.
local room, least = math.huge, math.huge
for _, s in ipairs(mine) do
  local left = limits[s]
  least = math.min(least, left)
  for _, e in ipairs(all) do
    for _, other in ipairs(e.of) do
      if other == s then left = left - e.files end
    end
  end
  room = math.min(room, math.max(left, 0))
end

-- The fair shares of all. Where fewer are left than there are to share them, they go to a few, and to the next few later.
local own = {name = me, of = mine, want = want, share = 0}
all[#all + 1] = own
table.sort(all, function(a, b) return a.name < b.name end)
local first, active, left = math.floor(now / tonumber(ARGV[7])) % #all, {}, {}
for i = 1, #all do
  local e = all[(first + i - 1) % #all + 1]
  if e.want > 0 then active[#active + 1] = e end
  for _, s in ipairs(e.of) do left[s] = limits[s] end
end
while #active > 0 do
  local count, step = {}, math.huge
  for _, e in ipairs(active) do
    step = math.min(step, e.want - e.share)
    for _, s in ipairs(e.of) do count[s] = (count[s] or 0) + 1 end
  end
  for s, n in pairs(count) do step = math.min(step, math.floor(left[s] / n)) end
  local rest = {}
  for _, e in ipairs(active) do
    local more = math.max(step, 1)
    for _, s in ipairs(e.of) do more = math.min(more, left[s]) end
    e.share = e.share + more
    for _, s in ipairs(e.of) do left[s] = left[s] - more end
  end
  for _, e in ipairs(active) do
    local goes = e.share < e.want
    for _, s in ipairs(e.of) do goes = goes and left[s] > 0 end
    if goes then rest[#rest + 1] = e end
  end
  active = rest
end

local files = math.max(keep, math.min(want, own.share, room))
if files == 0 and want == 0 then
  redis.call('HDEL', KEYS[2], me)
else
  redis.call('HSET', KEYS[2], me, num(files) .. '|' .. num(want) .. '|' .. num(now + tonumber(ARGV[5])) .. '|' .. num(call))
  redis.call('PEXPIRE', KEYS[2], num(math.max(tonumber(ARGV[5]), redis.call('PTTL', KEYS[2]))))
end
return {files, own.share, least}
