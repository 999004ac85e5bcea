// The cluster room's face.
export type * from "./snapshot.ts";
export { type End, findEnd, findEnds, nameOfEnd, parseTarget, type Target, workloadOf } from "./ends.ts";
export { declaredPorts, type Expectations, type Expected, expectPairs, listPairs, type Pair, type PairOptions, parseExpectations } from "./matrix.ts";
