// What Cilium's policies mean at layers 3 and 4: isolation, end points, denials, requirements, and what goes wrong.
import { app, CILIUM_CLUSTER, DB, kubernetes, local, many, OUT, on, table, wide } from "./cilium-cluster.ts";
import { CILIUM_PEERS } from "./cilium-peers.ts";
import { CILIUM_PORTS } from "./cilium-ports.ts";
import type { TruthSuite, TruthTable } from "./table.ts";

const NAMESPACE = "k8s:io.kubernetes.pod.namespace";

const ISOLATION: readonly TruthTable[] = [
  table(
    "an ingress section isolates ingress alone",
    [local({ ...DB, ingress: [{ fromEndpoints: [app("api")] }] })],
    ["prod/api", "prod/db", "3306/TCP", true],
    ["prod/web", "prod/db", "3306/TCP", false],
    ["dev/tool", "prod/db", "3306/TCP", false],
    [OUT, "prod/db", "3306/TCP", false],
    ["prod/db", "prod/web", "80/TCP", true],
    ["prod/db", OUT, "80/TCP", true],
  ),
  table(
    "an egress section isolates egress alone",
    [local({ ...DB, egress: [{ toEndpoints: [app("api")] }] })],
    ["prod/db", "prod/api", "80/TCP", true],
    ["prod/db", "prod/web", "80/TCP", false],
    ["prod/db", OUT, "80/TCP", false],
    ["prod/web", "prod/db", "80/TCP", true],
  ),
  table(
    "an empty section isolates nobody",
    [local({ ...DB, ingress: [], egress: [] })],
    ["prod/web", "prod/db", "80/TCP", true],
    ["prod/db", OUT, "80/TCP", true],
  ),
  table(
    "an empty entry isolates and allows nothing",
    [local({ ...DB, ingress: [{}] })],
    ["prod/web", "prod/db", "80/TCP", false],
    [OUT, "prod/db", "80/TCP", false],
    ["prod/db", "prod/web", "80/TCP", true],
  ),
  table(
    "an empty list of end points is nobody, even with ports",
    [local({ ...DB, ingress: [{ fromEndpoints: [], ...on("80") }] })],
    ["prod/web", "prod/db", "80/TCP", false],
    [OUT, "prod/db", "80/TCP", false],
  ),
  table(
    "no end points but ports: whoever it is",
    [local({ ...DB, ingress: [on("80")] })],
    ["prod/web", "prod/db", "80/TCP", true],
    ["dev/tool", "prod/db", "80/TCP", true],
    [OUT, "prod/db", "80/TCP", true],
    [OUT, "prod/db", "81/TCP", false],
  ),
  table(
    "a null list is no list",
    [local({ ...DB, ingress: [{ fromEndpoints: null, ...on("80") }] })],
    ["dev/tool", "prod/db", "80/TCP", true],
    ["dev/tool", "prod/db", "81/TCP", false],
  ),
  table(
    "enableDefaultDeny false: what no rule allows passes all the same",
    [local({ ...DB, enableDefaultDeny: { ingress: false }, ingress: [{ fromEndpoints: [app("api")] }] })],
    ["prod/web", "prod/db", "80/TCP", true],
  ),
  table(
    "enableDefaultDeny false: what is denied stays denied",
    [local({ ...DB, enableDefaultDeny: { ingress: false }, ingressDeny: [{ fromEndpoints: [app("web")] }] })],
    ["prod/web", "prod/db", "80/TCP", false],
    ["prod/api", "prod/db", "80/TCP", true],
  ),
  table(
    "enableDefaultDeny true without rules isolates",
    [local({ ...DB, enableDefaultDeny: { egress: true } })],
    ["prod/db", "prod/web", "80/TCP", false],
    ["prod/web", "prod/db", "80/TCP", true],
  ),
  table(
    "one policy that isolates is enough",
    [
      local({ ...DB, enableDefaultDeny: { ingress: false }, ingress: [{ fromEndpoints: [app("api")] }] }),
      local({ ...DB, ingress: [{ fromEndpoints: [app("web")] }] }),
    ],
    ["prod/api", "prod/db", "80/TCP", true],
    ["prod/web", "prod/db", "80/TCP", true],
    ["dev/tool", "prod/db", "80/TCP", false],
  ),
  table(
    "policies add up",
    [
      local({ ...DB, ingress: [{ fromEndpoints: [app("api")] }] }),
      local({ ...DB, ingress: [{ fromEndpoints: [app("web")], ...on("80") }] }),
    ],
    ["prod/api", "prod/db", "81/TCP", true],
    ["prod/web", "prod/db", "80/TCP", true],
    ["prod/web", "prod/db", "81/TCP", false],
  ),
  table(
    "several specs are several policies",
    [
      many([
        { ...DB, ingress: [{ fromEndpoints: [app("api")] }] },
        { endpointSelector: app("web"), ingress: [{}] },
      ]),
    ],
    ["prod/api", "prod/db", "80/TCP", true],
    ["prod/web", "prod/db", "80/TCP", false],
    ["prod/api", "prod/web", "80/TCP", false],
    ["dev/tool", "prod/api", "80/TCP", true],
  ),
  table(
    "the own node always comes in, another one does not",
    [local({ endpointSelector: app("web"), ingress: [{}] })],
    ["node-1", "prod/web", "80/TCP", true],
    ["node-2", "prod/web", "80/TCP", false],
  ),
];

const SUBJECTS: readonly TruthTable[] = [
  table(
    "an empty selector is every pod of the namespace",
    [local({ ingress: [{ fromEndpoints: [app("api")] }] })],
    ["prod/web", "prod/db", "80/TCP", false],
    ["prod/api", "prod/db", "80/TCP", true],
    ["prod/db", "dev/api", "80/TCP", true],
  ),
  table(
    "an empty selector of a clusterwide policy is every pod",
    [wide({ endpointSelector: {}, ingress: [{ fromEndpoints: [app("api")] }] })],
    ["prod/api", "dev/tool", "80/TCP", true],
    ["dev/api", "prod/db", "80/TCP", true],
    ["prod/web", "dev/tool", "80/TCP", false],
    [OUT, "prod/db", "80/TCP", false],
  ),
  table(
    "a clusterwide policy selects by namespace",
    [wide({ endpointSelector: { matchLabels: { [NAMESPACE]: "dev" } }, ingress: [{}] })],
    ["prod/api", "dev/tool", "80/TCP", false],
    ["dev/tool", "prod/db", "80/TCP", true],
  ),
  table(
    "a clusterwide policy selects by labels of the namespace",
    [wide({ endpointSelector: { matchLabels: { "k8s:io.cilium.k8s.namespace.labels.team": "shop" } }, ingress: [{}] })],
    ["dev/tool", "prod/db", "80/TCP", false],
    ["prod/api", "dev/tool", "80/TCP", true],
  ),
  table(
    "a policy of a namespace does not leave it",
    [local({ endpointSelector: { matchLabels: { [NAMESPACE]: "dev" } }, ingress: [{}] })],
    ["prod/api", "dev/tool", "80/TCP", true],
    ["dev/tool", "prod/db", "80/TCP", true],
  ),
  table(
    "expressions: In, NotIn, Exists, DoesNotExist",
    [
      local({
        endpointSelector: {
          matchExpressions: [
            { key: "k8s:app", operator: "In", values: ["db", "web"] },
            { key: "any:env", operator: "DoesNotExist" },
          ],
        },
        ingress: [
          {
            fromEndpoints: [
              {
                matchExpressions: [
                  { key: "app", operator: "NotIn", values: ["web"] },
                  { key: "env", operator: "Exists" },
                ],
              },
            ],
          },
        ],
      }),
    ],
    ["prod/api", "prod/db", "80/TCP", true],
    ["prod/web", "prod/db", "80/TCP", false],
    ["dev/tool", "prod/web", "80/TCP", true],
  ),
  table(
    "by service account",
    [local({ endpointSelector: { matchLabels: { "io.cilium.k8s.policy.serviceaccount": "api" } }, ingress: [{}] })],
    ["prod/web", "prod/api", "80/TCP", false],
    ["prod/web", "prod/db", "80/TCP", true],
  ),
  table(
    "labels from where no pod has any select nobody",
    [local({ endpointSelector: { matchLabels: { "container:app": "db" } }, ingress: [{}] })],
    ["prod/web", "prod/db", "80/TCP", true],
  ),
  table(
    "host-network pods are no end points",
    [local({ endpointSelector: app("api"), ingress: [{}] })],
    ["prod/web", "prod/host", "80/TCP", true],
    ["prod/web", "prod/api", "80/TCP", false],
  ),
];

const DENIALS: readonly TruthTable[] = [
  table(
    "a denial wins over what the same policy allows",
    [local({ ...DB, ingress: [{ fromEndpoints: [{}] }], ingressDeny: [{ fromEndpoints: [app("web")] }] })],
    ["prod/api", "prod/db", "80/TCP", true],
    ["prod/web", "prod/db", "80/TCP", false],
  ),
  table(
    "a denial wins over what another policy allows, whatever its name",
    [local({ ...DB, ingressDeny: [{ fromEndpoints: [app("web")], ...on("80") }] }), local({ ...DB, ingress: [{ fromEndpoints: [{}] }] })],
    ["prod/web", "prod/db", "80/TCP", false],
    ["prod/web", "prod/db", "81/TCP", true],
  ),
  table(
    "a denial alone isolates",
    [local({ ...DB, ingressDeny: [{ fromEndpoints: [app("web")] }] })],
    ["prod/web", "prod/db", "80/TCP", false],
    ["prod/api", "prod/db", "80/TCP", false],
  ),
  table(
    "a denial wins over Kubernetes' policies",
    [kubernetes({ podSelector: {}, ingress: [{}] }), local({ ...DB, ingressDeny: [{ fromEndpoints: [app("web")] }] })],
    ["prod/web", "prod/db", "80/TCP", false],
    ["prod/api", "prod/db", "80/TCP", true],
  ),
  table(
    "what Kubernetes' policies allow and what Cilium's allow add up",
    [
      kubernetes({ podSelector: { matchLabels: { app: "db" } }, ingress: [{ from: [{ podSelector: { matchLabels: { app: "api" } } }] }] }),
      local({ ...DB, ingress: [{ fromEndpoints: [app("web")] }] }),
    ],
    ["prod/api", "prod/db", "80/TCP", true],
    ["prod/web", "prod/db", "80/TCP", true],
    ["dev/tool", "prod/db", "80/TCP", false],
  ),
  table(
    "egress is denied likewise",
    [local({ endpointSelector: app("web"), egress: [{ toEntities: ["all"] }], egressDeny: [{ toCIDR: ["203.0.113.0/24"] }] })],
    ["prod/web", OUT, "80/TCP", false],
    ["prod/web", "198.51.100.9", "80/TCP", true],
    ["prod/web", "prod/db", "80/TCP", true],
  ),
  table(
    "an empty entry denies nothing, and isolates",
    [local({ ...DB, ingress: [{ fromEndpoints: [{}] }], ingressDeny: [{}] })],
    ["prod/web", "prod/db", "80/TCP", true],
    ["dev/tool", "prod/db", "80/TCP", false],
  ),
  table(
    "a clusterwide denial holds in every namespace",
    [wide({ endpointSelector: {}, enableDefaultDeny: { egress: false }, egressDeny: [{ toEntities: ["world"] }] })],
    ["prod/web", OUT, "80/TCP", false],
    ["dev/tool", OUT, "80/TCP", false],
    ["prod/web", "prod/db", "80/TCP", true],
  ),
  table(
    "denied ports of everybody",
    [local({ ...DB, ingress: [{ fromEntities: ["all"] }], ingressDeny: [on("22", "TCP")] })],
    ["prod/web", "prod/db", "22/TCP", false],
    [OUT, "prod/db", "22/TCP", false],
    [OUT, "prod/db", "80/TCP", true],
  ),
];

const REQUIREMENTS: readonly TruthTable[] = [
  table(
    "a requirement grants nothing by itself",
    [local({ ...DB, ingress: [{ fromRequires: [{ matchLabels: { env: "prod" } }] }] })],
    ["prod/api", "prod/db", "80/TCP", false],
  ),
  table(
    "whoever does not meet a requirement is not let in by another policy",
    [
      local({ ...DB, ingress: [{ fromRequires: [{ matchLabels: { env: "prod" } }] }] }),
      local({ ...DB, ingress: [{ fromEndpoints: [{}, { matchLabels: { [NAMESPACE]: "dev" } }] }] }),
    ],
    ["prod/api", "prod/db", "80/TCP", true],
    ["dev/api", "prod/db", "80/TCP", false],
    ["dev/tool", "prod/db", "80/TCP", false],
  ),
  table(
    "toRequires likewise",
    [
      local({
        endpointSelector: app("web"),
        egress: [{ toRequires: [{ matchLabels: { env: "prod" } }] }, { toEndpoints: [{}] }],
      }),
    ],
    ["prod/web", "prod/api", "80/TCP", true],
    ["prod/web", "prod/db", "80/TCP", false],
  ),
];

const WRONG: readonly TruthTable[] = [
  table(
    "without a selector every pod of the namespace is isolated",
    [{ ...local({}), spec: { ingress: [{ fromEndpoints: [{}] }] } }],
    ["prod/api", "prod/db", "80/TCP", false],
    ["prod/db", OUT, "80/TCP", false],
    ["dev/api", "dev/tool", "80/TCP", true],
  ),
  table("a clusterwide policy without a selector selects nobody", [wide({ ingress: [{}] })], ["prod/api", "prod/db", "80/TCP", true]),
  table(
    "two ways to name the other end do not go together",
    [local({ ...DB, ingress: [{ fromEndpoints: [app("api")], fromEntities: ["world"] }] })],
    ["prod/api", "prod/db", "80/TCP", false],
    [OUT, "prod/db", "80/TCP", false],
  ),
  table(
    "a broken entry allows nothing, the one beside it does",
    [local({ ...DB, ingress: [{ fromCIDR: ["203.0.113.0/33"] }, { fromEndpoints: [app("api")] }] })],
    [OUT, "prod/db", "80/TCP", false],
    ["prod/api", "prod/db", "80/TCP", true],
  ),
  table(
    "of a denial what is understood is denied",
    [local({ ...DB, ingress: [{ fromEntities: ["all"] }], ingressDeny: [{ fromCIDR: ["nonsense", "203.0.113.0/24"] }] })],
    [OUT, "prod/db", "80/TCP", false],
    ["198.51.100.9", "prod/db", "80/TCP", true],
  ),
  table(
    "an unknown field makes an entry invalid",
    [local({ ...DB, ingress: [{ fromEndpoint: [app("api")], ...on("80") }] })],
    ["prod/api", "prod/db", "80/TCP", false],
  ),
  table(
    "what is asked of HTTP is not enforced here, and allows nothing",
    [
      local({
        ...DB,
        ingress: [{ fromEndpoints: [{}], toPorts: [{ ports: [{ port: "80", protocol: "TCP" }], rules: { http: [{ method: "GET" }] } }] }],
      }),
    ],
    ["prod/api", "prod/db", "80/TCP", false],
  ),
  table(
    "mutual authentication is not done here, and allows nothing",
    [local({ ...DB, ingress: [{ fromEndpoints: [{}], authentication: { mode: "required" } }] })],
    ["prod/api", "prod/db", "80/TCP", false],
  ),
  table(
    "authentication that is disabled is as if it were not there",
    [local({ ...DB, ingress: [{ fromEndpoints: [{}], authentication: { mode: "disabled" } }] })],
    ["prod/api", "prod/db", "80/TCP", true],
  ),
];

export const CILIUM: TruthSuite = {
  language: "Cilium",
  cluster: CILIUM_CLUSTER,
  tables: [...ISOLATION, ...SUBJECTS, ...DENIALS, ...REQUIREMENTS, ...CILIUM_PEERS, ...CILIUM_PORTS, ...WRONG],
};
