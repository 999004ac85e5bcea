// What Calico's policies mean: types, order, tiers, profiles, selectors, and what goes wrong.
import { allow, CALICO_CLUSTER, deny, global, kubernetes, local, named, tier } from "./calico-cluster.ts";
import { CALICO_RULES } from "./calico-rules.ts";
import type { TruthSuite, TruthTable } from "./table.ts";

const MYSQL = "app == 'mysql'";
const OUT = "203.0.113.200";

const TYPES: readonly TruthTable[] = [
  {
    title: "no types and no rules: ingress alone is isolated",
    policies: [local({ selector: MYSQL })],
    rows: [
      ["prod/api", "prod/mysql", "3306/TCP", false],
      ["prod/mysql", "prod/api", "80/TCP", true],
      ["prod/api", "prod/web", "80/TCP", true],
    ],
  },
  {
    title: "only egress rules: egress alone is isolated",
    policies: [local({ selector: MYSQL, egress: [allow({ destination: { nets: ["10.244.1.2/32"] } })] })],
    rows: [
      ["prod/api", "prod/mysql", "3306/TCP", true],
      ["prod/mysql", "prod/api", "80/TCP", true],
      ["prod/mysql", "prod/web", "80/TCP", false],
    ],
  },
  {
    title: "only ingress rules: egress stays open",
    policies: [local({ selector: MYSQL, ingress: [allow({ source: { selector: "role == 'backend'" } })] })],
    rows: [
      ["prod/api", "prod/mysql", "3306/TCP", true],
      ["prod/web", "prod/mysql", "3306/TCP", false],
      ["prod/mysql", OUT, "80/TCP", true],
    ],
  },
  {
    title: "both kinds of rules isolate both ways",
    policies: [local({ selector: MYSQL, ingress: [allow()], egress: [deny()] })],
    rows: [
      ["prod/web", "prod/mysql", "3306/TCP", true],
      ["prod/mysql", OUT, "80/TCP", false],
    ],
  },
  {
    title: "types decide: rules of a direction that they do not name have no effect",
    policies: [local({ selector: MYSQL, types: ["Egress"], ingress: [deny()] })],
    rows: [
      ["prod/web", "prod/mysql", "3306/TCP", true],
      ["prod/mysql", "prod/web", "80/TCP", false],
    ],
  },
  {
    title: "a policy of a namespace selects nobody elsewhere",
    policies: [local({ selector: "all()", types: ["Ingress"] })],
    rows: [
      ["prod/api", "dev/tool", "80/TCP", true],
      ["dev/tool", "prod/web", "80/TCP", false],
    ],
  },
  {
    title: "a selector that is not there selects every pod of the namespace",
    policies: [local({ types: ["Ingress"] })],
    rows: [["dev/tool", "prod/web", "80/TCP", false]],
  },
  {
    title: "host-network pods are no end points",
    policies: [global({ types: ["Ingress", "Egress"] })],
    rows: [
      ["prod/host", "prod/mysql", "80/TCP", true],
      ["dev/tool", "10.112.0.51", "80/TCP", false],
      ["prod/api", "prod/host", "80/TCP", false],
    ],
  },
];

const ORDER: readonly TruthTable[] = [
  {
    title: "the lower order goes first: Deny before Allow",
    policies: [local({ order: 20, ingress: [allow()] }), local({ order: 10, ingress: [deny({ source: { selector: "app == 'web'" } })] })],
    rows: [
      ["prod/web", "prod/mysql", "80/TCP", false],
      ["prod/api", "prod/mysql", "80/TCP", true],
    ],
  },
  {
    title: "the lower order goes first: Allow before Deny",
    policies: [local({ order: 10, ingress: [allow()] }), local({ order: 20, ingress: [deny()] })],
    rows: [["prod/web", "prod/mysql", "80/TCP", true]],
  },
  {
    title: "orders are numbers of any kind",
    policies: [local({ order: 0.5, ingress: [allow()] }), local({ order: -1.5, ingress: [deny()] })],
    rows: [["prod/web", "prod/mysql", "80/TCP", false]],
  },
  {
    title: "without an order a policy is last",
    policies: [local({ ingress: [deny()] }), local({ order: 1e9, ingress: [allow()] })],
    rows: [["prod/web", "prod/mysql", "80/TCP", true]],
  },
  {
    title: "equal orders go by name",
    policies: [
      named("GlobalNetworkPolicy", "b", { order: 5, ingress: [allow()] }),
      named("GlobalNetworkPolicy", "a", { order: 5, ingress: [deny()] }),
    ],
    rows: [["prod/web", "prod/mysql", "80/TCP", false]],
  },
  {
    title: "rules go in their order",
    policies: [local({ ingress: [allow({ source: { selector: "app == 'web'" } }), deny(), allow()] })],
    rows: [
      ["prod/web", "prod/mysql", "80/TCP", true],
      ["prod/api", "prod/mysql", "80/TCP", false],
    ],
  },
  {
    title: "Kubernetes' policies have order 1000: Calico's Deny at 999 goes before",
    policies: [
      local({ order: 999, ingress: [deny({ source: { selector: "app == 'web'" } })] }),
      kubernetes({ podSelector: {}, ingress: [{}] }),
    ],
    rows: [
      ["prod/web", "prod/mysql", "80/TCP", false],
      ["prod/api", "prod/mysql", "80/TCP", true],
    ],
  },
  {
    title: "Kubernetes' policies have order 1000: Calico's Deny at 1001 comes behind",
    policies: [local({ order: 1001, ingress: [deny()] }), kubernetes({ podSelector: {}, ingress: [{}] })],
    rows: [["prod/web", "prod/mysql", "80/TCP", true]],
  },
  {
    title: "Kubernetes' isolation is the tier's end: Calico's Allow at 2000 still counts",
    policies: [local({ order: 2000, ingress: [allow({ source: { selector: "app == 'web'" } })] }), kubernetes({ podSelector: {} })],
    rows: [
      ["prod/web", "prod/mysql", "80/TCP", true],
      ["prod/api", "prod/mysql", "80/TCP", false],
    ],
  },
];

const TIERS: readonly TruthTable[] = [
  {
    title: "a tier before default decides for whom it selects; its end denies",
    policies: [tier("first", 10), local({ tier: "first", order: 1, selector: MYSQL, ingress: [allow({ protocol: "TCP" })] })],
    rows: [
      ["prod/web", "prod/mysql", "80/TCP", true],
      ["prod/web", "prod/mysql", "53/UDP", false],
      ["prod/web", "prod/api", "53/UDP", true],
    ],
  },
  {
    title: "the end denies in the directions alone that a policy of the tier has",
    policies: [tier("first", 10), local({ tier: "first", selector: MYSQL, types: ["Ingress"] })],
    rows: [
      ["prod/web", "prod/mysql", "80/TCP", false],
      ["prod/mysql", "prod/web", "80/TCP", true],
    ],
  },
  {
    title: "Pass goes to the next tier, past the rest of its own",
    policies: [
      tier("first", 10),
      local({ tier: "first", order: 1, ingress: [{ action: "Pass", source: { selector: "app == 'web'" } }] }),
      local({ tier: "first", order: 2, ingress: [deny()] }),
      local({ selector: MYSQL, ingress: [allow({ protocol: "TCP" })] }),
    ],
    rows: [
      ["prod/web", "prod/mysql", "80/TCP", true],
      ["prod/web", "prod/mysql", "53/UDP", false],
      ["prod/web", "prod/api", "53/UDP", true],
      ["prod/api", "prod/mysql", "80/TCP", false],
    ],
  },
  {
    title: "Pass in the last tier leads to the profiles, which allow",
    policies: [local({ selector: MYSQL, ingress: [{ action: "Pass", source: { selector: "app == 'web'" } }] })],
    rows: [
      ["prod/web", "prod/mysql", "80/TCP", true],
      ["prod/api", "prod/mysql", "80/TCP", false],
    ],
  },
  {
    title: "a tier whose default action is Pass hands on what no rule decided",
    policies: [
      tier("first", 10, "Pass"),
      local({ tier: "first", selector: MYSQL, ingress: [deny({ source: { selector: "app == 'web'" } })] }),
      kubernetes({ podSelector: {}, ingress: [{ ports: [{ port: 80 }] }] }),
    ],
    rows: [
      ["prod/web", "prod/mysql", "80/TCP", false],
      ["prod/api", "prod/mysql", "80/TCP", true],
      ["prod/api", "prod/mysql", "81/TCP", false],
    ],
  },
  {
    title: "tiers go by their order, whatever their names",
    policies: [tier("a", 20), tier("b", 10), global({ tier: "a", ingress: [deny()] }), global({ tier: "b", ingress: [allow()] })],
    rows: [["prod/web", "prod/mysql", "80/TCP", true]],
  },
  {
    title: "a tier behind default is asked by whom default does not isolate",
    policies: [tier("late", 2_000_000), global({ tier: "late", ingress: [deny()] }), local({ selector: MYSQL, ingress: [allow()] })],
    rows: [
      ["prod/api", "prod/mysql", "80/TCP", true],
      ["prod/mysql", "prod/api", "80/TCP", false],
    ],
  },
  {
    title: "a policy whose tier is not there is not in force",
    policies: [local({ tier: "nowhere", ingress: [deny()] })],
    rows: [["prod/web", "prod/mysql", "80/TCP", true]],
  },
  {
    title: "the default tier's own default action",
    policies: [tier("default", 1_000_000, "Pass"), local({ ingress: [deny({ protocol: "UDP" })] })],
    rows: [
      ["prod/web", "prod/mysql", "53/UDP", false],
      ["prod/web", "prod/mysql", "80/TCP", true],
    ],
  },
  {
    title: "Log decides nothing, and a policy of nothing but Log still isolates",
    policies: [local({ selector: MYSQL, ingress: [{ action: "Log" }] })],
    rows: [["prod/web", "prod/mysql", "80/TCP", false]],
  },
  {
    title: "Log, then Allow",
    policies: [local({ selector: MYSQL, ingress: [{ action: "Log", protocol: "TCP" }, allow({ protocol: "TCP" })] })],
    rows: [
      ["prod/web", "prod/mysql", "80/TCP", true],
      ["prod/web", "prod/mysql", "80/UDP", false],
    ],
  },
  {
    title: "staged policies are not in force, and isolate nobody",
    policies: [
      named("StagedNetworkPolicy", "s", { ingress: [deny()], stagedAction: "Set" }, "prod"),
      named("StagedGlobalNetworkPolicy", "s", { types: ["Ingress"] }),
      named("StagedKubernetesNetworkPolicy", "s", { podSelector: {} }, "prod"),
    ],
    rows: [["prod/web", "prod/mysql", "80/TCP", true]],
  },
  {
    title: "a namespace's profile is what stands behind all tiers",
    policies: [named("Profile", "kns.prod", { ingress: [deny({ protocol: "UDP" }), allow()], egress: [allow()] })],
    rows: [
      ["prod/web", "prod/mysql", "53/UDP", false],
      ["prod/web", "prod/mysql", "80/TCP", true],
      ["prod/web", "dev/tool", "53/UDP", true],
    ],
  },
];

const SUBJECTS: readonly TruthTable[] = [
  {
    title: "every namespaced end point: has(projectcalico.org/name)",
    policies: [global({ namespaceSelector: "has(projectcalico.org/name)", types: ["Ingress"] })],
    rows: [
      ["prod/web", "prod/mysql", "80/TCP", false],
      ["prod/web", "dev/tool", "80/TCP", false],
    ],
  },
  {
    title: "namespaces by their labels",
    policies: [global({ namespaceSelector: "env == 'dev'", types: ["Ingress"] })],
    rows: [
      ["prod/web", "dev/tool", "80/TCP", false],
      ["prod/web", "prod/mysql", "80/TCP", true],
    ],
  },
  {
    title: "service accounts by their labels",
    policies: [global({ serviceAccountSelector: "tier == 'data'", types: ["Ingress"] })],
    rows: [
      ["prod/web", "prod/mysql", "80/TCP", false],
      ["prod/web", "prod/api", "80/TCP", true],
      ["prod/mysql", "prod/web", "80/TCP", true],
    ],
  },
  {
    title: "namespace and service account labels by their prefixes",
    policies: [global({ selector: "pcns.env == 'prod' && pcsa.tier == 'app'", types: ["Ingress"] })],
    rows: [
      ["prod/web", "prod/api", "80/TCP", false],
      ["prod/web", "dev/api", "80/TCP", true],
    ],
  },
  {
    title: "labels that Calico adds",
    policies: [
      global({ selector: "projectcalico.org/namespace == 'prod' && projectcalico.org/serviceaccount == 'db'", types: ["Ingress"] }),
    ],
    rows: [
      ["prod/web", "prod/mysql", "80/TCP", false],
      ["prod/web", "prod/api", "80/TCP", true],
    ],
  },
];

/** A selector, and which of prod/api, prod/web, prod/mysql, dev/api, dev/tool, mon/prometheus it selects. */
const SELECTORS: readonly (readonly [string, string])[] = [
  ["app == 'web'", "web"],
  ['app == "web"', "web"],
  ["app=='web'", "web"],
  ["role != 'backend'", "web mysql tool prometheus"],
  ["!role == 'backend'", "web mysql tool prometheus"],
  ["!(role == 'backend')", "web mysql tool prometheus"],
  ["has(role)", "api web dev/api"],
  ["!has(role)", "mysql tool prometheus"],
  ["!!has(role)", "api web dev/api"],
  ["all()", "api web mysql dev/api tool prometheus"],
  ["", "api web mysql dev/api tool prometheus"],
  [" \t", "api web mysql dev/api tool prometheus"],
  ["app in {'web', 'mysql'}", "web mysql"],
  ["app in {'web', 'mysql',}", "web mysql"],
  ["app in {}", ""],
  ["app not in {'web', 'mysql'}", "api dev/api tool prometheus"],
  ["role notin {'backend'}", "web mysql tool prometheus"],
  ["app contains 'o'", "tool prometheus"],
  ["app starts with 'm'", "mysql"],
  ["app startswith 'm'", "mysql"],
  ["app ends with 'server'", "api dev/api"],
  ["app endswith 'l'", "mysql tool"],
  ["!app contains 'o'", "api web mysql dev/api"],
  ["nothing contains ''", ""],
  ["app == 'web' || app == 'mysql' && has(role)", "web"],
  ["(app == 'web' || app == 'mysql') && has(role)", "web"],
  ["app == 'tool' && in == 'yes' && has == 'it'", "tool"],
  ["app == 'api-server' && pcns.env == 'dev'", "dev/api"],
  ["has(projectcalico.org/namespace)", "api web mysql dev/api tool prometheus"],
  ["projectcalico.org/orchestrator == 'k8s' && app == 'tool'", "tool"],
];
const ASKED = ["prod/api", "prod/web", "prod/mysql", "dev/api", "dev/tool", "mon/prometheus"];

const BY_SELECTOR: readonly TruthTable[] = SELECTORS.map(([selector, selected]) => ({
  title: `selector ${JSON.stringify(selector)}`,
  policies: [global({ selector, types: ["Egress"] })],
  rows: ASKED.map((end) => {
    const short = end === "dev/api" ? end : end.slice(end.indexOf("/") + 1);
    return [end, OUT, "80/TCP", !selected.split(" ").includes(short)] as const;
  }),
}));

const WRONG: readonly TruthTable[] = [
  {
    title: "an Allow that is not understood matches nothing, the policy still isolates",
    policies: [
      local({ ingress: [allow({ source: { selector: "app = 'web'" } }), allow({ source: { selector: "app == 'api-server'" } })] }),
    ],
    rows: [
      ["prod/web", "prod/mysql", "80/TCP", false],
      ["prod/api", "prod/mysql", "80/TCP", true],
    ],
  },
  {
    title: "a Deny that is not understood denies what is understood of it",
    policies: [local({ ingress: [deny({ protocol: "TCP", source: { nets: ["10.0.0.0/33"] } }), allow()] })],
    rows: [
      ["prod/web", "prod/mysql", "80/TCP", false],
      ["prod/web", "prod/mysql", "53/UDP", true],
    ],
  },
  {
    title: "an unknown action denies",
    policies: [local({ ingress: [{ action: "Permit", protocol: "UDP" }, allow()] })],
    rows: [["prod/web", "prod/mysql", "80/TCP", false]],
  },
  {
    title: "an unknown field in an Allow is no smaller condition",
    policies: [local({ ingress: [allow({ form: { selector: "app == 'web'" } })] })],
    rows: [["prod/web", "prod/mysql", "80/TCP", false]],
  },
  {
    title: "a range upside down matches nothing, its neighbour does",
    policies: [
      local({
        ingress: [allow({ protocol: "TCP", destination: { ports: ["90:80"] } }), allow({ protocol: "TCP", destination: { ports: [82] } })],
      }),
    ],
    rows: [
      ["prod/web", "prod/mysql", "85/TCP", false],
      ["prod/web", "prod/mysql", "82/TCP", true],
    ],
  },
  {
    title: "a subject that can't be read selects nobody, and changes nobody's verdict",
    policies: [local({ selector: "app == ", ingress: [deny()] }), local({ selector: MYSQL, ingress: [allow({ protocol: "TCP" })] })],
    rows: [
      ["prod/web", "prod/mysql", "80/TCP", true],
      ["prod/web", "prod/mysql", "53/UDP", false],
      ["prod/mysql", "prod/web", "80/TCP", true],
    ],
  },
  {
    title: "ports without a protocol that has them",
    policies: [local({ ingress: [allow({ destination: { ports: [80] } })] })],
    rows: [["prod/web", "prod/mysql", "80/TCP", false]],
  },
  {
    title: "host bits are cleared",
    policies: [local({ ingress: [allow({ source: { nets: ["10.244.1.77/24"] } })] })],
    rows: [
      ["prod/web", "prod/mysql", "80/TCP", true],
      ["dev/api", "prod/mysql", "80/TCP", false],
    ],
  },
];

export const CALICO: TruthSuite = {
  language: "Calico",
  cluster: CALICO_CLUSTER,
  tables: [...TYPES, ...ORDER, ...TIERS, ...SUBJECTS, ...BY_SELECTOR, ...CALICO_RULES, ...WRONG],
};
