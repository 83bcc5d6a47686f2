//! What runs inside Redis, so that it happens at once: the scripts.
//!
//! Each begins with the same helpers and gets the prefix of all keys first. `tick` gives a position that
//! grows: the time of Redis in microseconds, or one more than the last. `keep` adds a message to a log
//! and remembers up to where a log was cut for its length. docs/cluster.md describes keys and channels.
//!
//! A log has bounds for its messages and for their bytes. Nobody counts what is in it: what Redis drops for its age is
//! not told, and to look at the oldest message would copy it each time. So a log is counted in parts, of a sixteenth of
//! its bounds each. The open one is counted with each message. When it is full, or has been open for an eighth of the
//! time that messages are kept, the closed ones are looked at, and as many of the oldest are cut off as the next one
//! needs. A message that is larger than the bound is a part of its own.
//!
//! All logs together have a bound too, since a room is made in no time. What is over it is taken from the log that was
//! written to longest ago, which goes as a whole.

use sha1::{Digest, Sha1};

const HELPERS: &str = r#"
local P = ARGV[1]
local function tick()
  local t = redis.call('TIME')
  local at = tonumber(t[1]) * 1000000 + tonumber(t[2])
  local last = tonumber(redis.call('GET', P .. 'clock') or '0')
  if at <= last then at = last + 1 end
  local text = string.format('%.0f', at)
  redis.call('SET', P .. 'clock', text)
  return text
end
local ALL, LOG = 268435456, 1024
-- A log goes, if there is one; gives what it counted. The sum goes with the last one.
local function forget(log)
  local sizes = redis.call('HMGET', P .. 'sizes', log, 'all')
  if not sizes[1] then return 0 end
  redis.call('HDEL', P .. 'sizes', log)
  redis.call('ZREM', P .. 'logs', log)
  redis.call('DEL', P .. log, P .. 'parts:' .. log)
  if redis.call('EXISTS', P .. 'logs') == 1 then
    redis.call('HSET', P .. 'sizes', 'all', tonumber(sizes[2]) - tonumber(sizes[1]))
  else
    redis.call('DEL', P .. 'sizes')
  end
  return tonumber(sizes[1])
end
-- A log was written to: its size is new, or has grown. Gives that of all.
local function count(log, at, size, more)
  local sizes = redis.call('HMGET', P .. 'sizes', log, 'all')
  local was = tonumber(sizes[1] or '0')
  size = size or was + more
  local all = tonumber(sizes[2] or '0') - was + size
  redis.call('HSET', P .. 'sizes', log, size, 'all', all)
  redis.call('ZADD', P .. 'logs', at, log)
  return all
end
-- Up to where a log was cut; of what is too old nobody asks.
local function gap(log, position, from, ms)
  redis.call('ZADD', P .. 'gaps', position, log)
  redis.call('ZREMRANGEBYSCORE', P .. 'gaps', '-inf', from)
  redis.call('PEXPIRE', P .. 'gaps', ms)
end
-- The oldest logs go, where they are too old or all are too large.
local function make_room(log, all, from, ms)
  for _ = 1, 100 do
    local oldest = redis.call('ZRANGE', P .. 'logs', 0, 0, 'WITHSCORES')
    local is_old = tonumber(oldest[2]) < tonumber(from)
    if oldest[1] == log or not is_old and all <= ALL then return end
    all = all - forget(oldest[1])
    if not is_old then gap(oldest[1], oldest[2], from, ms) end
  end
end
local function keep(log, at, message, ms, max, most)
  local from = string.format('%.0f', tonumber(at) - ms * 1000)
  redis.call('XADD', P .. log, 'MINID', '~', from, at .. '-0', 'm', message)
  redis.call('PEXPIRE', P .. log, ms)
  local parts = P .. 'parts:' .. log
  local open = redis.call('HMGET', parts, 'start', 'last', 'count', 'bytes')
  local number, bytes = tonumber(open[3] or '0') + 1, tonumber(open[4] or '0') + #message
  local is_new = open[1] and tonumber(at) - tonumber(open[1]) < ms * 1000 / 8
  if is_new and number <= max / 16 and bytes <= most / 16 then
    redis.call('HSET', parts, 'last', at, 'count', number, 'bytes', bytes)
    local all = count(log, at, nil, #message)
    if all > ALL then make_room(log, all, from, ms) end
    return
  end
  local closed, counts, sizes = {}, 0, 0
  local function add(start, last, number, bytes)
    -- What is too old is no longer there.
    if tonumber(last) < tonumber(from) then return redis.call('HDEL', parts, start) end
    table.insert(closed, {start, last, tonumber(number), tonumber(bytes)})
    counts, sizes = counts + number, sizes + bytes
  end
  local fields = redis.call('HGETALL', parts)
  for place = 1, #fields, 2 do
    local last, number, bytes = string.match(fields[place + 1], '^(%d+):(%d+):(%d+)$')
    if last then add(fields[place], last, number, bytes) end
  end
  if open[1] then
    redis.call('HSET', parts, open[1], open[2] .. ':' .. open[3] .. ':' .. open[4])
    add(unpack(open))
  end
  redis.call('HSET', parts, 'start', at, 'last', at, 'count', 1, 'bytes', #message)
  table.sort(closed, function(one, other) return tonumber(one[1]) < tonumber(other[1]) end)
  local cut = 0
  while closed[cut + 1] and (counts + math.max(1, max / 16) > max or sizes + math.max(#message, most / 16) > most) do
    cut = cut + 1
    counts, sizes = counts - closed[cut][3], sizes - closed[cut][4]
    redis.call('HDEL', parts, closed[cut][1])
  end
  if cut > 0 then
    gap(log, closed[cut][2], from, ms)
    redis.call('XTRIM', P .. log, 'MINID', (closed[cut + 1] or {at})[1])
  end
  make_room(log, count(log, at, LOG + sizes + #message), from, ms)
  -- They are renewed with each part only, before an eighth of the time is over.
  for _, key in ipairs({parts, P .. 'sizes', P .. 'logs'}) do redis.call('PEXPIRE', key, 2 * ms) end
end
local function seen(uuid, cseq)
  if cseq == '' then return false end
  local client = P .. 'client:' .. uuid
  local last = redis.call('HGET', client, 'cseq')
  if not last then return false end
  -- As text, since numbers here are exact only up to 2^53.
  if #cseq < #last or #cseq == #last and cseq <= last then return true end
  redis.call('HSET', client, 'cseq', cseq)
  return false
end
"#;

/// A message for many: prefix, channel, rest of the message, milliseconds, number and bytes of kept ones,
/// sender's uuid and `cseq`. Gives the position and how many processes got it, 0 if it was sent before.
const CAST: &str = r#"
if seen(ARGV[7], ARGV[8]) then return {'0', -1} end
local at = tick()
local message = '{"v":1,"at":' .. at .. ',' .. ARGV[3]
if redis.call('EXISTS', P .. 'resumers') == 1 then
  keep('log:' .. ARGV[2], at, message, tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6]))
end
return {at, redis.call('PUBLISH', P .. ARGV[2], message)}
"#;

/// A message for one: prefix, uuid, ident, rest, milliseconds, number, bytes, sender's uuid and `cseq`. Gives the
/// position, how many processes got it, and whether it is kept for a client that may resume. Of those that share an
/// ident it is the first whose process exists, or that may come back.
const TELL: &str = r#"
local function of(uuid) return redis.call('HMGET', P .. 'client:' .. uuid, 'node', 'resume', 'type') end
local function is_there(client)
  return client[2] == '1' or redis.call('PUBSUB', 'NUMSUB', P .. 'to:' .. client[1])[2] > 0
end
local uuid, client = ARGV[2], nil
if uuid ~= '' then
  client = of(uuid)
  if client[3] ~= 'websocket' then client = nil end
end
if not client and ARGV[3] ~= '' then
  local holders = P .. 'ident:' .. ARGV[3]
  for _, holder in ipairs(redis.call('ZRANGE', holders, 0, -1)) do
    uuid, client = holder, of(holder)
    if client[1] and is_there(client) then break end
    if not client[1] then redis.call('ZREM', holders, holder) end
    client = nil
  end
end
if not client or not client[1] then return {'0', 0, 0} end
if seen(ARGV[8], ARGV[9]) then return {'0', -1, 0} end
local at = tick()
local message = '{"v":1,"at":' .. at .. ',"to":{"uuid":"' .. uuid .. '"},' .. ARGV[4]
local resumes = client[2] == '1'
if resumes then keep('queue:' .. uuid, at, message, tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])) end
return {at, redis.call('PUBLISH', P .. 'to:' .. client[1], message), resumes and 1 or 0}
"#;

/// A client is here: prefix, uuid, node, type, path, ident, whether it may resume, milliseconds. One that
/// another process has by now stays that one's.
const REGISTER: &str = r#"
local client, at = P .. 'client:' .. ARGV[2], tick()
local holder = redis.call('HGET', client, 'node')
if holder and holder ~= ARGV[3] then return at end
redis.call('HSET', client, 'node', ARGV[3], 'type', ARGV[4], 'path', ARGV[5], 'ident', ARGV[6], 'resume', ARGV[7])
redis.call('HSETNX', client, 'born', at)
if ARGV[7] == '1' then
  redis.call('HSETNX', client, 'cseq', '0')
  redis.call('SET', P .. 'resumers', '1', 'PX', ARGV[8])
end
redis.call('PEXPIRE', client, ARGV[8])
if ARGV[6] ~= '' then
  redis.call('ZADD', P .. 'ident:' .. ARGV[6], 'NX', at, ARGV[2])
  redis.call('PEXPIRE', P .. 'ident:' .. ARGV[6], ARGV[8])
end
return at
"#;

/// A client comes back: prefix, uuid, node, type, path, the last position it saw, milliseconds, and `1` where
/// only the process that has it already may have it. Gives one of:
///
/// - nil where the client is not known, `moved` where it is another process's;
/// - `more`, whether something is missing, a slice of what it missed, and the position up to which that is all;
/// - `all`, the same two, the greatest `cseq` and its rooms: then it is this process's.
const CLAIM: &str = r#"
local key = P .. 'client:' .. ARGV[2]
local client = redis.call('HMGET', key, 'node', 'type', 'path', 'resume', 'cseq', 'rooms', 'born')
if not client[1] or client[4] ~= '1' or client[2] ~= ARGV[4] or client[3] ~= ARGV[5] then return nil end
if ARGV[8] == '1' and client[1] ~= ARGV[3] then return 'moved' end
local MAX_COUNT, MAX_BYTES = 500, 262144
local at = ARGV[6]
if tonumber(at) < tonumber(client[7]) then at = client[7] end
local gap, entries, cutoff = 0, {}, nil
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
for _, room in ipairs(cjson.decode(client[6] or '[]')) do
  local from = room[4]
  if tonumber(at) > tonumber(from) then from = at end
  read('log:room:' .. room[1], from)
end
local slice = {}
for _, entry in ipairs(entries) do
  if not cutoff or entry[1] <= cutoff then table.insert(slice, entry[2]) end
end
if cutoff then return {'more', gap, slice, string.format('%.0f', cutoff)} end
redis.call('HSET', key, 'node', ARGV[3])
redis.call('PEXPIRE', key, ARGV[7])
redis.call('PEXPIRE', P .. 'queue:' .. ARGV[2], ARGV[7])
redis.call('SET', P .. 'resumers', '1', 'PX', ARGV[7])
if client[1] ~= ARGV[3] then
  redis.call('PUBLISH', P .. 'to:' .. client[1], '{"v":1,"at":0,"kind":"yield","uuid":"' .. ARGV[2] .. '"}\n')
end
return {'all', gap, slice, client[5] or '0', client[6] or '[]'}
"#;

/// The rooms that a client is in: prefix, uuid, node, a list of `[room, name, announce]`, milliseconds. Each gets
/// the position at which the client joined it as its last element. Nothing happens where another process has the client.
const STORE: &str = r#"
local key, now = P .. 'client:' .. ARGV[2], tick()
local client = redis.call('HMGET', key, 'node', 'rooms')
if client[1] and client[1] ~= ARGV[3] then return 0 end
local since = {}
for _, room in ipairs(cjson.decode(client[2] or '[]')) do since[room[1]] = room[4] end
local rooms = cjson.decode(ARGV[4])
for _, room in ipairs(rooms) do room[4] = since[room[1]] or now end
redis.call('HSET', key, 'rooms', #rooms > 0 and cjson.encode(rooms) or '[]')
redis.call('PEXPIRE', key, ARGV[5])
return 1
"#;

/// The members of a room: prefix, room. Gives the fields of its hash, without those of processes that are dead.
const MEMBERS: &str = r#"
local fields, living = redis.call('HGETALL', P .. 'room:' .. ARGV[2]), {}
for at = 1, #fields, 2 do
  if fields[at] == 'announce' or redis.call('ZSCORE', P .. 'nodes', fields[at]) then
    table.insert(living, fields[at])
    table.insert(living, fields[at + 1])
  end
end
return living
"#;

/// A process has no members in a room any more: prefix, room, node. With the last ones the room goes.
const LEAVE: &str = r#"
local room = P .. 'room:' .. ARGV[2]
redis.call('HDEL', room, ARGV[3])
for _, field in ipairs(redis.call('HKEYS', room)) do
  if field ~= 'announce' and redis.call('ZSCORE', P .. 'nodes', field) then return 0 end
end
return redis.call('DEL', room)
"#;

/// A client is gone: prefix, uuid, node. Nothing happens where another process has it by now.
const RELEASE: &str = r#"
local key = P .. 'client:' .. ARGV[2]
local client = redis.call('HMGET', key, 'node', 'ident')
if client[1] ~= ARGV[3] then return 0 end
redis.call('DEL', key)
forget('queue:' .. ARGV[2])
if client[2] ~= '' then redis.call('ZREM', P .. 'ident:' .. client[2], ARGV[2]) end
return 1
"#;

/// A process lives: prefix, node, milliseconds after which one is taken for dead. Gives whether it was not
/// among those that live, and those that do.
const BEAT: &str = r#"
local t = redis.call('TIME')
local now = tonumber(t[1]) * 1000 + math.floor(tonumber(t[2]) / 1000)
local came = redis.call('ZADD', P .. 'nodes', now, ARGV[2])
redis.call('ZREMRANGEBYSCORE', P .. 'nodes', '-inf', now - tonumber(ARGV[3]))
return {came, redis.call('ZRANGE', P .. 'nodes', 0, -1)}
"#;

/// A script and the digest by which Redis knows it.
pub(crate) struct Script {
    pub(crate) text: String,
    pub(crate) digest: String,
}

/// All of them.
pub(crate) struct Scripts {
    pub(crate) cast: Script,
    pub(crate) tell: Script,
    pub(crate) register: Script,
    pub(crate) claim: Script,
    pub(crate) store: Script,
    pub(crate) members: Script,
    pub(crate) leave: Script,
    pub(crate) release: Script,
    pub(crate) beat: Script,
}

impl Scripts {
    pub(crate) fn new() -> Scripts {
        let [cast, tell, register, claim] = [CAST, TELL, REGISTER, CLAIM].map(Script::new);
        let [store, members, leave, release, beat] = [STORE, MEMBERS, LEAVE, RELEASE, BEAT].map(Script::new);
        Scripts { cast, tell, register, claim, store, members, leave, release, beat }
    }

    pub(crate) fn all(&self) -> [&Script; 9] {
        let Scripts { cast, tell, register, claim, store, members, leave, release, beat } = self;
        [cast, tell, register, claim, store, members, leave, release, beat]
    }
}

impl Script {
    fn new(body: &str) -> Script {
        let text = HELPERS.to_owned() + body;
        let digest = Sha1::digest(&text).iter().map(|byte| format!("{byte:02x}")).collect();
        Script { text, digest }
    }
}
