// The packages of package.json, which scripts/browser installs below target/.

import { createRequire } from 'node:module'
import { fileURLToPath } from 'node:url'

export const OUT = fileURLToPath(new URL('../../target/browser/', import.meta.url))
export const modules = createRequire(`${OUT}node/`)
