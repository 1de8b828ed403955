"""How claims are decided, in the words of the certificate; one name per method of `audit.stats`."""

from typing import Final

EXACT_PAIRED: Final = (
    "paired on the same items; exact unconditional test (Tango ordering, Berger–Boos), Tango bounds shown"
)
EXACT_BINOMIAL: Final = "exact binomial test, Clopper–Pearson bounds"
BETTING: Final = "mean over items; betting test on items in a pre-registered order (Waudby-Smith & Ramdas 2024)"
ORDER_STATISTIC: Final = "quantile over items; order statistic, exact and distribution-free"
COUNTED: Final = "counted; exact for the items of this audit, no statement beyond them"
