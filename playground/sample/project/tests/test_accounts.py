"""Accounts and their e-mail addresses."""

import unittest

from user_service.accounts import normalise_email, register


class AccountTest(unittest.TestCase):
    """A person registers with an e-mail address."""

    def test_address_is_kept_in_lower_case(self) -> None:
        self.assertEqual(normalise_email(" Ada.Nowak@Example.com "), "ada.nowak@example.com")

    def test_address_without_domain_is_refused(self) -> None:
        with self.assertRaisesRegex(ValueError, "not an e-mail address"):
            normalise_email("ada@")

    def test_registered_account_has_the_normalised_address(self) -> None:
        self.assertEqual(register("mateo", "MATEO@example.com").email, "mateo@example.com")


if __name__ == "__main__":
    unittest.main()
