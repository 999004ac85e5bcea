// The face of the address allocation room.
export { RangeFullError } from "./errors.ts";
export { type Allocation, createIpam, type Ipam } from "./ipam.ts";
