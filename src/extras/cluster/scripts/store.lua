-- The rooms that a client is in: prefix, uuid, node, a list of `[room, name, announce]`, milliseconds. Each gets
-- the position at which the client joined it as its last element. Nothing happens where another process has the client.
local key, now = P .. 'client:' .. ARGV[2], tick()
local client = redis.call('HMGET', key, 'node', 'rooms')
if client[1] ~= ARGV[3] then return 0 end
local since, left, come = {}, {}, {}
for _, room in ipairs(cjson.decode(client[2] or '[]')) do since[room[1]] = room[4] end
local rooms = cjson.decode(ARGV[4])
for _, room in ipairs(rooms) do
  room[4] = since[room[1]] or now
  if not since[room[1]] then table.insert(come, 'room:' .. room[1]) end
  since[room[1]] = nil
end
for room in pairs(since) do table.insert(left, 'room:' .. room) end
listen(ARGV[3], 1, '1', come, ARGV[5])
listen(ARGV[3], -1, '1', left, ARGV[5])
redis.call('HSET', key, 'rooms', #rooms > 0 and cjson.encode(rooms) or '[]')
redis.call('PEXPIRE', key, ARGV[5])
return 1
