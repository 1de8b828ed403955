"""prune-audit: may this pruned network ship in place of its parent?

`audit.run(...)` is the whole tool in one call, `audit.compare(...)` the same for models and data in memory; see
`audit.api`. The package is lazy: importing it loads neither torch nor onnxruntime, so that reading a certificate
costs no runtime.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from audit.api import compare, judge, render, run

__version__ = "0.1.0"
__all__ = ["__version__", "compare", "judge", "render", "run"]


def __getattr__(name: str) -> Any:
    if name in {"compare", "judge", "render", "run"}:
        from audit import api

        return getattr(api, name)
    raise AttributeError(f"module 'audit' has no attribute {name!r}")
