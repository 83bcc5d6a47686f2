-- A client comes back: prefix, uuid, node, type, path, the last position it saw, milliseconds, `1` where only
-- the process that has it already may have it, the earliest position at which it came, or 0, the last number it saw,
-- `1` where the process that had it has let go of it, and the latest position at which it came. Gives one of:
--
-- - nil where the client is not known, `other` where it is one of another kind;
-- - `moved` where it is another process's, with the position at which it came there, and the last number that it
--   had seen then; `late` where it has come to another one since;
-- - `wait` where the process that has it is asked to let go of it first;
-- - `more`, whether something is missing, a slice of what it missed, and the position up to which that is all;
-- - `all`, the same two, the greatest `cseq`, its rooms, its ident, and the receipts that its process died with: then it
--   is this process's.
local key = P .. 'client:' .. ARGV[2]
local client = redis.call('HMGET', key, 'node', 'type', 'path', 'resume', 'cseq', 'rooms', 'born')
local more = redis.call('HMGET', key, 'ident', 'came', 'seq', 'gap', 'free')
local ident, came, noted = more[1] or '', more[2] or '0', more[4]
if not client[1] then return nil end
if client[4] ~= '1' or client[2] ~= ARGV[4] or client[3] ~= ARGV[5] then return {'other'} end
local comes = ARGV[8] ~= '1'
if not comes and client[1] ~= ARGV[3] then return {'moved', came, more[3] or '0'} end
if comes and ARGV[9] ~= '0' and tonumber(ARGV[12]) < tonumber(came) then return {'late'} end
local function yield(node)
  local line = '{"v":1,"at":' .. (ARGV[9] ~= '0' and ARGV[9] or string.format('%.0f', now()))
  line = line .. ',"kind":"yield","uuid":"' .. ARGV[2] .. '","seq":' .. ARGV[10] .. node .. '}\n'
  redis.call('PUBLISH', C .. 'to:' .. client[1], line)
end
if comes and ARGV[11] ~= '1' and not more[5] and client[1] ~= ARGV[3] and is_there(client[1]) then
  yield(',"node":"' .. ARGV[3] .. '"')
  return {'wait'}
end
local MAX_COUNT, MAX_BYTES = 500, 262144
local at = ARGV[6]
if tonumber(at) < tonumber(client[7]) then at = client[7] end
local gap, entries, cutoff = 0, {}, nil
if comes and noted and tonumber(ARGV[6]) < tonumber(noted) then gap = 1 end
local function read(log, from)
  local cut = redis.call('ZSCORE', P .. 'gaps', log)
  if cut and tonumber(cut) > tonumber(from) then gap = 1 end
  local found, bytes = redis.call('XRANGE', P .. log, '(' .. from .. '-0', '+', 'COUNT', MAX_COUNT), 0
  for number, entry in ipairs(found) do
    local place = tonumber(string.match(entry[1], '^%d+'))
    table.insert(entries, {place, entry[2][2]})
    bytes = bytes + #entry[2][2]
    if (number == MAX_COUNT or bytes > MAX_BYTES) and (not cutoff or place < cutoff) then cutoff = place end
    if bytes > MAX_BYTES then break end
  end
end
read('queue:' .. ARGV[2], at)
if client[2] == 'websocket' then
  read('log:all', at)
  read('log:path:' .. ARGV[5], at)
end
local channels = browser_channels(client[2], ARGV[5])
for _, room in ipairs(cjson.decode(client[6] or '[]')) do
  table.insert(channels, 'room:' .. room[1])
  local from = room[4]
  if tonumber(at) > tonumber(from) then from = at end
  read('log:room:' .. room[1], from)
end
local slice = {}
for _, entry in ipairs(entries) do
  if not cutoff or entry[1] <= cutoff then table.insert(slice, entry[2]) end
end
if cutoff then return {'more', gap, slice, string.format('%.0f', cutoff)} end
redis.call('PEXPIRE', key, ARGV[7])
redis.call('PEXPIRE', P .. 'queue:' .. ARGV[2], ARGV[7])
redis.call('SET', P .. 'resumers', '1', 'PX', ARGV[7])
if ident ~= '' then
  redis.call('ZADD', P .. 'ident:' .. ident, 'NX', client[7], ARGV[2])
  redis.call('PEXPIRE', P .. 'ident:' .. ident, ARGV[7])
end
if comes then
  came = ARGV[9] ~= '0' and ARGV[9] or tick()
  redis.call('HSET', key, 'node', ARGV[3], 'came', came, 'seq', ARGV[10])
  redis.call('HDEL', key, 'free')
end
local owed = {}
if not is_there(client[1]) then
  for _, field in ipairs(redis.call('HKEYS', key)) do
    if string.sub(field, 1, 5) == 'owed:' then
      table.insert(owed, string.sub(field, 6))
      redis.call('HDEL', key, field)
    end
  end
end
if client[1] ~= ARGV[3] then
  listen(client[1], -1, '1', channels, ARGV[7])
  listen(ARGV[3], 1, '1', channels, ARGV[7])
  yield('')
end
return {'all', gap, slice, client[5] or '0', client[6] or '[]', ident, owed}
