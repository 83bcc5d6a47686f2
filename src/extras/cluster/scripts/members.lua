-- The members of a room: prefix, room. Gives the fields of its hash, without those of processes that are dead.
local fields, living = redis.call('HGETALL', P .. 'room:' .. ARGV[2]), {}
for at = 1, #fields, 2 do
  if fields[at] == 'announce' or is_alive(fields[at]) then
    table.insert(living, fields[at])
    table.insert(living, fields[at + 1])
  end
end
return living
