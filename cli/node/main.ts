#!/usr/bin/env node
/** The command line in Node and Bun: `npx @culm/culm --help`. */
import { main } from "../program.ts";

process.exit(await main(process.argv.slice(2)));
