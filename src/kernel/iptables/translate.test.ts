// Foreign rules of iptables, evaluated by the walker: what kube-proxy's chains do to a packet.
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { EMPTY_STATE, type IpSet } from "../state.ts";
import { evaluateHook, type HookName, makePacket } from "../walk/index.ts";
import { parseSave } from "./save.ts";
import { netfilterTables } from "./translate.ts";

const FOREIGN = `*nat
:PREROUTING ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
:KUBE-SERVICES - [0:0]
:KUBE-NODEPORTS - [0:0]
:KUBE-SVC-WEB - [0:0]
:KUBE-SEP-1 - [0:0]
:KUBE-SEP-2 - [0:0]
:KUBE-MARK-MASQ - [0:0]
:KUBE-POSTROUTING - [0:0]
-A PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A POSTROUTING -j KUBE-POSTROUTING
-A KUBE-SERVICES -d 10.96.0.80/32 -p tcp -m comment --comment "shop/web:http cluster IP" -m tcp --dport 80 -j KUBE-SVC-WEB
-A KUBE-SERVICES -m comment --comment "kubernetes service nodeports; NOTE: this must be the last rule in this chain" -m addrtype --dst-type LOCAL -j KUBE-NODEPORTS
-A KUBE-NODEPORTS -p tcp -m comment --comment "shop/web:http" -m tcp --dport 30080 -j KUBE-SVC-WEB
-A KUBE-SVC-WEB ! -s 10.244.0.0/16 -d 10.96.0.80/32 -p tcp -m comment --comment "shop/web:http cluster IP" -m tcp --dport 80 -j KUBE-MARK-MASQ
-A KUBE-SVC-WEB -m comment --comment "shop/web:http -> 10.244.1.2:8080" -m statistic --mode random --probability 0.50000000000 -j KUBE-SEP-1
-A KUBE-SVC-WEB -m comment --comment "shop/web:http -> 10.244.2.2:8080" -j KUBE-SEP-2
-A KUBE-SEP-1 -s 10.244.1.2/32 -m comment --comment "shop/web:http" -j KUBE-MARK-MASQ
-A KUBE-SEP-1 -p tcp -m comment --comment "shop/web:http" -m tcp -j DNAT --to-destination 10.244.1.2:8080
-A KUBE-SEP-2 -p tcp -m comment --comment "shop/web:http" -m tcp -j DNAT --to-destination 10.244.2.2:8080
-A KUBE-MARK-MASQ -j MARK --set-xmark 0x4000/0x4000
-A KUBE-POSTROUTING -m mark ! --mark 0x4000/0x4000 -j RETURN
-A KUBE-POSTROUTING -j MARK --set-xmark 0x4000/0x0
-A KUBE-POSTROUTING -m comment --comment "kubernetes service traffic requiring SNAT" -j MASQUERADE --random-fully
COMMIT
*filter
:FORWARD DROP [0:0]
:KUBE-SERVICES - [0:0]
-A FORWARD -m conntrack --ctstate NEW -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A FORWARD -i cali+ -p tcp -m multiport --dports 8080,9000:9010 -j ACCEPT
-A FORWARD -m set --match-set KUBE-CLUSTER-IP dst,dst -j ACCEPT
-A KUBE-SERVICES -d 10.96.0.84/32 -p tcp -m comment --comment "shop/none has no endpoints" -m tcp --dport 80 -j REJECT --reject-with icmp-port-unreachable
COMMIT
`;
const ipsets: IpSet[] = [{ name: "KUBE-CLUSTER-IP", type: "hash:ip,port", family: 4, elements: ["10.96.0.10,udp:53"] }];
const tables = netfilterTables({ ...EMPTY_STATE, iptables: parseSave(FOREIGN, 4), ipsets });

function send(
  hook: HookName,
  fields: { source?: string; destination: string; port: number; protocol?: "tcp" | "udp"; mark?: number },
  choose = 0,
  inDevice = "",
) {
  const { source = "10.112.0.1", destination, port, protocol = "tcp", mark = 0 } = fields;
  const packet = { ...makePacket({ source, destination, protocol, destinationPort: port }), mark };
  const result = evaluateHook(tables, hook, packet, {
    inDevice,
    outDevice: "",
    isLocal: (address) => address === "10.112.0.51",
    choose: () => choose,
  });
  return { ...result, to: `${result.packet.destination}:${result.packet.destinationPort}` };
}

test("a connection is translated to one end point or another, and who is no pod is marked", () => {
  const first = send("prerouting", { destination: "10.96.0.80", port: 80 });
  assert.deepEqual([first.to, first.packet.mark, first.doubts], ["10.244.1.2:8080", 0x4000, []]);
  const other = send("prerouting", { source: "10.244.1.7", destination: "10.96.0.80", port: 80 }, 1);
  assert.deepEqual([other.to, other.packet.mark], ["10.244.2.2:8080", 0]);
  assert.deepEqual(other.steps.at(-1)?.owner, { kind: "Service", namespace: "shop", name: "web", rule: "http" });
  assert.equal(send("prerouting", { destination: "10.112.0.51", port: 30080 }).to, "10.244.1.2:8080");
  assert.equal(send("prerouting", { destination: "10.112.0.52", port: 30080 }).to, "10.112.0.52:30080");
});

test("what is marked is masqueraded, and the mark is gone", () => {
  const marked = send("postrouting", { destination: "10.244.1.2", port: 8080, mark: 0x4000 });
  assert.deepEqual([marked.masquerade, marked.packet.mark], [true, 0]);
  assert.equal(send("postrouting", { destination: "10.244.1.2", port: 8080 }).masquerade, false);
});

test("refusals, sets, ranges of ports, devices by prefix, and a policy", () => {
  assert.equal(send("forward", { destination: "10.96.0.84", port: 80 }).verdict, "reject");
  assert.equal(send("forward", { destination: "10.96.0.10", port: 53, protocol: "udp" }).verdict, "accept");
  assert.equal(send("forward", { destination: "10.96.0.10", port: 54, protocol: "udp" }).verdict, "drop");
  assert.equal(send("forward", { destination: "10.244.1.2", port: 9005 }, 0, "cali12").verdict, "accept");
  assert.equal(send("forward", { destination: "10.244.1.2", port: 9005 }, 0, "eth0").verdict, "drop");
});

test("what is not understood is told, and taken as no match", () => {
  const [table] = netfilterTables({
    ...EMPTY_STATE,
    iptables: parseSave("*filter\n:INPUT ACCEPT [0:0]\n-A INPUT -m recent --rcheck --name X -j DROP\nCOMMIT\n", 4),
  });
  assert.deepEqual(table?.chains[0]?.rules[0]?.matches, [{ opaque: "-m recent --rcheck --name X" }]);
});

test("any rule is read", () => {
  const word = fc.oneof(
    fc.string(),
    fc.constantFrom(
      "-m",
      "-j",
      "-p",
      "!",
      "tcp",
      "--dport",
      "statistic",
      "--probability",
      "set",
      "--match-set",
      "DNAT",
      "--to-destination",
    ),
  );
  fc.assert(
    fc.property(fc.array(word), (words) => {
      const chains = [{ name: "INPUT", rules: [words.join(" ")] }];
      const made = netfilterTables({ ...EMPTY_STATE, iptables: [{ family: 4, name: "filter", chains }] });
      evaluateHook(made, "input", makePacket({ source: "10.0.0.1", destination: "10.0.0.2", protocol: "tcp" }), {
        inDevice: "",
        outDevice: "",
        isLocal: () => false,
        choose: () => 0,
      });
    }),
  );
});
