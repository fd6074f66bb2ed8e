import { describe, expect, it } from '@jest/globals'
import { createEventStreamParser, type ServerEvent } from '../../spa-example/client/src/event-stream.ts'

function parse(pieces: readonly string[], lastEventId = ''): { events: ServerEvent[]; retryMs: number | undefined } {
  const events: ServerEvent[] = []
  const parser = createEventStreamParser(lastEventId, (event) => events.push(event))
  for (const piece of pieces) parser.push(piece)
  return { events, retryMs: parser.retryMs }
}

const message = (data: string, lastEventId = ''): ServerEvent => ({ type: 'message', data, lastEventId })

describe('text/event-stream (HTML section 9.2.6)', () => {
  it.each<[string, string, ServerEvent[]]>([
    ['one line of data', 'data: a\n\n', [message('a')]],
    ['several lines of data, joined by newlines', 'data: a\ndata:b\ndata\ndata:  c\n\n', [message('a\nb\n\n c')]],
    [
      'the name of the event, for this event only',
      'event: x\ndata: 1\n\ndata: 2\n\n',
      [{ type: 'x', data: '1', lastEventId: '' }, message('2')],
    ],
    ['the id, kept for those that follow', 'id: 7\ndata: a\n\ndata: b\n\n', [message('a', '7'), message('b', '7')]],
    [
      'an empty id, which forgets the one before',
      'id: 7\ndata: a\n\nid\ndata: b\n\n',
      [message('a', '7'), message('b')],
    ],
    ['no id with a NUL in it', 'id: 7\ndata: a\n\nid: 8\0\ndata: b\n\n', [message('a', '7'), message('b', '7')]],
    ['no event without data', 'event: x\nid: 3\n\ndata: a\n\n', [message('a', '3')]],
    ['comments and unknown fields', ': hello\nfoo: bar\ndata: a\n\n', [message('a')]],
    ['colons within the data', 'data: a: b:c\n\n', [message('a: b:c')]],
    ['empty data', 'data\n\n', [message('')]],
    ['no event that no blank line ends', 'data: a\n\ndata: b\n', [message('a')]],
  ])('reads %s', (_name, text, events) => {
    expect(parse([text]).events).toEqual(events)
  })

  it.each(['\n', '\r', '\r\n'])('takes %j for the end of a line, wherever the pieces are cut', (end) => {
    const text = ['id: 1', 'event: x', 'data: a', 'data: b', '', 'data: c', '', ''].join(end)
    const expected = [{ type: 'x', data: 'a\nb', lastEventId: '1' }, message('c', '1')]
    for (let cut = 0; cut <= text.length; cut += 1) {
      // A lone CR at the very end may still become a CRLF, so one more line is needed to know.
      expect(parse([text.slice(0, cut), text.slice(cut), `:${end}`]).events).toEqual(expected)
    }
    expect(parse([...text.split(''), `:${end}`]).events).toEqual(expected)
  })

  it('hears of the wait that the server asks for, if it is a number', () => {
    expect(parse(['retry: 1500\n']).retryMs).toBe(1500)
    expect(parse(['retry: 1500\nretry: soon\n']).retryMs).toBe(1500)
    expect(parse(['data: a\n\n']).retryMs).toBeUndefined()
  })

  it('goes on from the id of the stream before', () => {
    expect(parse(['data: a\n\n'], '9').events).toEqual([message('a', '9')])
  })
})
