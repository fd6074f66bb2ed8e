import { redisScript, type RedisScript } from './redis-connection.ts'

/**
 * What the ledger does at the server, each script as one atomic step. All keys share one hash tag, hence one slot, one
 * server and one clock.
 */
export interface RedisKeys {
  /** Hash: incarnation, incarnation_at, rules (how many were ever written), beat (time of the last heartbeat). */
  readonly meta: string
  /** Hash: rule key → "before expires_at reason". */
  readonly rules: string
  /** Sorted set: rule key by expires_at. */
  readonly ruleExpiry: string
  /** Stream: every rule, and a heartbeat each second. */
  readonly feed: string
  /** How often one process has written: what the server says less than the process knows, it has lost. */
  writer(process: string): string
  session(sid: string): string
  /** Hash of a session: reference → "expires_at sealed token". */
  tokens(sid: string): string
  login(id: string): string
  /** Sorted set: sids by the end of their records. */
  readonly sessions: string
  /** The same for one subject. */
  subject(subjectHash: string): string
  /** Hash: id of a process → "time text", what it tells of itself. */
  readonly replicas: string
}

export function redisKeys(prefix: string): RedisKeys {
  const tag = `{${prefix}}`
  return {
    meta: `${tag}:meta`,
    rules: `${tag}:rules`,
    ruleExpiry: `${tag}:rule-expiry`,
    feed: `${tag}:feed`,
    writer: (process) => `${tag}:writer:${process}`,
    session: (sid) => `${tag}:session:${sid}`,
    tokens: (sid) => `${tag}:tokens:${sid}`,
    login: (id) => `${tag}:login:${id}`,
    sessions: `${tag}:sessions`,
    subject: (subjectHash) => `${tag}:subject:${subjectHash}`,
    replicas: `${tag}:replicas`,
  }
}

const now = `
local time = redis.call('TIME')
local now = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
`

/** KEYS meta, feed, writer. Answers time, incarnation, incarnation_at, rules, last id of the feed, writes. */
export const stateScript: RedisScript = redisScript(`${now}
local meta = redis.call('HMGET', KEYS[1], 'incarnation', 'incarnation_at', 'rules')
local last = redis.call('XREVRANGE', KEYS[2], '+', '-', 'COUNT', 1)
local writes = redis.call('GET', KEYS[3])
return { now, meta[1], meta[2], meta[3] or '0', last[1] and last[1][1] or '0-0', writes or '0' }
`)

/** KEYS meta. ARGV incarnation that is to be replaced (empty for none), new incarnation, its time. */
export const renewScript: RedisScript = redisScript(`
if (redis.call('HGET', KEYS[1], 'incarnation') or '') ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'incarnation', ARGV[2], 'incarnation_at', ARGV[3])
return 1
`)

/** KEYS record, meta. Answers time, incarnation, record. */
export const readScript: RedisScript = redisScript(`${now}
return { now, redis.call('HGET', KEYS[2], 'incarnation'), redis.call('GET', KEYS[1]) }
`)

/** Entries kept in the feed: some hours of heartbeats. Who was away longer loads all rules anyway. */
const feedLength = 10_000

const addRule = `
local function addRule(keys, key, before, expires, reason)
  local known = redis.call('HGET', keys.rules, key)
  if known then
    local knownBefore, knownExpires = string.match(known, '^(%-?%d+) (%-?%d+) ')
    if tonumber(knownBefore) > tonumber(before) then before = knownBefore end
    if tonumber(knownExpires) > tonumber(expires) then expires = knownExpires end
  end
  local rule = before .. ' ' .. expires .. ' ' .. reason
  redis.call('HSET', keys.rules, key, rule)
  redis.call('ZADD', keys.expiry, expires, key)
  local count = redis.call('HINCRBY', keys.meta, 'rules', 1)
  redis.call('XADD', keys.feed, 'MAXLEN', '~', ${feedLength}, '*', 'count', count, 'key', key, 'rule', rule)
end
`

/**
 * Compare and set. KEYS record, meta, writer, rules, rule expiry, feed, sessions, subject. ARGV incarnation, old record (empty
 * for none), new record (empty leaves it), its life in ms; for a rule key, before, expires_at, reason (empty for none); and
 * for a record that is to be found by its subject its sid, its end and the ledger's time.
 * Answers how often this process has written, or 0: the record is another, -1: the incarnation is another.
 */
export const writeScript: RedisScript = redisScript(`${addRule}
if redis.call('HGET', KEYS[2], 'incarnation') ~= ARGV[1] then return -1 end
if (redis.call('GET', KEYS[1]) or '') ~= ARGV[2] then return 0 end
if ARGV[5] and ARGV[5] ~= '' then
  local keys = { meta = KEYS[2], rules = KEYS[4], expiry = KEYS[5], feed = KEYS[6] }
  addRule(keys, ARGV[5], ARGV[6], ARGV[7], ARGV[8])
end
if ARGV[3] ~= '' then redis.call('SET', KEYS[1], ARGV[3], 'PX', ARGV[4]) end
if ARGV[9] then
  redis.call('ZREMRANGEBYSCORE', KEYS[8], '-inf', '(' .. ARGV[11])
  for _, index in ipairs({ KEYS[7], KEYS[8] }) do redis.call('ZADD', index, ARGV[10], ARGV[9]) end
  if redis.call('PTTL', KEYS[8]) < tonumber(ARGV[4]) then redis.call('PEXPIRE', KEYS[8], ARGV[4]) end
end
return redis.call('INCR', KEYS[3])
`)

/** KEYS meta, rules, rule expiry, feed, writer. ARGV key, before, expires_at, reason. Answers how often this process has written. */
export const ruleScript: RedisScript = redisScript(`${addRule}
local keys = { meta = KEYS[1], rules = KEYS[2], expiry = KEYS[3], feed = KEYS[4] }
addRule(keys, ARGV[1], ARGV[2], ARGV[3], ARGV[4])
return redis.call('INCR', KEYS[5])
`)

/** A process that is silent for this long counts its writes anew. */
export const writerMs = 86_400_000

/** KEYS meta, feed, writer. One heartbeat a second, whoever writes it. Answers time, incarnation. */
export const heartbeatScript: RedisScript = redisScript(`${now}
local meta = redis.call('HMGET', KEYS[1], 'incarnation', 'beat', 'rules')
local age = tonumber(now) - tonumber(meta[2] or '0')
if meta[1] and (age >= 900 or age < 0) then
  redis.call('HSET', KEYS[1], 'beat', now)
  redis.call('XADD', KEYS[2], 'MAXLEN', '~', ${feedLength}, '*', 'count', meta[3] or '0', 'beat', now)
end
redis.call('PEXPIRE', KEYS[3], ${writerMs})
return { now, meta[1] }
`)

/** KEYS replicas. ARGV id, text, and after how many ms of silence a process is forgotten. */
export const replicaScript: RedisScript = redisScript(`${now}
redis.call('HSET', KEYS[1], ARGV[1], now .. ' ' .. ARGV[2])
local all = redis.call('HGETALL', KEYS[1])
for i = 1, #all, 2 do
  local heard = tonumber(string.match(all[i + 1], '^%d+'))
  if heard < tonumber(now) - tonumber(ARGV[3]) then redis.call('HDEL', KEYS[1], all[i]) end
end
return 1
`)

/** KEYS replicas. Answers time and what the processes told. */
export const replicasScript: RedisScript = redisScript(`${now}
return { now, redis.call('HGETALL', KEYS[1]) }
`)

/** Expired rules that one call of {@link sweepScript} forgets at most. */
export const sweptAtOnce = 500

/** KEYS rules, rule expiry. Forgets some expired rules; answers how many. */
export const sweepScript: RedisScript = redisScript(`${now}
local keys = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', '(' .. now, 'LIMIT', 0, ${sweptAtOnce})
if #keys == 0 then return 0 end
redis.call('HDEL', KEYS[1], unpack(keys))
redis.call('ZREM', KEYS[2], unpack(keys))
return #keys
`)

/**
 * KEYS tokens. ARGV reference, expires_at, sealed token, its life in ms, the ledger's time. What has expired goes, and all
 * of it with the last to expire.
 */
export const putTokenScript: RedisScript = redisScript(`
local held = redis.call('HGETALL', KEYS[1])
for at = 1, #held, 2 do
  local expires = string.match(held[at + 1], '^%d+')
  if tonumber(expires) <= tonumber(ARGV[5]) then redis.call('HDEL', KEYS[1], held[at]) end
end
local life = math.max(redis.call('PTTL', KEYS[1]), tonumber(ARGV[4]))
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2] .. ' ' .. ARGV[3])
redis.call('PEXPIRE', KEYS[1], string.format('%.0f', life))
return 1
`)
