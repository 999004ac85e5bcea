import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import fc from "fast-check";
import { parseManifests } from "./parse.ts";
import { readManifests } from "./read.ts";

const names = (text: string) => {
  const { objects, problems } = parseManifests(text, "f.yaml");
  assert.deepEqual(problems, []);
  return objects.map(({ object, line }) => `${object.kind} ${object.metadata.namespace ?? "-"}/${object.metadata.name} @${line}`);
};

test("manifests: what is read", () => {
  const cm = (name: string) => `apiVersion: v1\nkind: ConfigMap\nmetadata: {name: ${name}}\n`;
  const cases: readonly (readonly [string, readonly string[]])[] = [
    ["", []],
    ["---\n---\n# nothing\n---\n", []],
    [`${cm("a")}---\n${cm("b")}`, ["ConfigMap default/a @1", "ConfigMap default/b @5"]],
    [`\uFEFF${cm("a")}---\r\n${cm("b")}`.replaceAll(/\r?\n/g, "\r\n"), ["ConfigMap default/a @1", "ConfigMap default/b @5"]],
    ['{"apiVersion": "v1",\n\t"kind": "Namespace", "metadata": {"name": "n"}}', ["Namespace -/n @1"]],
    [
      "apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: Namespace\n  metadata: {name: n, namespace: odd}\n- kind: List\n  apiVersion: v1\n  items: [{apiVersion: v1, kind: ConfigMap, metadata: {name: c, namespace: n}}]\n",
      ["Namespace -/n @4", "ConfigMap n/c @9"],
    ],
    ["apiVersion: v1\nkind: ConfigMapList\nitems: [{metadata: {name: c}}]", ["ConfigMap default/c @3"]],
    [
      "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: ts.e.io}\nspec: {group: e.io, scope: Cluster, names: {kind: T}, versions: [{name: v1}]}\n---\napiVersion: e.io/v1\nkind: T\nmetadata: {name: t}\n",
      ["CustomResourceDefinition -/ts.e.io @1", "T -/t @6"],
    ],
    ["base: &b {name: x}\napiVersion: v1\nkind: ConfigMap\nmetadata:\n  <<: *b\n", ["ConfigMap default/x @1"]],
  ];
  for (const [text, expected] of cases) assert.deepEqual(names(text), expected, text);
});

test("manifests: words and octals as kubectl reads them", () => {
  const { objects } = parseManifests("apiVersion: example.com/v1\nkind: ConfigMap", "f");
  assert.deepEqual(objects, []);
  const [read] = parseManifests(
    "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\nimmutable: yes\nodd: {mode: 0644, n: 08, t: 12:30}",
    "f",
  ).objects;
  assert.deepEqual(read?.object, {
    apiVersion: "v1",
    kind: "Secret",
    metadata: { name: "s", namespace: "default" },
    immutable: true,
    odd: { mode: 0o644, n: 8, t: "12:30" },
  });
});

test("manifests: problems have their place and a remedy", () => {
  const bomb = `a: &a [x,x,x,x,x,x,x,x,x]\n${[..."bcdefgh"].map((n, i) => `${n}: &${n} [${Array(9).fill(`*${"abcdefgh"[i]}`)}]\n`).join("")}`;
  const cases: readonly (readonly [string, string, RegExp])[] = [
    ["kind: Pod", "1:1", /apiVersion is missing.*add `apiVersion: v1`/],
    ["apiVersion: v1\nmetadata: {}", "1:1", /kind is missing/],
    ["- a\n- b", "1:1", /must be a map of fields/],
    ["apiVersion: v1\nkind: ConfigMap\nmetadata:\n  labels: {}", "4:3", /metadata.name: Required value.*add metadata.name/],
    ["apiVersion: v1\nkind: Pod\nmetadata: {generateName: a-}", "3:26", /metadata.name is missing/],
    [
      "apiVersion: apps/v1\nkind: Deploymnet\nmetadata: {name: a}",
      "2:7",
      /unknown kind apps\/v1 Deploymnet.*did you mean apps\/v1 Deployment/,
    ],
    ["apiVersion: example.com/v1\nkind: Unheard\nmetadata: {name: a}", "2:7", /CustomResourceDefinition/],
    [
      "# note\napiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec:\n  ports:\n    - port: 80\n      name: a\n    - name: b\n      port: 70000\n",
      "10:13",
      /^Service "a": spec.ports\[1\].port: Invalid value: 70000: must be between 1 and 65535, inclusive/,
    ],
    [
      "apiVersion: v1\nkind: List\nitems:\n  - apiVersion: v1\n    kind: ConfigMap\n    metadata: {name: A}",
      "6:22",
      /metadata.name: Invalid value: "A"/,
    ],
    ["apiVersion: v1\nkind: List\nitems: 5", "3:8", /must be a list/],
    ["a: 1\nb: [1, 2\nc: 3\n", "3:1", /./],
    ["a: 1\na: 2\n", "2:1", /unique.*keep one/],
    ["a:\n\t- b\n", "2:1", /spaces|[Tt]ab/],
    ["metadata: {{ .Values.x }}\na: [", "2:5", /helm template/],
    [bomb, "1:1", /aliases/],
    ["a: &a [*a]", "1:1", /alias|itself/i],
    ["[".repeat(100_000), "1:1", /deep/],
    [`${"- ".repeat(50_000)}x`, "1:1", /deep|map of fields/],
  ];
  for (const [text, place, expected] of cases) {
    const { objects, problems } = parseManifests(text, "f.yaml");
    const [first] = problems;
    assert.deepEqual(objects, [], text.slice(0, 200));
    assert.ok(first, `no problem: ${text.slice(0, 200)}`);
    assert.match(`${first.message} ${first.remedy}`, expected);
    assert.equal(`${first.line}:${first.column}`, place, `${text.slice(0, 200)}\n${first.message}`);
  }
});

test("manifests: a broken document leaves the others alone", () => {
  const good = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n";
  const { objects, problems } = parseManifests(`${good}---\na: "\n---\n${good}`, "f");
  assert.equal(objects.length + problems.length > 1, true);
  assert.equal(objects[0]?.object.metadata.name, "a");
  const second = parseManifests(`${good}---\nkind: 5\n---\n${good}`, "f");
  assert.deepEqual([second.objects.length, second.problems.length], [2, 1]);
});

test("manifests: files and folders, in order of name", (t) => {
  const folder = mkdtempSync(join(tmpdir(), "manifests-"));
  t.after(() => rmSync(folder, { recursive: true }));
  const write = (name: string, object: string) =>
    writeFileSync(join(folder, name), `apiVersion: v1\nkind: ConfigMap\nmetadata: {name: ${object}}\n`);
  mkdirSync(join(folder, "m", "deep"), { recursive: true });
  for (const [file, object] of [
    ["z.yaml", "z"],
    ["a.yml", "a"],
    ["m/deep/b.yaml", "b"],
    ["m/c.json", "c"],
    ["m/notes.txt", "n"],
  ] as const)
    write(file, object);
  writeFileSync(join(folder, "m", "kustomization.yaml"), "resources: [c.json]");
  writeFileSync(join(folder, "m", "latin.yaml"), Buffer.from([0x61, 0x3a, 0xe9]));
  symlinkSync(folder, join(folder, "m", "loop"));
  symlinkSync(join(folder, "nowhere"), join(folder, "m", "x.yaml"));
  writeFileSync(join(folder, "expect.yaml"), "default: blocked\n");
  assert.equal(readManifests([join(folder, "expect.yaml")]).problems.length, 1, "named by itself, it must be a manifest");
  const { objects, problems } = readManifests([folder, join(folder, "missing.yaml")]);
  assert.deepEqual(
    objects.map(({ object }) => object.metadata.name),
    ["a", "c", "b", "z"],
  );
  const told = problems.map(({ file, message, remedy }) => `${file.slice(folder.length + 1)}: ${message} ${remedy}`).join("\n");
  assert.match(told, /m\/kustomization.yaml: .*kubectl kustomize .*\/m`/);
  assert.match(told, /m\/latin.yaml: the file is not UTF-8/);
  assert.match(told, /m\/x.yaml: no such file/);
  assert.match(told, /missing.yaml: no such file/);
  assert.equal(problems.length, 4, told);
});

test("manifests: the guide's examples load", () => {
  const { objects, problems } = readManifests([join(import.meta.dirname, "../../../examples/guide")]);
  assert.deepEqual(problems, []);
  assert.deepEqual(
    objects.map(({ object }) => `${object.kind}/${object.metadata.name}`),
    [
      "GlobalNetworkPolicy/allow-prometheus-scraping",
      "NetworkPolicy/db-access-policy",
      "Installation/default",
      "CiliumConfig/cilium-config",
      "ConfigMap/coredns",
      "ConfigMap/kube-flannel-cfg",
      "NetworkPolicy/default-deny-ingress",
      "NetworkPolicy/allow-same-namespace",
      "Service/api-service",
      "Pod/pod-test",
    ],
  );
});

test("manifests: the shop loads", () => {
  const { objects, problems } = readManifests([join(import.meta.dirname, "../../../examples/shop")]);
  assert.deepEqual(problems, []);
  assert.ok(objects.length > 10);
});

test("manifests: no text makes them throw", () => {
  const pieces = [
    "apiVersion: v1",
    "kind: Service",
    "metadata:",
    "  name: a",
    "spec:",
    "  ports:",
    "  - port: 1",
    "---",
    "- ",
    ": ",
    "{",
    "}",
    "[",
    "]",
    "&a ",
    "*a",
    "\t",
    "\n",
    '"',
    "<<: *a",
    "!!set",
    "? ",
    "| ",
    "\r\n",
    "\u0000",
    "{{x}}",
  ];
  fc.assert(
    fc.property(
      fc.array(fc.oneof(fc.constantFrom(...pieces), fc.string({ maxLength: 4 })), { maxLength: 40 }),
      fc.constantFrom("", "\n"),
      (parts, glue) => {
        const text = parts.join(glue);
        for (const { line, column } of parseManifests(text, "f").problems) assert.ok(line >= 1 && column >= 1);
      },
    ),
    { numRuns: 3000 },
  );
});
