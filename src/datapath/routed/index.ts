// The face of the routed data path.
export type { LearnedRoute, RoutedExports } from "./exports.ts";
