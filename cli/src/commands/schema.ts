import { configSchema } from '@token-handler/shared'
import { z } from 'zod'

/** The JSON Schema of the configuration, for editors (docs/token-handler.schema.json). */
export function configJsonSchema(): unknown {
  return z.toJSONSchema(configSchema, { io: 'input', unrepresentable: 'any' })
}

export async function schema(): Promise<void> {
  process.stdout.write(`${JSON.stringify(configJsonSchema(), null, 2)}\n`)
}
