// The face of the overlay data path.
export { macOf } from "./annotations.ts";
export { BRIDGE, gatewayOf, type OverlayFacts, type OverlayPlan, planOverlay, podCidrs } from "./overlay.ts";
export { hostLinkName, type PodNetwork, planPodNetwork } from "./pod.ts";
