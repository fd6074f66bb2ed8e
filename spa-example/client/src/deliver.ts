/** Calls an application's listener. A mistake in it is reported to the page, and is not one of whoever calls. */
export function deliver<T>(listener: (value: T) => void, value: T): void {
  try {
    listener(value)
  } catch (error) {
    reportError(error)
  }
}
