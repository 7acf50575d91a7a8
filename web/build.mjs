// Builds what is served and what is published: nothing built is committed.
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";
import { minify } from "terser";
import { makeDashboard } from "./dashboard/build.mjs";

const common = { bundle: true, target: "es2022", write: false, legalComments: "none", logLevel: "warning" };
// What these leave as it is written packs better.
const asWritten = { reduce_funcs: false, conditionals: false, sequences: false };
const compress = { passes: 3, ecma: 2020, unsafe_arrows: true, keep_fargs: false, ...asWritten };

async function make(entry, format, file, options = {}) {
  const built = await build({ ...common, ...options, entryPoints: [entry], format, outfile: file });
  // Terser leaves some 5 % less than esbuild does, and every page of an app pays for them.
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
