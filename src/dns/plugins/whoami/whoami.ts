// Tells the asker its own address, port and protocol, in the additional section.
import { familyOf } from "../../../base/index.ts";
import type { RecordData } from "../../message.ts";
import { type Handler, reply } from "../../query.ts";

export const whoAsks: Handler = {
  name: "whoami",
  serve({ name, class: klass, origin }) {
    const { address, port, transport } = origin;
    const record = (owner: string, data: RecordData) => ({ name: owner, class: klass, ttl: 0, data });
    const service = name === "." ? `_${transport}.` : `_${transport}.${name}`;
    return reply("whoami", {
      authoritative: true,
      additionals: [
        record(name, { type: familyOf(address) === 6 ? "AAAA" : "A", address }),
        record(service, { type: "SRV", priority: 0, weight: 0, port, target: "." }),
      ],
    });
  },
};
