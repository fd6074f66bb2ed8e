import { afterEach, beforeEach, describe, expect, it } from '@jest/globals'
import { makeCertificates } from '../support/certificates.ts'
import { workingFolder, type WorkingFolder } from './command-line.ts'

let folder: WorkingFolder
beforeEach(async () => {
  folder = workingFolder()
  await folder.run(['keys', 'generate', '--out', 'keys.json'])
})
afterEach(() => folder.remove())

const route = (upstream_tls: Readonly<Record<string, string>>, upstream = 'https://orders.internal') => ({
  path: '/api',
  upstream,
  upstream_tls,
})

describe('proxy.routes[].upstream_tls', () => {
  it('is right with an authority, a certificate and its key, and a name', async () => {
    const { authority, server } = await makeCertificates(['proxy.internal'], 'clientAuth')
    folder.write('ca.pem', authority)
    folder.write('proxy.pem', server.certificate)
    folder.write('proxy-key.pem', server.privateKey)
    const files = { ca_file: 'ca.pem', certificate_file: 'proxy.pem', private_key_file: 'proxy-key.pem' }
    folder.configure({ proxy: { routes: [route({ ...files, server_name: 'orders.example' })] } })
    expect(await folder.run(['check'])).toMatchObject({ code: 0, stderr: '' })
  })

  it('[D-OPS-02] names every file that cannot be used, before anything starts, and shows none', async () => {
    const [one, another] = [await makeCertificates(['a.internal']), await makeCertificates(['b.internal'])]
    folder.write('garbage.pem', 'secret garbage')
    folder.write('one.pem', one.server.certificate)
    folder.write('another-key.pem', another.server.privateKey)
    folder.configure({
      proxy: {
        routes: [
          route({ ca_file: 'none.pem' }),
          { ...route({ ca_file: 'garbage.pem' }), path: '/api/garbage' },
          {
            ...route({ certificate_file: 'one.pem', private_key_file: 'garbage.pem' }),
            path: '/api/garbage-key',
          },
          {
            ...route({ certificate_file: 'one.pem', private_key_file: 'another-key.pem' }),
            path: '/api/another-key',
          },
        ],
      },
    })
    for (const command of ['check', 'start']) {
      const { code, stdout, stderr } = await folder.run([command])
      expect([code, stdout]).toEqual([2, ''])
      expect(stderr.split('\n').filter((line) => line.startsWith('  '))).toEqual([
        '  proxy.routes[0].upstream_tls.ca_file: cannot be used (ENOENT)',
        expect.stringMatching(/^ {2}proxy\.routes\[1\]\.upstream_tls\.ca_file: cannot be used \([A-Z0-9_]+\)$/),
        expect.stringMatching(
          /^ {2}proxy\.routes\[2\]\.upstream_tls\.private_key_file: cannot be used \([A-Z0-9_]+\)$/,
        ),
        '  proxy.routes[3].upstream_tls.private_key_file: does not belong to the certificate',
      ])
      expect(stderr).not.toContain('secret')
    }
    expect(await folder.run(['check', '--only', 'agent'])).toMatchObject({ code: 0 })
  }, 60_000)

  it('contradicts an upstream without TLS, and takes a certificate only with its key', async () => {
    folder.configure({
      proxy: {
        routes: [
          route({ ca_file: 'ca.pem' }, 'http://orders.internal'),
          { ...route({ certificate_file: 'proxy.pem' }), path: '/api/certificate' },
          { ...route({ ca: 'ca.pem' }), path: '/api/unknown' },
        ],
      },
    })
    const { code, stderr } = await folder.run(['check'])
    expect(code).toBe(2)
    expect(stderr).toContain('proxy.routes[2].upstream_tls: unknown key ca')
    folder.configure({
      proxy: {
        routes: [
          route({ ca_file: 'ca.pem' }, 'http://orders.internal'),
          { ...route({ certificate_file: 'proxy.pem' }), path: '/api/certificate' },
        ],
      },
    })
    const contradictions = await folder.run(['check'])
    expect(contradictions.stderr.split('\n').slice(1, 3)).toEqual([
      '  proxy.routes[0].upstream_tls: contradicts upstream, which is not https',
      '  proxy.routes[1].upstream_tls: takes certificate_file and private_key_file together',
    ])
  })
})
