// The directive bind: bind ADDRESS|INTERFACE… { except ADDRESS|INTERFACE… }
import { networkInterfaces } from "node:os";
import { formatAddress, tryParseAddress } from "../../../base/index.ts";
import { type Argument, CorefileError, type Directive, unknownOption } from "../../corefile/index.ts";
import type { Plugin } from "../../plugin.ts";

export const bind: Plugin = {
  name: "bind",
  setup(directives) {
    const wanted = directives.flatMap(addressesOf);
    return { addresses: [...new Set(wanted)] };
  },
};

function addressesOf(directive: Directive): string[] {
  if (directive.args.length === 0) throw new CorefileError(directive.place, "bind needs an address or an interface");
  const except = (directive.body ?? []).flatMap((option) => {
    if (option.name !== "except") throw unknownOption("bind", option, ["except"]);
    return option.args.flatMap(resolve);
  });
  return directive.args.flatMap(resolve).filter((address) => !except.includes(address));
}

/** An address is itself; an interface is all that it has, but link-local addresses, which need more than an address to be bound. */
function resolve({ text, place }: Argument): string[] {
  const address = tryParseAddress(text);
  if (address) return [formatAddress(address)];
  const interfaces = networkInterfaces();
  const found = interfaces[text];
  if (!found)
    throw new CorefileError(
      place,
      `"${text}" is neither an address nor an interface`,
      `the interfaces are ${Object.keys(interfaces).join(", ")}`,
    );
  return found.flatMap((each) => (each.scopeid ? [] : [each.address]));
}
