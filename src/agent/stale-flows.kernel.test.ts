// Clients that go on sending where conntrack remembers: UDP moves on when its end point goes or first comes; TCP that ends, ends in peace.
import assert from "node:assert/strict";
import { createSocket, type Socket } from "node:dgram";
import { after, before, describe, test } from "node:test";
import { eventually } from "../../test/patience.ts";
import { type Place, podAddress, ServiceNetwork } from "../../test/service-network.ts";
import { type EndpointSpec, service, slice } from "../../test/service-objects.ts";
import { snapshotOf } from "../cluster/index.ts";
import type { EndpointSlice, Service } from "../resources/index.ts";
import { createFlowCutter, type FlowCutter } from "./flow-cutter.ts";

const skip = process.getuid?.() !== 0;
const A = { address: podAddress("a"), node: "node-1" };
const C = { address: podAddress("c"), node: "node-2" };
const ENDING = { ready: false, serving: true, terminating: true };
const DEAF = { ready: false, serving: false, terminating: true };

/** One socket that asks again and again, as a program does that looked its server up once. */
class Asker {
  readonly #socket: Socket;
  readonly #timer: NodeJS.Timeout;
  /** Pods that answered since `forget`. */
  readonly heard = new Set<string>();

  constructor(net: ServiceNetwork, from: Place, address: string, port: number) {
    this.#socket = createSocket("udp4");
    this.#socket.on("message", (message) => this.heard.add(message.toString().split(" ")[0] ?? ""));
    this.#socket.on("error", () => {});
    this.#socket.bind({ fd: net.at(from).bindSocket({ protocol: "udp", address: "0.0.0.0", port: 0 }) });
    this.#timer = setInterval(() => this.#socket.send("who", port, address, () => {}), 20);
  }

  close(): void {
    clearInterval(this.#timer);
    this.#socket.close();
  }
}

for (const mode of ["nftables", "iptables"] as const)
  describe(`by ${mode}`, { skip }, () => {
    let net: ServiceNetwork;
    let cutters: FlowCutter[];
    before(() => {
      net = new ServiceNetwork(mode);
      cutters = (["node-1", "node-2"] as const).map((node) => createFlowCutter(net.at(node).conntrack, (message) => assert.fail(message)));
    });
    after(() => {
      for (const cutter of cutters ?? []) cutter.close();
      net?.close();
    });

    /** What an agent does with new objects: the kernel first, then the flows. */
    const follow = (...objects: (Service | EndpointSlice)[]) => {
      net.set(objects);
      for (const cutter of cutters) cutter.follow(snapshotOf(objects), false);
    };
    const dns = (endpoints: readonly EndpointSpec[]) => [
      service("dns", {
        type: "NodePort",
        clusterIP: "10.96.0.10",
        externalIPs: ["203.0.113.10"],
        ports: [{ port: 53, protocol: "UDP", nodePort: 30053 }],
      }),
      slice("dns", { endpoints, port: 5353, protocol: "UDP" }),
    ];
    const hears = (asker: Asker, pod: string) => eventually(async () => asker.heard.has(pod));

    for (const [from, address, port] of [
      ["d", "10.96.0.10", 53],
      ["client", "10.112.0.51", 30053],
      ["client", "203.0.113.10", 53],
      ["node-1", "10.96.0.10", 53],
    ] as const)
      test(`UDP from ${from} to ${address}: it moves on when its end point goes, ends deaf, or first comes`, async () => {
        follow(...dns([A]));
        const asker = new Asker(net, from, address, port);
        try {
          assert.ok(await hears(asker, "a"), "a answers");
          // Another end point comes: the flow stays where it is.
          follow(...dns([A, C]));
          asker.heard.clear();
          assert.ok(await hears(asker, "a"), "a goes on answering");
          await new Promise((resolve) => setTimeout(resolve, 300));
          assert.deepEqual([...asker.heard], ["a"], "a flow that is well is left alone");
          follow(...dns([C]));
          assert.ok(await hears(asker, "c"), "its end point is gone, and it still sends there");
          follow(...dns([{ ...C, ...DEAF }, A]));
          asker.heard.clear();
          assert.ok(await hears(asker, "a"), "its end point serves no more, and it still sends there");
          follow(...dns([]));
          const silent = async () => {
            asker.heard.clear();
            await new Promise((resolve) => setTimeout(resolve, 100));
            return asker.heard.size === 0;
          };
          assert.ok(await eventually(silent), "nobody is left, and somebody answers");
          follow(...dns([C]));
          assert.ok(await hears(asker, "c"), "the first end point is not found");
        } finally {
          asker.close();
        }
      });

    test("UDP to an address before it is a Service's: found once it is", async () => {
      follow();
      const asker = new Asker(net, "d", "203.0.113.10", 53);
      try {
        const remembered = () => net.at("node-1").conntrack.list({ protocol: 17, destination: "203.0.113.10" }).length > 0;
        assert.ok(await eventually(remembered), "the flow is remembered");
        follow(...dns([A]));
        assert.ok(await hears(asker, "a"));
      } finally {
        asker.close();
      }
    });

    test("TCP: an end point that ends keeps its connections and gets no new ones, also when it is gone from the slices", async () => {
      const chat = (endpoints: readonly EndpointSpec[]) => [
        service("chat", { clusterIP: "10.96.0.81", ports: [{ port: 80 }] }),
        slice("chat", { endpoints, port: 8081 }),
        service("web", { clusterIP: "10.96.0.80", ports: [{ port: 80 }] }),
        slice("web", { endpoints, port: 8080 }),
      ];
      const newcomers = async () => {
        const answers = await Promise.all(Array.from({ length: 20 }, () => net.connect("d", "10.96.0.80", 80)));
        return [...new Set(answers.map(({ pod }) => pod))].join();
      };
      follow(...chat([A]));
      const held = await net.hold("d", "10.96.0.81", 80);
      try {
        for (const [what, endpoints] of [
          ["ending", [{ ...A, ...ENDING }, C]],
          ["deaf", [{ ...A, ...DEAF }, C]],
          ["gone", [C]],
        ] as const) {
          follow(...chat(endpoints));
          assert.equal(await held.say(what), what, `an open connection is cut while its end point is ${what}`);
          assert.equal(await newcomers(), "c", `a new connection goes to an end point that is ${what}`);
        }
        follow(...chat([{ ...A, ...ENDING }]));
        assert.equal(await newcomers(), "a", "the last one serves until it is gone");
      } finally {
        held.close();
      }
    });

    for (const [from, where] of [
      ["d", "of the same node"],
      ["node-1", "of the node itself"],
      ["client", "of outside"],
    ] as const)
      test(`TCP: an attempt ${where} to an end point that has gone finds another at its next packet`, async () => {
        const web = (endpoints: readonly EndpointSpec[]) => [
          service("web", { clusterIP: "10.96.0.80", ports: [{ port: 80 }] }),
          slice("web", { endpoints, port: 8080 }),
        ];
        // Of node-2's range, and nobody has it; node-2 is not to say so either.
        const gone = "10.244.2.250";
        net.at("node-2").nft.run(`table ip silent { chain forward { type filter hook forward priority -300; ip daddr ${gone} drop; }; }`);
        follow(...web([{ address: gone, node: "node-2" }]));
        const attempt = net.connect(from, "10.96.0.80", 80);
        await new Promise((resolve) => setTimeout(resolve, 200));
        follow(...web([A]));
        assert.deepEqual(await attempt.then(({ pod }) => pod), "a");
      });
  });
