// Manifests named on the command line: read, or a precise account of what is wrong with them.
import { FairleadError } from "../base/index.ts";
import { type KubeObject, readManifests } from "../resources/index.ts";

/** The objects of the paths. @throws FairleadError `bad-manifest` naming file, line and column of every problem */
export function loadManifests(paths: readonly string[]): KubeObject[] {
  const { objects, problems } = readManifests(paths);
  if (problems.length > 0) {
    const list = problems
      .map(({ file, line, column, message, remedy }) => `  ${file}:${line}:${column}: ${message} (${remedy})`)
      .join("\n");
    throw new FairleadError(
      "bad-manifest",
      `${problems.length === 1 ? "a manifest is" : `${problems.length} manifests are`} not right:\n${list}`,
    );
  }
  return objects.map(({ object }) => object);
}
