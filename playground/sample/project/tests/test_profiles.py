"""Display names and their cache."""

import tempfile
import unittest
from pathlib import Path

from user_service.profiles import cache_file, display_name


class ProfileTest(unittest.TestCase):
    """A person is addressed by display name."""

    def test_known_person_has_a_display_name(self) -> None:
        print("looking up ada in", cache_file().name)
        self.assertEqual(display_name("ada", cache_file()), "Ada Nowak")

    def test_name_outlives_the_process(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            cache = Path(folder) / "profiles.json"
            display_name("xiaoming", cache)
            self.assertEqual(display_name("xiaoming", cache), "李小明")

    def test_stranger_has_no_display_name(self) -> None:
        self.assertIsNone(display_name("nobody", cache_file()))


if __name__ == "__main__":
    unittest.main()
