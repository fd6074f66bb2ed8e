/**
 * A test file runs in its own vm context, so errors made by Node's core are not `instanceof Error` in there, though they
 * are in production. This makes `instanceof` answer as it does in production.
 */
import { types } from 'node:util'

for (const Base of [Error, TypeError, RangeError, SyntaxError]) {
  const own = Function.prototype[Symbol.hasInstance]
  Object.defineProperty(Base, Symbol.hasInstance, {
    configurable: true,
    value(this: unknown, value: unknown): boolean {
      return (
        own.call(this as never, value) ||
        (this === Base && types.isNativeError(value) && (Base === Error || value.constructor.name === Base.name))
      )
    },
  })
}
