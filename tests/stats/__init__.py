"""Laws of the statistics; a package, so that its conftest is a module of its own and not that of the reports."""
