"""What is tested before a version is built."""

import unittest

from greetings import greet


class GreetingsTest(unittest.TestCase):
    """Greets in two languages."""

    def test_chinese(self) -> None:
        """你好。"""
        self.assertTrue(greet("zh").startswith("你好"))


if __name__ == "__main__":
    unittest.main()
