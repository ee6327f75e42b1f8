"""Azure Boards (REST 7.1): work items read, moved, commented and linked; service hooks and polls in.

Documentation: https://learn.microsoft.com/en-us/rest/api/azure/devops/wit/ · set-up: docs/platforms/azure_boards.md.
Calls are authorised by a personal access token; service hooks are not signed but carry a password or a header of ours.
"""

from integrations.azure_boards.tracker import SPEC

__all__ = ["SPEC"]
