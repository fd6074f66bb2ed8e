/**
 * Seconds for which browsers keep to https (RFC 6797 section 6.1.1), the same from all that answers on a host, for the last
 * answer wins. About this host only: what other hosts below it can do is not ours to say.
 */
export const strictTransportSeconds = 63_072_000
