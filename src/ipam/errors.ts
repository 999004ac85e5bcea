// What can go wrong when addresses are given out.
import { FairleadError } from "../base/index.ts";

/** No address is free in a range. */
export class RangeFullError extends FairleadError {
  constructor(range: string, used: number) {
    super("range-full", `no address is free in ${range}: ${used} are in use`, {
      remedy: "take pods away, or give the cluster a wider pod range: fairlead lab up --pod-cidr",
    });
  }
}
