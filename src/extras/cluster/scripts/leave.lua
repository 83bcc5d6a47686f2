-- A process has no members in a room any more: prefix, room, node. With the last ones the room goes.
local room = P .. 'room:' .. ARGV[2]
redis.call('HDEL', room, ARGV[3])
for _, field in ipairs(redis.call('HKEYS', room)) do
  if field ~= 'announce' and is_alive(field) then return 0 end
end
return redis.call('DEL', room)
