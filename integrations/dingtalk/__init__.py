"""DingTalk: custom group robots, an app robot with markdown or interactive cards, and the answers people get.

Documentation: https://open.dingtalk.com/document/ · set-up: docs/platforms/dingtalk.md.
"""

from integrations.dingtalk.platform import SPEC

__all__ = ["SPEC"]
