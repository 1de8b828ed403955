"""The self-test: pairs of networks whose audit must end in a known way, audited on the user's own machine.

`run` audits them all and stores the result when every one ended as it must; `latest` gives the digest of such a
result, for this very installation, to the evidence of later audits. `pairs` and `signs` hold the pairs, `networks`
builds the small ones, `trial` audits them, `record` keeps the result.
"""

from audit.selftest.record import Result, latest

__all__ = ["Result", "latest", "run"]


def run() -> Result:
    """Audit every pair and keep the result, or remove an earlier one where a pair did not end as it must.

    Tells its progress on standard error. Raises StorageError where there is no room for the pairs, and AuditError
    where a failed self-test cannot remove an earlier result.
    """
    from audit import console
    from audit.selftest import pairs, record, trial  # loads what runs networks; `latest` must not

    chosen = pairs.every()
    entries = []
    for number, pair in enumerate(chosen, 1):
        entries.append(trial.attempt(pair))
        word = "as expected" if entries[-1].ok else "NOT AS EXPECTED"
        console.SCREEN.print(f"{number} of {len(chosen)} {pair.name}: {word}", markup=False, soft_wrap=True)
    return record.keep(entries)
