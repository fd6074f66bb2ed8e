import { describe, expect, it } from '@jest/globals'
import { createTokenHandlerClient } from '../../spa-example/client/src/index.ts'

const modules = ['index', 'capabilities', 'streams', 'step-up', 'callback-page']

describe('where there is no window', () => {
  it.each(modules)('the module %s can be imported', async (name) => {
    expect(typeof globalThis.window).toBe('undefined')
    const module = (await import(`../../spa-example/client/src/${name}.ts`)) as object
    expect(Object.keys(module)).not.toEqual([])
  })

  it('no client can be made, with the error that the README names', () => {
    expect(() => createTokenHandlerClient()).toThrow(new ReferenceError('location is not defined'))
  })
})
