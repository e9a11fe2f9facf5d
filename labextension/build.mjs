// Bundles src/console into the one file that all hosts load, and writes beside it which sources it was made from.
//
// The bundle is committed, so that a checkout and a wheel work where there is no node; the hash lets a test tell when
// somebody changed the sources and forgot `make front`.
import { createHash } from "node:crypto";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const here = fileURLToPath(new URL(".", import.meta.url));
const out = join(here, "../tfs_notebook/console/static");
const most = 150_000;

await build({
  absWorkingDir: here,
  entryPoints: ["src/console/index.tsx"],
  outfile: join(out, "console.js"),
  bundle: true,
  minify: true,
  format: "esm",
  target: "es2022",
  jsx: "automatic",
  jsxImportSource: "preact",
  loader: { ".css": "text" },
  legalComments: "none",
  banner: { js: "/* tfs_notebook console, made by `make front` from labextension/src/console. Holds Preact and uPlot (MIT). */" },
});

const size = readFileSync(join(out, "console.js")).length;
if (size > most) throw new Error(`console.js has ${size} bytes, more than ${most}`);

/** The files of src/console by name, and the lock file: what the bundle is made from. */
function sources(folder) {
  return readdirSync(join(here, folder), { withFileTypes: true }).flatMap((entry) =>
    entry.isDirectory() ? sources(`${folder}/${entry.name}`) : [`${folder}/${entry.name}`],
  );
}
const hash = createHash("sha256");
for (const name of [...sources("src/console"), "build.mjs", "package-lock.json"].sort()) {
  hash.update(name + "\0").update(readFileSync(join(here, name))).update("\0");
}
writeFileSync(join(out, "console.sources"), hash.digest("hex") + "\n");
console.log(`console.js ${size} bytes`);
