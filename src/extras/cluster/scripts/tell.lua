-- A message for one: prefix, uuid, ident, rest, milliseconds, number, bytes, sender's uuid and `cseq`, until when it may
-- be executed, and `1` where it is too large to be kept. Gives the position, how many processes got it, and whether
-- it is kept for a client that may resume. Of those that share an ident it is the first whose process is connected, or
-- that may come back. In place of the number of processes: -1 where it was sent before, -2 where it is too
-- late, -3 where the process of the client is not connected, -4 where the client is away and it can't be kept.
if is_late(ARGV[10]) then return {'0', -2, 0} end
local function of(uuid) return redis.call('HMGET', P .. 'client:' .. uuid, 'node', 'resume', 'type') end
local uuid, client, cut_off = ARGV[2], nil, false
if uuid ~= '' then
  client = of(uuid)
  if client[3] ~= 'websocket' then client = nil end
end
if not client and ARGV[3] ~= '' then
  local holders = P .. 'ident:' .. ARGV[3]
  for _, holder in ipairs(redis.call('ZRANGE', holders, 0, -1)) do
    uuid, client = holder, of(holder)
    if client[1] and (client[2] == '1' or is_there(client[1])) then break end
    if client[1] then cut_off = cut_off or may_live(client[1]) else redis.call('ZREM', holders, holder) end
    client = nil
  end
end
if not client then return {'0', cut_off and -3 or 0, 0} end
local resumes, connected = client[2] == '1', is_there(client[1])
if not connected and not resumes then return {'0', may_live(client[1]) and -3 or 0, 0} end
if not connected and ARGV[11] == '1' then return {'0', -4, 0} end
if seen(ARGV[8], ARGV[9]) then return {'0', -1, 0} end
local at = tick()
local message = '{"v":1,"at":' .. at .. ',"to":{"uuid":"' .. uuid .. '"},' .. ARGV[4]
if resumes then keep('queue:' .. uuid, at, message, tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])) end
return {at, redis.call('PUBLISH', C .. 'to:' .. client[1], message), resumes and ARGV[11] ~= '1' and 1 or 0}
