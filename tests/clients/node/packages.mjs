// The client libraries stand where tests/run has put them, not beside this file.

import { createRequire } from "node:module";
import { join } from "node:path";

export const load = createRequire(join(process.env.LARDER_NODE_PACKAGES, "here.cjs"));
export const url = process.env.LARDER_URL;
