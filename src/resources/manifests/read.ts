// Manifests from files and folders.
import { readdirSync, readFileSync, realpathSync, statSync } from "node:fs";
import { join } from "node:path";
import { messageOf } from "../../base/index.ts";
import type { ManifestProblem } from "./documents.ts";
import { type Manifests, type ManifestText, parseTexts } from "./parse.ts";

const MANIFEST = /\.(ya?ml|json)$/i;
const KUSTOMIZATION = /^(kustomization\.ya?ml|Kustomization)$/;

interface Found {
  readonly texts: ManifestText[];
  readonly problems: ManifestProblem[];
  /** Real paths of folders that were read, against links in circles. */
  readonly seen: Set<string>;
}

/**
 * Objects of files, and of folders with all below them: *.yaml, *.yml and *.json, in order of name. A path that cannot be read
 * is a problem; the others are read. In folders, documents with neither apiVersion nor kind are no manifests (values of a
 * chart, expectations of a matrix), and are passed over. Blocks while it reads.
 */
export function readManifests(paths: readonly string[]): Manifests {
  const found: Found = { texts: [], problems: [], seen: new Set() };
  for (const path of paths) visit(path, found);
  const { objects, problems } = parseTexts(found.texts);
  return { objects, problems: [...found.problems, ...problems] };
}

function visit(path: string, found: Found): void {
  try {
    if (statSync(path).isDirectory()) visitFolder(path, found);
    else readOne(path, found, false);
  } catch (error) {
    found.problems.push(pathProblem(path, error));
  }
}

function visitFolder(folder: string, found: Found): void {
  const real = realpathSync(folder);
  if (found.seen.has(real)) return;
  found.seen.add(real);
  for (const name of readdirSync(folder).sort()) {
    const path = join(folder, name);
    try {
      if (statSync(path).isDirectory()) visitFolder(path, found);
      else if (KUSTOMIZATION.test(name)) found.problems.push(kustomizationProblem(path, folder));
      else if (MANIFEST.test(name)) readOne(path, found, true);
    } catch (error) {
      found.problems.push(pathProblem(path, error));
    }
  }
}

function readOne(path: string, found: Found, lenient: boolean): void {
  const bytes = readFileSync(path);
  try {
    found.texts.push({ file: path, lenient, text: new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes) });
  } catch {
    found.problems.push({ file: path, line: 1, column: 1, message: "the file is not UTF-8 text", remedy: "save it as UTF-8" });
  }
}

function kustomizationProblem(file: string, folder: string): ManifestProblem {
  const remedy = `run \`kubectl kustomize ${folder}\` first, and give what it prints`;
  return { file, line: 1, column: 1, message: "a kustomization is not applied: the folder's other files are read as they are", remedy };
}

function pathProblem(file: string, error: unknown): ManifestProblem {
  const code = error instanceof Error && "code" in error ? error.code : undefined;
  const [message, remedy] =
    code === "ENOENT"
      ? ["no such file or folder", "check the path"]
      : code === "EACCES" || code === "EPERM"
        ? ["the file may not be read", "allow it (chmod +r), or run as its owner"]
        : [messageOf(error), "give a file or a folder of manifests"];
  return { file, line: 1, column: 1, message, remedy };
}
