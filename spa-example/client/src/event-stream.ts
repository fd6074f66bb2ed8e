/** One event of a server-sent event stream. */
export interface ServerEvent {
  /** `message` unless the server named it. */
  readonly type: string
  readonly data: string
  /** The newest id so far, sent along when the stream is opened again; the empty text when there was none. */
  readonly lastEventId: string
}

export interface EventStreamParser {
  /** Takes the text as it comes, cut anywhere. */
  push(text: string): void
  /** The wait before the next try that the server asked for, in milliseconds. */
  readonly retryMs: number | undefined
  readonly lastEventId: string
}

/**
 * Reads `text/event-stream` (HTML section 9.2.6). An event that is not followed by a blank line is dropped.
 * @param lastEventId What the stream before this one ended with.
 */
export function createEventStreamParser(lastEventId: string, hear: (event: ServerEvent) => void): EventStreamParser {
  let id = lastEventId
  let retryMs: number | undefined
  let type = ''
  let data: string[] = []
  let rest = ''

  const takeLine = (line: string): void => {
    if (line === '') {
      if (data.length > 0) hear({ type: type || 'message', data: data.join('\n'), lastEventId: id })
      type = ''
      data = []
      return
    }
    const [, field, value = ''] = /^([^:]*)(?:: ?(.*))?$/s.exec(line) ?? []
    if (field === 'data') data.push(value)
    else if (field === 'event') type = value
    else if (field === 'id' && !value.includes('\0')) id = value
    else if (field === 'retry' && /^\d+$/.test(value)) retryMs = Number(value)
  }

  return {
    push(text) {
      // A CR at the end may be half of a CRLF.
      const lines = (rest + text).split(/\r\n|\n|\r(?!$)/)
      rest = lines.pop() ?? ''
      for (const line of lines) takeLine(line)
    },
    get retryMs() {
      return retryMs
    },
    get lastEventId() {
      return id
    },
  }
}
