"""What is known of the models and the data besides observations: put down in the plan, or found once."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from audit.errors import AuditError
from audit.findings import Missing
from audit.gradients import DEAD, FREE, Gradients
from audit.ledger import Ledger
from audit.parity import TOLERANCE, Parity
from audit.plan import PlanFile
from audit.structure import UNKNOWN, Structure
from audit.types import DataRole, Role

_AGAIN = "Delete the ledger and run the audit again."


@dataclass
class Inspections:
    """What a check may read that is not about one probe; see `LedgerView`."""

    plan: PlanFile
    ledger: Ledger

    def __post_init__(self) -> None:
        self._parity = lru_cache(None)(self._read_parity)

    def parity(self, role: Role, /) -> Parity | Missing:
        """How far apart a model's answers to the same items lie; Missing where none were numbers."""
        found = self._parity(role)
        return found if found.items else Missing("non-finite", f"no item gives the {role} numbers alone")

    def stored_items(self) -> tuple[int, int]:
        """(superfluous copies, stored items) of the test set."""
        data = self.plan.dataset(DataRole.TEST)
        return data.duplicates, data.items + data.duplicates

    def class_counts(self) -> tuple[int, ...]:
        """Distinct items per class of the test set."""
        return self.plan.dataset(DataRole.TEST).per_class

    def structure(self, role: Role, /) -> Structure | Missing:
        """What the weights of a model are, as it was put down in the plan."""
        found = self.plan.model(role).structure
        if found is None:
            return Missing(UNKNOWN, "nobody asked for it before the run")
        if found.unknown:
            return Missing(UNKNOWN, found.unknown)
        return Structure(found.layers, found.parameters, found.nonzero, found.compressed)

    def size(self, role: Role, /) -> int:
        """Bytes of a model's files."""
        return self.plan.model(role).bytes

    def gradients(self, role: Role, /) -> Gradients | Missing:
        """Whether a model has gradients, as it was put down in the plan."""
        found = self.plan.model(role).gradients
        if found is None:
            return Missing(FREE, "nobody asked for it before the run")
        if found.how == "none" or found.how == "dead":
            return Missing(FREE if found.how == "none" else DEAD, found.why)
        return Gradients(found.how, found.deviation, found.items)

    def _read_parity(self, role: Role) -> Parity:
        stored = self.ledger.get(self.plan.parity_key(role))
        try:
            noise, batch, reload = (float(stored[name][0]) for name in ("noise", "batch", "reload"))
            parity = Parity(noise, batch, reload, int(stored["items"][0]))
        except KeyError as error:
            raise AuditError(f"the {role}'s {error} is not in the ledger", _AGAIN) from error
        if not (0 <= noise < np.inf and 0 <= batch <= TOLERANCE and 0 <= reload <= TOLERANCE and parity.items >= 0):
            raise AuditError(f"the {role}'s parity in the ledger is {parity}", _AGAIN)
        return parity
