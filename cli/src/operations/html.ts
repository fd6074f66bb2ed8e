/** Markup that may go into a page as it is: only {@link html} makes it. */
export class Html {
  readonly #markup: string

  private constructor(markup: string) {
    this.#markup = markup
  }

  toString(): string {
    return this.#markup
  }

  static of(strings: TemplateStringsArray, values: readonly HtmlValue[]): Html {
    return new Html(strings.reduce((markup, text, index) => markup + render(values[index - 1]) + text))
  }
}

export type HtmlValue = Html | string | number | undefined | readonly HtmlValue[]

/**
 * Template for HTML and SVG. Every value is escaped, in text and in quoted attributes alike, unless it is markup that this
 * template made; lists are joined, `undefined` is nothing. Not for the inside of scripts, styles and addresses.
 */
export function html(strings: TemplateStringsArray, ...values: readonly HtmlValue[]): Html {
  return Html.of(strings, values)
}

function render(value: HtmlValue): string {
  if (value === undefined) return ''
  if (value instanceof Html) return value.toString()
  if (typeof value === 'object') return value.map(render).join('')
  return String(value).replaceAll(/[&<>"'`]/g, (character) => `&#${character.charCodeAt(0)};`)
}
