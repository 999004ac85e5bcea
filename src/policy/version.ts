// Each packet meets one version of the policies and no mixture of two, also in the very microseconds of a commit.
//
// Linux chooses once for each packet and base chain of which generation the rules are, but anew with each look-up of which the
// sets are. A packet that is among the rules while a transaction comes into force would see old rules and new sets. So rules
// and sets carry a number, made of all that they hold, and no verdict counts before the two numbers are the same:
//
//   filter-forward        policy-forward ─▶ allowed: policy-settled ─▶ same number: return; else marked
//                                        ─▶ denied:  policy-denied  ─▶ same number: drop;   else marked
//   filter-forward-again  a marked packet is asked once more, by the rules in force by then; if that is caught, too, it is dropped
import type {
  BaseChainName,
  NftChain,
  NftElement,
  NftMatch,
  NftRule,
  NftSet,
  NftStatement,
  NftVerdict,
  TableContribution,
} from "../kernel/index.ts";

/** Where a denied packet goes: it is dropped there. */
export const DENIED_CHAIN = "policy-denied";
export const DENY: NftVerdict = { verdict: "jump", chain: DENIED_CHAIN };
const SETTLED_CHAIN = "policy-settled";
/** The last step of a chain whose packets are allowed if they come to its end. */
export const SETTLE: NftRule = { matches: [], statements: [{ verdict: "jump", chain: SETTLED_CHAIN }] };
const AGAIN_CHAIN = "policy-again";
const VERSION_SET = "policy-version";
/** Of packets that met two versions. Host end points' mark is 0x200000, Services' masquerade has 0x4000. */
const AGAIN_MARK = 0x0040_0000;
/** Numbers have 31 bits. */
const NUMBERS = 0x8000_0000;

const AGAIN: Readonly<Partial<Record<BaseChainName, BaseChainName>>> = {
  "filter-forward": "filter-forward-again",
  "filter-input": "filter-input-again",
  "filter-output": "filter-output-again",
};

/** Whether a rule's statement denies what it matches. */
export function isDenial(statement: NftStatement): boolean {
  return "verdict" in statement && (statement.verdict === "drop" || ("chain" in statement && statement.chain === DENIED_CHAIN));
}

/** Whether a chain only says which version is in force: that it differs from the one before is no change of what is allowed. */
export function isVersionChain(name: string): boolean {
  return name === DENIED_CHAIN || name === SETTLED_CHAIN || name === AGAIN_CHAIN;
}

/** What is added to chains, sets and hooks so that they decide as one version. */
export function planVersion(
  chains: readonly NftChain[],
  sets: readonly NftSet[],
  hooks: TableContribution["hooks"],
): Pick<TableContribution, "chains" | "sets" | "hooks"> {
  const number = versionOf(chains, sets);
  const current: NftMatch = {
    left: number === 0 ? { numgen: "random", mod: 1 } : { numgen: "random", mod: 1, offset: number },
    op: "==",
    right: { set: VERSION_SET },
  };
  const mark = (value: number): NftStatement => ({ setMark: { value, mask: ~AGAIN_MARK >>> 0 } });
  const ending = (verdict: "drop" | "return"): NftRule[] => [
    { matches: [current], statements: [{ verdict }] },
    { matches: [], statements: [mark(AGAIN_MARK)] },
  ];
  return {
    chains: [
      { name: DENIED_CHAIN, rules: ending("drop") },
      { name: SETTLED_CHAIN, rules: ending("return") },
      { name: AGAIN_CHAIN, rules: [{ matches: [current], statements: [mark(0)] }] },
    ],
    sets: [{ name: VERSION_SET, key: ["integer"], elements: [{ key: [String(number)] }] }],
    hooks: againHooks(hooks),
  };
}

const isMarked = (marked: boolean): NftMatch => ({
  left: { field: "meta mark", mask: AGAIN_MARK },
  op: marked ? "==" : "!=",
  right: `0x${AGAIN_MARK.toString(16).padStart(8, "0")}`,
});
const BEFORE: readonly NftRule[] = [{ matches: [isMarked(false)], statements: [{ verdict: "return" }] }];
const BEHIND: readonly NftRule[] = [
  { matches: [], statements: [{ verdict: "jump", chain: AGAIN_CHAIN }] },
  { matches: [isMarked(true)], statements: [{ verdict: "drop" }], owner: { kind: "Fairlead", name: "policy-changing" } },
];

/** The same steps once more, in a base chain of its own behind each: only there the rules are chosen anew. */
function againHooks(hooks: TableContribution["hooks"]): TableContribution["hooks"] {
  const bases = Map.groupBy(
    hooks.filter(({ chain }) => AGAIN[chain]),
    ({ chain }) => AGAIN[chain] as BaseChainName,
  );
  return [...bases].flatMap(([chain, again]) => [
    { chain, order: Number.MIN_SAFE_INTEGER, rules: BEFORE },
    ...again.map(({ order, rules }) => ({ chain, order, rules })),
    { chain, order: Number.MAX_SAFE_INTEGER, rules: BEHIND },
  ]);
}

/** A number that stands for what the chains and sets hold; whose a rule or element is decides nothing. Another one for other contents, but for one case in two thousand million. */
function versionOf(chains: readonly NftChain[], sets: readonly NftSet[]): number {
  let sum = 0;
  for (const chain of chains) sum = (sum + chainNumber(chain)) % NUMBERS;
  for (const set of sets) sum = (sum + setNumber(set)) % NUMBERS;
  return sum;
}

const chainNumbers = new WeakMap<readonly NftRule[], number>();

function chainNumber({ name, rules }: NftChain): number {
  let number = chainNumbers.get(rules);
  if (number === undefined) {
    number = numberOf(`${name} ${JSON.stringify(rules.map(({ owner: _, ...rule }) => rule))}`);
    chainNumbers.set(rules, number);
  }
  return number;
}

const setNumbers = new WeakMap<NftSet, number>();

function setNumber(set: NftSet): number {
  let number = setNumbers.get(set);
  if (number === undefined) {
    // Of which set an element is matters, its place does not.
    number = numberOf(`${set.name} ${elementsNumber(set.elements)}`);
    setNumbers.set(set, number);
  }
  return number;
}

const elementNumbers = new WeakMap<NftElement, number>();

function elementsNumber(elements: readonly NftElement[]): number {
  let sum = 0;
  for (const element of elements) {
    let number = elementNumbers.get(element);
    if (number === undefined) {
      const { owner: _, ...held } = element;
      number = numberOf(JSON.stringify(held));
      elementNumbers.set(element, number);
    }
    sum = (sum + number) % NUMBERS;
  }
  return sum;
}

/** FNV-1a of a text's code units, well mixed (MurmurHash3's last steps), in 31 bits: sums of such numbers tell lists apart. */
function numberOf(text: string): number {
  let hash = 0x811c_9dc5;
  for (let at = 0; at < text.length; at++) hash = Math.imul(hash ^ text.charCodeAt(at), 0x0100_0193);
  hash = Math.imul(hash ^ (hash >>> 16), 0x85eb_ca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2_ae35);
  return (hash ^ (hash >>> 16)) >>> 1;
}
