// Builds the browser client, the React package and the dashboard. Build results are not committed.
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";
import { minify } from "terser";
import { makeDashboard } from "./dashboard/build.mjs";

const common = { bundle: true, target: "es2022", write: false, legalComments: "none", logLevel: "warning" };
// Code without these changes compresses better.
const uncompressed = { reduce_funcs: false, conditionals: false, sequences: false };
const compress = { passes: 3, ecma: 2020, unsafe_arrows: true, keep_fargs: false, ...uncompressed };

async function make(entry, format, file, options = {}) {
  const built = await build({ ...common, ...options, entryPoints: [entry], format, outfile: file });
  // Terser's result is about 5 % smaller than esbuild's, and every page of an app loads it.
  const { code } = await minify(built.outputFiles[0].text, {
    compress,
    mangle: true,
    toplevel: true,
    module: format === "esm",
  });
  writeFileSync(file, code);
}

for (const folder of ["client/dist", "react/dist"]) mkdirSync(folder, { recursive: true });
await make("client/src/global.ts", "iife", "client/dist/muster.js");
await make("client/src/index.ts", "esm", "client/dist/muster.mjs");
await make("react/src/index.tsx", "esm", "react/dist/index.mjs", { jsx: "automatic", packages: "external" });
for (const file of ["client/dist/muster.js", "client/dist/muster.mjs"]) {
  const content = readFileSync(file);
  console.log(`web/${file}: ${content.length} bytes, ${gzipSync(content, { level: 9 }).length} gzipped`);
}
await makeDashboard();
