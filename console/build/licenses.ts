/** Writes `licenses.txt` beside the bundle: the licence of each package whose code or fonts went into it. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import type { Plugin } from "vite";

interface Manifest {
  name: string;
  version: string;
  license?: string;
}

function packageDirectory(file: string): string | null {
  if (!file.includes("/node_modules/")) return null;
  for (let directory = dirname(file); directory.includes("/node_modules/"); directory = dirname(directory)) {
    const manifest = join(directory, "package.json");
    if (existsSync(manifest) && "version" in (JSON.parse(readFileSync(manifest, "utf8")) as object)) return directory;
  }
  return null;
}

function notice(directory: string): string {
  const manifest = JSON.parse(readFileSync(join(directory, "package.json"), "utf8")) as Manifest;
  const file = readdirSync(directory).find((name) => /^licen[cs]e/i.test(name));
  const text = file === undefined ? "" : readFileSync(join(directory, file), "utf8").trim();
  return `${manifest.name} ${manifest.version} (${manifest.license ?? "see below"})\n\n${text}`.trim();
}

export function licenses(extra: readonly string[]): Plugin {
  return {
    name: "licenses",
    apply: "build",
    generateBundle() {
      const files = [...this.getModuleIds()].map((id) => id.replace(/^\0/, "").replace(/\?.*$/, ""));
      const directories = new Set([...files.map(packageDirectory), ...extra]);
      const notices = [...directories].filter((directory) => directory !== null).map(notice);
      const source = `${notices.sort().join(`\n\n${"-".repeat(80)}\n\n`)}\n`;
      this.emitFile({ type: "asset", fileName: "licenses.txt", source });
    },
  };
}
