import assert from "node:assert/strict";
import { test } from "node:test";
import { apiVersionOf, closeKinds, findKind, KINDS } from "./kinds.ts";

test("kinds: plural names", () => {
  const cases: readonly (readonly [string, string, string, boolean])[] = [
    ["v1", "Endpoints", "endpoints", true],
    ["networking.k8s.io/v1", "Ingress", "ingresses", true],
    ["networking.k8s.io/v1", "NetworkPolicy", "networkpolicies", true],
    ["networking.k8s.io/v1", "IngressClass", "ingressclasses", false],
    ["projectcalico.org/v3", "GlobalNetworkPolicy", "globalnetworkpolicies", false],
    ["gateway.networking.k8s.io/v1", "Gateway", "gateways", true],
    ["operator.tigera.io/v1", "TigeraStatus", "tigerastatuses", false],
  ];
  for (const [apiVersion, kind, plural, namespaced] of cases) {
    const info = findKind(apiVersion, kind);
    assert.deepEqual([info?.plural, info?.namespaced], [plural, namespaced], kind);
  }
  assert.equal(findKind("v2", "Pod"), undefined);
});

test("kinds: one path belongs to one kind", () => {
  const paths = KINDS.map((info) => `${apiVersionOf(info)}/${info.plural}`);
  assert.equal(new Set(paths).size, paths.length);
});

test("kinds: what may have been meant", () => {
  const cases: readonly (readonly [string, string, string | undefined])[] = [
    ["apps/v1", "Deploymnet", "apps/v1 Deployment"],
    ["v1", "Deployment", "apps/v1 Deployment"],
    ["v1", "NetworkPolicy", "networking.k8s.io/v1 NetworkPolicy"],
    ["v1", "svc", "v1 Service"],
    ["projectcalico.org/v1", "globalnetworkpolicy", "projectcalico.org/v3 GlobalNetworkPolicy"],
    ["example.com/v1", "Unrelated", undefined],
  ];
  for (const [apiVersion, kind, expected] of cases) {
    const [first] = closeKinds(apiVersion, kind);
    assert.equal(first && `${apiVersionOf(first)} ${first.kind}`, expected, kind);
  }
});
