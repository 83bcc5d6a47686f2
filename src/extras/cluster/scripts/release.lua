-- A client is gone: prefix, uuid, node, milliseconds. Nothing happens where another process has it by now.
local key = P .. 'client:' .. ARGV[2]
local client = redis.call('HMGET', key, 'node', 'ident', 'resume', 'type', 'path', 'rooms')
if client[1] ~= ARGV[3] then return 0 end
local channels = browser_channels(client[4], client[5])
for _, room in ipairs(cjson.decode(client[6] or '[]')) do table.insert(channels, 'room:' .. room[1]) end
listen(ARGV[3], -1, client[3], channels, ARGV[4])
redis.call('DEL', key)
forget('queue:' .. ARGV[2])
if client[2] ~= '' then redis.call('ZREM', P .. 'ident:' .. client[2], ARGV[2]) end
return 1
