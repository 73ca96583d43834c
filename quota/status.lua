-- status.lua: tells how the account stands. It writes nothing.
--
-- KEYS: see common.lua
-- ARGV: none
-- Result: {'ok', ...}, see dump in common.lua

return dump('ok', clock())
