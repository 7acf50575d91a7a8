// Builds the dashboard into the folder that the web function serves. File names contain a hash, and files are precompressed.
import { createHash } from "node:crypto";
import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { brotliCompressSync, constants, gzipSync } from "node:zlib";
import { build } from "esbuild";

const FUNCTION = "../functions/web";
const BUILT = `${FUNCTION}/static`;

/** Replaces a file at once, because the folder may be served during the build. */
function put(file, content) {
  const partial = `${file}.${process.pid}.partial`;
  writeFileSync(partial, content);
  renameSync(partial, file);
}

function pack(file, content) {
  const packed = brotliCompressSync(content, { params: { [constants.BROTLI_PARAM_QUALITY]: 11 } });
  put(`${file}.br`, packed);
  put(`${file}.gz`, gzipSync(content, { level: 9 }));
  put(file, content);
  return packed.length;
}

export async function makeDashboard() {
  const { outputFiles } = await build({
    entryPoints: ["dashboard/src/main.tsx"],
    bundle: true,
    minify: true,
    format: "esm",
    target: "es2022",
    jsx: "automatic",
    jsxImportSource: "preact",
    outdir: "out",
    write: false,
    legalComments: "none",
    logLevel: "warning",
  });
  mkdirSync(`${BUILT}/assets`, { recursive: true });
  let page = readFileSync("dashboard/index.html", "utf-8");
  const parts = [
    ...outputFiles.map(({ path, contents }) => [path.endsWith(".css") ? "style" : "script", contents]),
    ["icon", readFileSync("dashboard/icon.svg")],
  ];
  const names = [];
  let sum = 0;
  for (const [name, content] of parts) {
    const hash = createHash("sha256").update(content).digest("hex").slice(0, 12);
    const file = `${name}-${hash}.${{ script: "js", style: "css", icon: "svg" }[name]}`;
    names.push(file);
    sum += pack(`${BUILT}/assets/${file}`, Buffer.from(content));
    page = page.replace(`%${name}%`, `/assets/${file}`);
  }
  sum += pack(`${BUILT}/index.html`, Buffer.from(page));
  pack(`${BUILT}/muster.js`, readFileSync("client/dist/muster.js"));
  pack(`${BUILT}/openapi.json`, readFileSync(`${FUNCTION}/openapi.json`));
  for (const file of readdirSync(`${BUILT}/assets`)) {
    if (!names.some((name) => file.startsWith(name))) rmSync(`${BUILT}/assets/${file}`);
  }
  console.log(`functions/web/static: the dashboard's first load is ${sum} bytes as brotli`);
}
