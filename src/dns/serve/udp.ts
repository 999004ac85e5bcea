// DNS over UDP: each datagram a query; answers that are there at once are sent at once.
import type { UdpPort } from "../network.ts";
import type { Origin } from "../query.ts";
import { unmapped } from "./tcp.ts";

type Answer = (bytes: Uint8Array, origin: Origin) => Uint8Array | undefined | Promise<Uint8Array | undefined>;

/** Answers what comes in. `name`: how the listener is called in a query's origin. */
export function serveUdp(port: UdpPort, name: string, answer: Answer): void {
  port.receive((bytes, address, remotePort) => {
    const origin: Origin = { transport: "udp", address: unmapped(address), port: remotePort, server: name };
    const given = answer(bytes, origin);
    if (given instanceof Promise) void given.then((late) => late && port.send(late, address, remotePort));
    else if (given) port.send(given, address, remotePort);
  });
}
