// Sets of ipset of one namespace.
import { isErrno, KernelError } from "../errors.ts";
import type { Ipsets } from "../kernel.ts";
import {
  decodeRevision,
  decodeSet,
  encodeCreation,
  encodeElements,
  encodeSetName,
  encodeTypeQuestion,
  IPSET_MESSAGE,
  setDump,
} from "../netlink/ipset.ts";
import { FLAG } from "../netlink/message.ts";
import type { IpSet } from "../state.ts";
import type { NetlinkSocket } from "./socket.ts";

/** Elements in one message. */
const AT_ONCE = 256;

/** `socket` gives the namespace's NETLINK_NETFILTER socket, opened at first need. */
export function openIpsets(socket: () => NetlinkSocket): Ipsets {
  const revisions = new Map<string, number>();
  return {
    list(wanted) {
      const sets = new Map<string, IpSet>();
      const take = (body: Uint8Array) => {
        const set = decodeSet(body);
        if (!set || !wanted(set.name)) return;
        const known = sets.get(set.name);
        sets.set(set.name, known ? { ...known, elements: [...known.elements, ...set.elements] } : set);
      };
      try {
        socket().dump(IPSET_MESSAGE.list, setDump(), ({ body }) => take(body), { operation: "list sets" });
      } catch (error) {
        // A kernel without ipset has no sets.
        if (!isErrno(error, "EINVAL", "EOPNOTSUPP", "ENOENT")) throw error;
      }
      return [...sets.values()];
    },
    create(set) {
      const { type, family, name } = set;
      let revision = revisions.get(`${type} ${family}`);
      if (revision === undefined) {
        const context = { operation: `use sets of type ${type}`, subject: name };
        revision = socket().ask(IPSET_MESSAGE.type, encodeTypeQuestion(type, family), ({ body }) => decodeRevision(body), context) ?? 0;
        revisions.set(`${type} ${family}`, revision);
      }
      const context = { operation: "create set", subject: name };
      socket().request(IPSET_MESSAGE.create, FLAG.create | FLAG.exclusive, encodeCreation(set, revision), context);
    },
    destroy(name) {
      try {
        socket().request(IPSET_MESSAGE.destroy, FLAG.exclusive, encodeSetName(name), { operation: "destroy set", subject: name });
      } catch (error) {
        throw inUse(error, name);
      }
    },
    change(name, elements) {
      const write = (verb: "add" | "delete", list: readonly string[]) => {
        for (let at = 0; at < list.length; at += AT_ONCE) {
          const some = list.slice(at, at + AT_ONCE);
          const others = some.length > 1 ? ` and ${some.length - 1} more` : "";
          socket().request(IPSET_MESSAGE[verb], 0, encodeElements(name, some), {
            operation: `${verb} element`,
            subject: `${some[0]}${others} of set ${name}`,
          });
        }
      };
      write("delete", elements.delete ?? []);
      write("add", elements.add ?? []);
    },
  };
}

/** IPSET_ERR_BUSY of ip_set.h, which is no errno. */
const BUSY = 4100;

function inUse(error: unknown, name: string): unknown {
  return error instanceof KernelError && error.errno === BUSY
    ? new KernelError({ errno: "EBUSY", operation: "destroy set", subject: name, says: "a rule refers to it", cause: error })
    : error;
}
