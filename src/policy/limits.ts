// How large policies may be.

/** Rules of one direction, or entries of a list. More is no policy that a person wrote, and the kernel would pay for it. */
export const MAX_RULES = 5000;
