// The face of the routed data path.
export { type RoutedNode, readNode, routedAnnotationsTaken, type TunnelKind } from "./annotations.ts";
export { type RoutedConfig, routedConfig } from "./config.ts";
export type { LearnedRoute, RoutedExports } from "./exports.ts";
export { caliName, HOST_MAC, POD_GATEWAYS, planRoutedPod, type RoutedPod } from "./pod.ts";
export { planRouted, type RoutedFacts, type RoutedPlan } from "./routed.ts";
