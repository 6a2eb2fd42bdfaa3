// Validates custom resources, which Kubernetes' own schemas do not cover. Reads a list of objects as JSON, and prints a list of errors
// for each. Validators generated from the CRDs check the values, but accept unknown fields. Types generated from the CRDs find
// unknown fields, because TypeScript allows none in a literal.
//   node crds.mjs FOLDER_OF_NODE_MODULES < objects.json
import { createRequire } from "node:module";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";

const installed = resolve(process.argv[2]);
const require = createRequire(join(installed, "package.json"));
const ts = require("typescript");
const objects = JSON.parse(readFileSync(0, "utf8"));

const PACKAGES = {
  "argoproj.io/v1alpha1": "@kubernetes-models/argo-cd/argoproj.io/v1alpha1",
  "helm.toolkit.fluxcd.io/v2": "@kubernetes-models/flux-cd/helm.toolkit.fluxcd.io/v2",
  "source.toolkit.fluxcd.io/v1": "@kubernetes-models/flux-cd/source.toolkit.fluxcd.io/v1",
  "monitoring.coreos.com/v1": "@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1",
  "gateway.networking.k8s.io/v1": "@kubernetes-models/gateway-api/gateway.networking.k8s.io/v1",
};

const folder = mkdtempSync(join(installed, "objects-"));
try {
  const files = objects.map((object, index) => {
    const file = join(folder, `${index}.mts`);
    const type = `I${object.kind}`;
    writeFileSync(
      file,
      `import type { ${type} } from "${PACKAGES[object.apiVersion]}";\n` +
        `export const object: ${type} = ${JSON.stringify(object, null, 2)};\n`,
    );
    return file;
  });
  const program = ts.createProgram(files, {
    noEmit: true,
    strict: true,
    skipLibCheck: true,
    module: ts.ModuleKind.NodeNext,
    moduleResolution: ts.ModuleResolutionKind.NodeNext,
    target: ts.ScriptTarget.ES2022,
    types: [],
  });
  const found = [];
  for (const [index, object] of objects.entries()) {
    const complaints = ts
      .getPreEmitDiagnostics(program, program.getSourceFile(files[index]))
      .map((each) => ts.flattenDiagnosticMessageText(each.messageText, " "));
    const entry = join(folder, `${index}.mjs`);
    writeFileSync(entry, `export { ${object.kind} as Model } from "${PACKAGES[object.apiVersion]}";\n`);
    const { Model } = await import(pathToFileURL(entry));
    try {
      new Model(object).validate();
    } catch (error) {
      complaints.push(error.message);
    }
    found.push(complaints);
  }
  process.stdout.write(JSON.stringify(found));
} finally {
  rmSync(folder, { recursive: true });
}
