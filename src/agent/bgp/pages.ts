// What a node tells of its BGP on the port for operators: /bgp, /bgp/routes, and /bgp/monitor, which goes on.
import type { IncomingMessage, ServerResponse } from "node:http";
import { messageOf } from "../../base/index.ts";
import type { NetworkNamespace } from "../../kernel/index.ts";
import type { NodeBgp } from "./node-bgp.ts";
import { viewBgp, viewBgpRoutes } from "./view.ts";

/** A watcher that does not keep up is let go when so many bytes wait for it. */
const MOST_WAITING = 64 << 20;

/** Answers the pages of BGP; false for any other. */
export function bgpPages(node: string, bgp: () => NodeBgp, namespace: NetworkNamespace) {
  return (request: IncomingMessage, response: ServerResponse): boolean => {
    const url = new URL(request.url ?? "/", "http://node");
    try {
      if (url.pathname === "/bgp") send(response, 200, viewBgp(node, bgp(), namespace));
      else if (url.pathname === "/bgp/routes") {
        const [peer, prefix] = [url.searchParams.get("peer"), url.searchParams.get("prefix")];
        send(response, 200, viewBgpRoutes(node, bgp(), { ...(peer ? { peer } : {}), ...(prefix ? { prefix } : {}) }));
      } else if (url.pathname === "/bgp/monitor") monitor(response, bgp());
      else return false;
    } catch (error) {
      send(response, 400, { error: messageOf(error) });
    }
    return true;
  };
}

function monitor(response: ServerResponse, { speaker }: NodeBgp): void {
  if (!speaker) {
    send(response, 503, { error: "BGP is off on this node" });
    return;
  }
  response.writeHead(200, { "content-type": "application/x-ndjson" });
  const stop = speaker.monitor((line) => {
    if (response.writableLength > MOST_WAITING) response.destroy();
    else response.write(`${line}\n`);
  });
  response.on("close", stop);
}

function send(response: ServerResponse, status: number, body: object): void {
  response.writeHead(status, { "content-type": "application/json", "x-content-type-options": "nosniff" }).end(JSON.stringify(body));
}
