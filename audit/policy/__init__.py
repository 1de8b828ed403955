"""Policies: the limits a safety team owns, read from TOML and bound to the claims of a plan.

First `read` a policy, which tells the checks that run and their settings; ask those checks; then `bind` the policy
to what they promise. `explaining`, `comparing` and `checking` serve the commands `policy show`, `diff` and `check`.
"""

from audit.policy.entries import PolicyFile
from audit.policy.reading import Source, available, read, slug
from audit.policy.resolving import bind, rules

__all__ = ["PolicyFile", "Source", "available", "bind", "read", "rules", "slug"]
