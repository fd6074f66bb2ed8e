import { describe, expect, it } from '@jest/globals'
import fc from 'fast-check'
import { navigableUrl, sameOriginPath } from '../../spa-example/client/src/navigation.ts'

const ORIGIN = 'https://app.example.com'
const AGENT = new URL('https://app.example.com/oauth-agent/')

describe('return path', () => {
  it.each([
    '/',
    '/orders',
    '/orders?page=2&q=a%2Fb#top',
    '/%E6%97%A5%E6%9C%AC',
    '/a//b',
    '/@me',
    '/x?returnTo=//evil.example',
  ])('[D-OR-01] keeps %j', (path) => {
    expect(sameOriginPath(path, ORIGIN)).toBe(path)
  })

  it.each([
    '//evil.example',
    '///evil.example',
    '/\\evil.example',
    '\\/evil.example',
    '\\\\evil.example',
    '/%09/evil.example',
    '/\t/evil.example',
    '/\n/evil.example',
    '\t//evil.example',
    '/%2f/evil.example',
    '/%2Fevil.example',
    '/%5cevil.example',
    '/.//evil.example',
    '/./\\evil.example',
    '/a/..//evil.example',
    '/%2e//evil.example',
    '/\u0000/evil.example',
    '@evil.example',
    'evil.example',
    'https:evil.example',
    'https:/evil.example',
    'https://evil.example',
    'https://app.example.com.evil.example/',
    'https://app.example.com@evil.example/',
    'http://app.example.com/',
    'javascript:alert(1)',
    'JaVaScRiPt:alert(1)',
    'data:text/html,x',
    'ftp://evil.example/',
    ' //evil.example',
    ' /orders',
    '',
  ])('[D-OR-01] [F-AJ-6] [F-MO-1] refuses %j', (path) => {
    expect(sameOriginPath(path, ORIGIN)).toBeUndefined()
  })

  it.each([undefined, null, 1, {}, ['/orders'], { toString: () => '/orders' }])(
    'refuses what is no text: %p',
    (value) => {
      expect(sameOriginPath(value, ORIGIN)).toBeUndefined()
    },
  )

  it('[D-OR-01] leads to this origin, whatever was given and however often it is parsed again', () => {
    const pieces = fc.constantFrom(
      '/',
      '\\',
      '.',
      '..',
      '%2f',
      '%5c',
      '%09',
      '\t',
      '\n',
      '\u0000',
      '@',
      ':',
      '?',
      '#',
      '／',
      '．',
      'evil.example',
      'https',
      'a',
      ' ',
    )
    fc.assert(
      fc.property(fc.array(pieces, { maxLength: 10 }), (parts) => {
        const path = sameOriginPath(parts.join(''), ORIGIN)
        if (path === undefined) return
        expect(new URL(path, ORIGIN).origin).toBe(ORIGIN)
        expect(path).toMatch(/^\/(?![/\\])/)
        expect(sameOriginPath(path, ORIGIN)).toBe(path)
      }),
      { numRuns: 5000 },
    )
  })
})

describe('URL that the agent answers', () => {
  it.each([
    'https://as.example.com/authorize?client_id=x',
    'http://127.0.0.1:3100/authorize',
    'http://localhost:3100/authorize',
    'http://as.localhost/authorize',
    'http://[::1]:3100/authorize',
  ])('is opened when it is %s', (url) => {
    expect(navigableUrl(url, AGENT)).toBe(url)
  })

  it('may be relative to the agent', () => {
    expect(navigableUrl('logout/continue', AGENT)).toBe('https://app.example.com/oauth-agent/logout/continue')
  })

  it.each([
    'javascript:alert(1)',
    'data:text/html,x',
    'blob:https://app.example.com/x',
    'http://as.example.com/authorize',
    'http://127.0.0.1.evil.example/',
    'http://localhost.evil.example/',
    'https://user@evil.example/',
    'https://app.example.com:secret@evil.example/',
    'https://',
    undefined,
    42,
  ])('is refused when it is %p', (url) => {
    expect(() => navigableUrl(url, AGENT)).toThrow(expect.objectContaining({ code: 'unsafe_url' }))
  })
})
