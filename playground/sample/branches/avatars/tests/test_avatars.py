"""Pictures of people."""

import unittest

from user_service.avatars import LARGEST_BYTES, accept_avatar


class AvatarTest(unittest.TestCase):
    """A person uploads a picture."""

    def test_png_is_accepted(self) -> None:
        self.assertEqual(accept_avatar(b"\x89PNG" + b"\0" * 60), "png")

    def test_jpeg_is_accepted(self) -> None:
        self.assertEqual(accept_avatar(b"\xff\xd8\xff\xe0" + b"\0" * 60), "jpeg")

    def test_text_is_refused(self) -> None:
        with self.assertRaises(ValueError):
            accept_avatar(b"hello")

    def test_large_picture_is_refused(self) -> None:
        with self.assertRaises(ValueError):
            accept_avatar(b"\x89PNG" + b"\0" * LARGEST_BYTES)


if __name__ == "__main__":
    unittest.main()
