import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals'
import { parseRecords } from '../shared/audit-kit.ts'
import { until } from '../support/until.ts'
import { workingFolder, type WorkingFolder } from './command-line.ts'
import { parseMetrics, type Series } from '../support/metrics.ts'
import { isAlive, startPool, type RunningPool } from './worker-pool.ts'

const slowly = 60_000

describe('token-handler start --workers', () => {
  let folder: WorkingFolder
  beforeEach(() => {
    folder = workingFolder()
  })
  afterEach(() => folder.remove())

  it.each(['memory', 'none'])('refuses a ledger that its processes would not share: %s', async (type) => {
    folder.write('secret.txt', 'a client secret')
    await folder.run(['keys', 'generate', '--out', 'keys.json'])
    folder.configure({
      ledger: { type },
      authorization_server: { client_authentication: { client_secret: 'file:secret.txt' } },
    })
    const { code, stdout, stderr } = await folder.run(['start', '--workers', '2'])
    expect([code, stdout]).toEqual([2, ''])
    expect(stderr).toContain(
      `--workers needs a ledger that processes share: ledger.type is ${type}, not sqlite or redis`,
    )
  })

  it('takes no other numbers of workers', async () => {
    const ended = await Promise.all(['0', '1.5', '257', ''].map((n) => folder.run(['start', `--workers=${n}`])))
    for (const { code, stderr } of ended) {
      expect(code).toBe(2)
      expect(stderr).toContain('--workers takes auto or a number from 1 to 256')
    }
  }, 60_000)
})

describe('workers', () => {
  let folder: WorkingFolder
  let pool: RunningPool
  beforeAll(async () => {
    folder = workingFolder()
    pool = await startPool(folder, 3)
  }, slowly)
  afterAll(async () => {
    await pool.close()
    await folder.remove()
  })

  const isReady = async (): Promise<boolean> => (await pool.ready()).body['workers'] === '3 of 3'

  it('serve on one port, and their primary speaks for them on the admin port', async () => {
    expect(new Set(pool.pids()).size).toBe(3)
    expect(await pool.ready()).toMatchObject({
      status: 200,
      body: { ready: true, ledger: 'available', authorization_server: 'ok', workers: '3 of 3' },
    })
    for (let count = 0; count < 6; count++) expect(await pool.request()).toMatchObject({ status: 200 })
    await until('all have answered', () => new Set(pool.workersThatAnswered()).size === 3)
  })

  it('are counted each on its own, and told of at the one admin port', async () => {
    const counted = (series: Series): number[] =>
      [...series]
        .filter(([name]) =>
          /^token_handler_agent_requests_total\{worker="[123]",route="[^"]*\/session",outcome="ok"/.test(name),
        )
        .map(([, count]) => count)
    const before = counted(parseMetrics(await pool.metrics())).reduce((sum, count) => sum + count, 0)
    for (let count = 0; count < 6; count++) await pool.request()
    await until('all requests are counted', async () => {
      const now = counted(parseMetrics(await pool.metrics()))
      return now.length === 3 && now.reduce((sum, count) => sum + count, 0) === before + 6
    })
    const series = parseMetrics(await pool.metrics())
    for (const worker of ['1', '2', '3']) {
      expect(series.get(`token_handler_worker_up{worker="${worker}"}`)).toBe(1)
      expect(series.get(`token_handler_rules{worker="${worker}"}`)).toBe(0)
    }
    expect([...series.keys()].filter((name) => !/[{,]worker="(?:[123]|primary)"/.test(name))).toEqual([])
    expect(new Set([...series].filter(([name]) => name.startsWith('process_cpu')).map(([name]) => name)).size).toBe(4)
  })

  it('share sessions: what one begins, others go on with, and what one ends, none takes', async () => {
    const jar = await pool.logIn()
    for (let count = 0; count < 6; count++) expect(await pool.refresh(jar)).toMatchObject({ status: 200 })
    const copy = pool.copyOf(jar)
    expect((await pool.call('POST', '/oauth-agent/logout', jar)).status).toBe(200)
    for (let count = 0; count < 6; count++) {
      expect(await pool.refresh(copy)).toMatchObject({ status: 401, code: 'session_expired' })
    }
  })

  it('are asked for their sessions at the one admin port, and follow what is revoked there', async () => {
    const jar = await pool.logIn()
    const { sessions } = (await pool.admin('/admin/sessions', { sub: 'subject-1' })) as { sessions: { sid: string }[] }
    expect(sessions.length).toBeGreaterThan(0)
    const { replicas } = (await pool.admin('/admin/replicas')) as { replicas: { pid: number }[] }
    expect(replicas.map(({ pid }) => pid)).toEqual(expect.arrayContaining(pool.pids()))
    expect(await pool.admin('/admin/revoke', { sub: 'subject-1' })).toMatchObject({ sessions: sessions.length })
    for (let count = 0; count < 6; count++) {
      expect(await pool.refresh(pool.copyOf(jar))).toMatchObject({ status: 401, code: 'session_expired' })
    }
  })

  it('are counted together on the operations page of their primary', async () => {
    await pool.logIn()
    await pool.logIn()
    const page = await pool.operationsPage()
    const figure = (title: string): number =>
      Number(new RegExp(`<h3>${title}</h3>.*?class="figure">(\\d+)<`, 's').exec(page)?.[1])
    expect(figure('Logins')).toBeGreaterThanOrEqual(2)
    expect(figure('Live sessions')).toBeGreaterThanOrEqual(2)
    for (const pid of pool.pids()) expect(page).toContain(` ${pid}</td>`)
  })

  it('that cannot listen say so once, and end the command', async () => {
    const { code, stderr } = await folder.run(['start', '--workers', '2'])
    expect(code).toBe(1)
    expect(stderr).toMatch(/^token-handler: .*EADDRINUSE.*\n$/)
  })

  it('read the key file again on SIGHUP, all of them', async () => {
    const keys = folder.read('keys.json')
    const refused = (): unknown[] => pool.events('keys_refused').map(({ worker }) => worker)
    try {
      folder.write('keys.json', '{}')
      pool.signal('SIGHUP')
      await until(
        () => `all refuse it, not only ${refused().join()}`,
        () => new Set(refused()).size === 3,
      )
    } finally {
      folder.write('keys.json', keys)
    }
    expect(await pool.request()).toMatchObject({ status: 200 })
  })

  it(
    'are not ready while one of them hangs',
    async () => {
      const [hanging = 0] = pool.pids()
      process.kill(hanging, 'SIGSTOP')
      await until('it is noticed', async () => (await pool.ready()).status === 503)
      expect((await pool.ready()).body).toMatchObject({ ready: false, workers: '2 of 3' })
      const up = [...parseMetrics(await pool.metrics())].filter(([name]) => name.startsWith('token_handler_worker_up'))
      expect(up.filter(([, value]) => value === 1)).toHaveLength(2)
      expect(up).toHaveLength(3)
      process.kill(hanging, 'SIGCONT')
      await until('it is well again', isReady)
    },
    slowly,
  )

  it(
    'are replaced when they die',
    async () => {
      const [dying = 0, ...others] = pool.pids()
      process.kill(dying, 'SIGKILL')
      await until('its death is noticed', () => pool.events('worker_died').length === 1)
      expect(pool.events('worker_died')).toMatchObject([{ signal: 'SIGKILL', code: null }])
      expect(await pool.request()).toMatchObject({ status: 200 })
      await until('another one serves', () => pool.pids().length === 3, { timeoutMs: slowly })
      await until('all are ready', isReady)
      expect(pool.pids()).toEqual(expect.arrayContaining(others))
      expect(pool.pids()).not.toContain(dying)
    },
    slowly,
  )
})

describe('workers, in the end,', () => {
  let folder: WorkingFolder
  let pool: RunningPool
  beforeEach(async () => {
    folder = workingFolder()
    pool = await startPool(folder, 2, { audit: { sink: 'files' } })
  }, slowly)
  afterEach(async () => {
    await pool.close()
    await folder.remove()
  })

  it(
    'finish their requests on SIGTERM, and are gone before the command ends',
    async () => {
      const jars = [await pool.logIn(), await pool.logIn(), await pool.logIn(), await pool.logIn()]
      pool.holdRefreshes()
      const answers = jars.map((jar) => pool.refresh(jar))
      await until('all are under way', () => pool.heldRefreshes() === 4)
      const stopped = pool.stop('SIGTERM')
      await until('no new connection is taken', () => pool.isRefusing())
      pool.releaseRefreshes()
      for (const answer of answers) expect(await answer).toMatchObject({ status: 200 })
      expect(await stopped).toMatchObject({ code: 0, stderr: '' })
      expect(pool.pids().filter((pid) => isAlive(pid))).toEqual([])
    },
    slowly,
  )

  it(
    'leave an audit log of two whole chains, one a worker, with everything that either did',
    async () => {
      const answered = () => new Set(pool.workersThatAnswered()).size
      const jars = [await pool.logIn(), await pool.logIn()]
      while (answered() < 2 || jars.length < 6) jars.push(await pool.logIn())
      await pool.stop('SIGTERM')
      const { code, stdout } = await folder.run(['audit', 'verify', '--stopped'])
      expect([code, stdout]).toEqual([0, expect.stringMatching(/^2 files, 2 chains, .*\nno problem found\n$/)])
      const records = readdirSync(join(folder.path, 'audit')).map((name) =>
        parseRecords(folder.read(join('audit', name))),
      )
      const logins = records.map((chain) => chain.filter(({ event }) => event === 'login').length)
      expect(logins.reduce((sum, count) => sum + count)).toBe(jars.length)
      for (const chain of records) expect(chain.at(-1)?.event).toBe('log_closed')
    },
    slowly,
  )

  it(
    'go with a primary that is killed',
    async () => {
      pool.signal('SIGKILL')
      await until('they are gone', () => pool.pids().every((pid) => !isAlive(pid)))
      expect(await pool.isRefusing()).toBe(true)
    },
    slowly,
  )
})
