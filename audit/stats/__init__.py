"""Statistical tests behind the verdicts: pure functions, exact unless their docstring says otherwise.

In every module `p_at_most` is the p-value against "parameter ≥ limit", so a small value proves the claim
"parameter ≤ limit"; `p_at_least` is its mirror image. Both are one-sided, each to be compared with the
full α: in any fixed world at most one of the two can err.
"""
