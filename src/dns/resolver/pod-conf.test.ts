import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { Pod } from "../../resources/index.ts";
import { type PodDnsOptions, podDns, resolvConf } from "./pod-conf.ts";
import { parseResolvConf } from "./resolv-conf.ts";

const node = parseResolvConf("search lan.example\nnameserver 10.112.0.1\noptions timeout:3 rotate\n");
const options: PodDnsOptions = { domain: "cluster.local", clusterDns: ["10.96.0.10"], node };
const pod = (spec: Partial<Pod["spec"]>): Pod => ({
  apiVersion: "v1",
  kind: "Pod",
  metadata: { name: "pod", namespace: "production" },
  spec: { containers: [], ...spec } as Pod["spec"],
});
const CLUSTER = `search production.svc.cluster.local svc.cluster.local cluster.local lan.example
nameserver 10.96.0.10
options ndots:5
`;
const NODE = `search lan.example
nameserver 10.112.0.1
options timeout:3 rotate
`;

describe("resolv.conf by dnsPolicy and dnsConfig", () => {
  const cases: [string, Partial<Pod["spec"]>, string][] = [
    ["no policy is ClusterFirst", {}, CLUSTER],
    ["ClusterFirst", { dnsPolicy: "ClusterFirst" }, CLUSTER],
    ["ClusterFirst on the host's network is Default", { dnsPolicy: "ClusterFirst", hostNetwork: true }, NODE],
    ["ClusterFirstWithHostNet on the host's network", { dnsPolicy: "ClusterFirstWithHostNet", hostNetwork: true }, CLUSTER],
    ["ClusterFirstWithHostNet without it", { dnsPolicy: "ClusterFirstWithHostNet" }, CLUSTER],
    ["Default is the node's, options too", { dnsPolicy: "Default" }, NODE],
    ["None is dnsConfig alone", { dnsPolicy: "None", dnsConfig: { nameservers: ["1.1.1.1"] } }, "nameserver 1.1.1.1\n"],
    [
      "None with all of it",
      {
        dnsPolicy: "None",
        dnsConfig: { nameservers: ["1.1.1.1", "fd00::53"], searches: ["a.example", "."], options: [{ name: "edns0" }] },
      },
      "search a.example .\nnameserver 1.1.1.1\nnameserver fd00::53\noptions edns0\n",
    ],
    [
      "the guide's pod",
      {
        hostNetwork: true,
        dnsPolicy: "ClusterFirstWithHostNet",
        dnsConfig: {
          nameservers: ["10.96.0.10"],
          searches: ["production.svc.cluster.local", "svc.cluster.local", "cluster.local"],
          options: [
            { name: "ndots", value: "2" },
            { name: "timeout", value: "2" },
            { name: "attempts", value: "2" },
          ],
        },
      },
      "search production.svc.cluster.local svc.cluster.local cluster.local lan.example\nnameserver 10.96.0.10\noptions ndots:2 timeout:2 attempts:2\n",
    ],
    [
      "dnsConfig is added behind the policy's, doubles once",
      { dnsConfig: { nameservers: ["10.96.0.10", "9.9.9.9"], searches: ["svc.cluster.local", "extra.example"] } },
      "search production.svc.cluster.local svc.cluster.local cluster.local lan.example extra.example\nnameserver 10.96.0.10\nnameserver 9.9.9.9\noptions ndots:5\n",
    ],
    [
      "of options with one name the pod's last counts; an empty value is none",
      {
        dnsPolicy: "Default",
        dnsConfig: {
          options: [{ name: "timeout", value: "1" }, { name: "timeout", value: "4" }, { name: "use-vc", value: "" }, { value: "x" }],
        },
      },
      "search lan.example\nnameserver 10.112.0.1\noptions timeout:4 rotate use-vc\n",
    ],
    [
      "three name servers at most",
      { dnsConfig: { nameservers: ["1.1.1.1", "1.1.1.2", "1.1.1.3"] } },
      CLUSTER.replace("nameserver 10.96.0.10\n", "nameserver 10.96.0.10\nnameserver 1.1.1.1\nnameserver 1.1.1.2\n"),
    ],
  ];
  for (const [what, spec, expected] of cases) test(what, () => assert.equal(resolvConf(pod(spec), options), expected));

  test("without a cluster DNS address pods get the node's", () => {
    assert.equal(resolvConf(pod({}), { ...options, clusterDns: [] }), NODE);
  });

  test("two families of cluster DNS, in order", () => {
    const text = resolvConf(pod({}), { ...options, clusterDns: ["10.96.0.10", "fd00:10:96::a"] });
    assert.match(text, /nameserver 10\.96\.0\.10\nnameserver fd00:10:96::a\n/);
  });
});

describe("what kubelet allows", () => {
  const searchesOf = (searches: readonly string[]) => podDns(pod({ dnsConfig: { searches } }), options);

  test("32 search domains; what is left out is named", () => {
    const { conf, omitted } = searchesOf(Array.from({ length: 32 }, (_, i) => `s${i}.example`));
    assert.equal(conf.searches.length, 32);
    assert.equal(conf.searches.at(-1), "s27.example");
    assert.deepEqual(
      omitted,
      [28, 29, 30, 31].map((i) => `search s${i}.example: more than 32`),
    );
  });

  test("2048 characters with the blanks between, cut from the end", () => {
    // 58 characters are the policy's own; each of these takes 101.
    const long = Array.from({ length: 20 }, (_, i) => `${"a".repeat(63)}.${"b".repeat(34)}${String(i).padStart(2, "0")}`);
    const { conf, omitted } = searchesOf(long);
    const length = conf.searches.join(" ").length;
    assert.ok(length <= 2048 && length + 101 > 2048, String(length));
    assert.equal(conf.searches.length + omitted.length, 24);
    assert.match(omitted[0] ?? "", /more than 2048 characters/);
  });

  test("exactly 2048 fit", () => {
    const head = ["production.svc.cluster.local", "svc.cluster.local", "cluster.local", "lan.example"].join(" ").length;
    const fill = 2048 - head - 8 * 101 - 1;
    assert.ok(fill > 253, "several are needed");
    const names = Array.from({ length: 19 }, (_, i) => `${"a".repeat(63)}.${"b".repeat(34)}${String(i).padStart(2, "0")}`);
    const rest = 2048 - head - names.length * 101 - 1;
    const whole = searchesOf([...names, "c".repeat(rest)]);
    assert.equal(whole.conf.searches.join(" ").length, 2048);
    assert.deepEqual(whole.omitted, []);
    assert.equal(searchesOf([...names, "c".repeat(rest + 1)]).omitted.length, 1);
  });

  test("a domain longer than 253 characters is left out alone: glibc would abort", () => {
    const { conf, omitted } = searchesOf(["x".repeat(254), "after.example"]);
    assert.equal(conf.searches.at(-1), "after.example");
    assert.equal(omitted.length, 1);
  });
});
